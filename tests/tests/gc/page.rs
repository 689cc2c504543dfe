//! `Documentation/gc-and-status.md`: its table has a row for each plugin, and the tests that it names exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("list a directory of the repository");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

/// The plugins that do more than show how plugins work.
fn plugins() -> BTreeSet<String> {
    let classes = ["main", "ipam", "meta"];
    let dirs = classes.map(|class| entries(&repository().join("plugins").join(class)));
    let names = dirs
        .iter()
        .flatten()
        .filter_map(|dir| dir.file_name()?.to_str());
    names.map(str::to_owned).collect()
}

/// Adds the names of the functions in the source files below `dir`.
fn add_functions(dir: &Path, names: &mut BTreeSet<String>) {
    for path in entries(dir) {
        if path.is_dir() {
            add_functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("read a source file");
            let names_of = |line: &str| {
                let rest = line.trim_start().strip_prefix("fn ")?;
                Some(rest.split('(').next()?.to_owned())
            };
            names.extend(text.lines().filter_map(names_of));
        }
    }
}

/// The cells of the first table.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let lines = page
        .lines()
        .skip_while(|line| !line.starts_with("| plugin |"));
    let table = lines.skip(2).take_while(|line| line.starts_with('|'));
    table
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

#[test]
fn each_row_of_the_table_is_proven() {
    let page = repository().join("Documentation/gc-and-status.md");
    let page = fs::read_to_string(page).expect("read the page");
    let rows = rows(&page);
    let listed: BTreeSet<String> = rows.iter().map(|row| row[0].to_owned()).collect();
    assert_eq!(listed, plugins());
    let mut functions = BTreeSet::new();
    add_functions(&repository().join("plugins"), &mut functions);
    add_functions(&repository().join("tests/tests"), &mut functions);
    for row in rows {
        assert_eq!(row.len(), 4, "{row:?}");
        let tests: Vec<&str> = row[3]
            .split(", ")
            .map(|test| test.trim_matches('`'))
            .collect();
        for test in &tests {
            assert!(
                functions.contains(*test),
                "{}: no test is called {test:?}",
                row[0]
            );
        }
    }
}
