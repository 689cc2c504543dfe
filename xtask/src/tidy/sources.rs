//! Checks of source text that the compiler and clippy do not have: long functions, unused public functions, and names
//! that the style guide replaces. They rely on the format of rustfmt.

use std::collections::{BTreeMap, BTreeSet};

/// The longest function outside of tests, in lines.
const LONGEST_FUNCTION: usize = 60;

/// Functions that may be longer, by file and name, with the reason.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[
    (
        "crates/errno-text/src/lib.rs",
        "known",
        "a table of all error numbers",
    ),
    (
        "crates/netfilter/src/error.rs",
        "fmt",
        "one line for each kind of error",
    ),
    (
        "plugins/ipam/host-local/src/allocator/model.rs",
        "carry_out",
        "test code: upstream's algorithm as one loop",
    ),
];

/// Names of items that the style guide replaces, and what to write.
const NAMES: &[(&str, &str)] = &[
    ("parting", "deferred"),
    ("leave", "deferred"),
    ("extras", "link_options"),
    ("beside", "join"),
    ("Doomed", "DeletePlan"),
    ("serving", "backend"),
    ("cleaning", "teardown"),
    ("Leaving", "Teardown"),
    ("Belongings", "InterfaceState"),
    ("moving", "enslave"),
    ("settle", "wait"),
    ("Wish", "Op"),
    ("Wanted", "Change"),
    ("Whereabouts", "RuleLocation"),
    ("Place", "RuleLocation"),
    ("forwards", "to_container"),
    ("returning", "to_host"),
    ("passing_netns", "temporary_netns"),
    ("trial", "common_cases"),
    ("elsewhere", "uml"),
    ("tally", "results"),
];

/// Crates whose public functions have users outside of this workspace, with the reason.
const FOR_OTHERS: &[(&str, &str)] = &[
    ("crates/cni-core", "the library for plugin authors"),
    ("crates/libcni", "the library for runtime authors"),
    ("crates/testkit", "the test support for plugin authors"),
];

/// A source file: its path from the root, and its text.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    /// The package: `crates/rtnl` for `crates/rtnl/src/link/mod.rs`.
    fn package(&self) -> &str {
        let depth = if self.path.starts_with("plugins/") {
            3
        } else {
            2
        };
        let end = self.path.match_indices('/').nth(depth - 1);
        end.map_or(&self.path, |(end, _)| &self.path[..end])
    }

    /// Whether it is test code, by its path.
    fn is_test(&self) -> bool {
        let is_test_name =
            |part: &str| matches!(part, "tests" | "tests.rs") || part.ends_with("_tests.rs");
        self.path.split('/').skip(1).any(is_test_name)
    }

    /// The lines before the unit tests.
    fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines().take_while(|line| *line != "#[cfg(test)]")
    }
}

/// The keyword and name of an item, if the line defines one.
fn item(line: &str) -> Option<(&str, &str)> {
    const KEYWORDS: [&str; 8] = [
        "fn", "struct", "enum", "trait", "type", "mod", "const", "static",
    ];
    let mut words = line.trim_start().split(' ').peekable();
    while words
        .next_if(|word| matches!(*word, "async" | "unsafe") || word.starts_with("pub"))
        .is_some()
    {}
    let mut keyword = words.next().filter(|word| KEYWORDS.contains(word))?;
    let mut name = words.next()?;
    if keyword == "const" && name == "fn" {
        (keyword, name) = ("fn", words.next()?);
    }
    let end = name
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(name.len());
    Some((keyword, &name[..end]))
}

pub(super) fn faults(sources: &[Source]) -> Vec<String> {
    let mut faults: Vec<String> = sources.iter().flat_map(long_functions).collect();
    faults.extend(sources.iter().flat_map(replaced_names));
    faults.extend(unused_functions(sources));
    faults
}

fn long_functions(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    if source.is_test() {
        return faults;
    }
    let mut open: Option<(&str, String, usize)> = None;
    for (number, line) in source.lines().enumerate() {
        let indent = &line[..line.len() - line.trim_start().len()];
        if let Some((name, end, start)) = &open {
            if line == end {
                let length = number + 1 - start;
                let is_excused = LONG_FUNCTIONS
                    .iter()
                    .any(|(file, function, _)| *file == source.path && function == name);
                if length > LONGEST_FUNCTION && !is_excused {
                    faults.push(format!(
                        "{}:{}: {name} has {length} lines",
                        source.path,
                        start + 1
                    ));
                }
                open = None;
            }
        } else if let Some(("fn", name)) = item(line)
            && !line.ends_with(';')
            && !line.ends_with('}')
        {
            open = Some((name, format!("{indent}}}"), number));
        }
    }
    faults
}

fn replaced_names(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        if let Some((_, name)) = item(line)
            && let Some((_, better)) = NAMES.iter().find(|(replaced, _)| *replaced == name)
        {
            faults.push(format!(
                "{}:{}: {name} is called {better} here",
                source.path,
                number + 1
            ));
        }
    }
    faults
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

/// Finds public functions and constants of crates whose names do not occur outside of their own package. An occurrence
/// in the package's integration tests suffices if its sources also contain one.
fn unused_functions(sources: &[Source]) -> Vec<String> {
    let mut users: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for source in sources {
        for word in words(&source.text) {
            users.entry(word).or_default().insert(source.package());
        }
    }
    let is_used = |package: &str, name: &str| {
        let own = sources.iter().filter(|source| source.package() == package);
        let (tests, code): (Vec<_>, Vec<_>) = own.partition(|source| source.is_test());
        let count = |sources: &[&Source]| -> usize {
            let names = |source: &&Source| words(&source.text).filter(|word| *word == name).count();
            sources.iter().map(names).sum()
        };
        let elsewhere = users
            .get(name)
            .is_some_and(|users| users.iter().any(|user| *user != package));
        // The definition is one occurrence.
        elsewhere || count(&tests) > 0 && count(&code) > 1
    };
    let is_checked = |source: &&Source| {
        let has_other_users = FOR_OTHERS
            .iter()
            .any(|(package, _)| *package == source.package());
        source.path.starts_with("crates/") && !source.is_test() && !has_other_users
    };
    let mut faults = Vec::new();
    for source in sources.iter().filter(is_checked) {
        for (number, line) in source.lines().enumerate() {
            if let Some(("fn" | "const" | "static", name)) = item(line)
                && line.trim_start().starts_with("pub ")
                && !is_used(source.package(), name)
            {
                let (path, package) = (&source.path, source.package());
                faults.push(format!(
                    "{path}:{}: nothing outside {package} uses {name}",
                    number + 1
                ));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.into(),
            text: text.into(),
        }
    }

    #[test]
    fn items_are_recognized() {
        assert_eq!(
            item("    pub(crate) const fn a(x: u8) {"),
            Some(("fn", "a"))
        );
        assert_eq!(item("pub struct B<T> {"), Some(("struct", "B")));
        assert_eq!(item("pub const C: u8 = 1;"), Some(("const", "C")));
        assert_eq!(item("let fn_ = 1;"), None);
    }

    #[test]
    fn long_functions_are_found() {
        let body = "        x();\n".repeat(LONGEST_FUNCTION);
        let text = format!(
            "impl A {{\n    fn short() {{\n        x();\n    }}\n    fn long() {{\n{body}    }}\n}}\n"
        );
        assert_eq!(
            long_functions(&source("crates/a/src/lib.rs", &text)),
            ["crates/a/src/lib.rs:5: long has 62 lines"]
        );
    }

    #[test]
    fn unused_public_functions_are_found() {
        let text = "pub fn used() {}\npub fn unused() {}\npub(crate) fn own() {}\n#[cfg(test)]\npub fn test() {}\n";
        let sources = [
            source("crates/a/src/lib.rs", text),
            source("crates/a/tests/a.rs", "a::unused();"),
            source("plugins/main/b/src/lib.rs", "a::used();"),
        ];
        assert_eq!(
            unused_functions(&sources),
            ["crates/a/src/lib.rs:2: nothing outside crates/a uses unused"]
        );
    }

    #[test]
    fn replaced_names_are_found() {
        let faults = replaced_names(&source("a.rs", "mod tally;\nlet tally = 1;\n"));
        assert_eq!(faults, ["a.rs:1: tally is called results here"]);
    }
}
