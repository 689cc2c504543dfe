//! Regular expressions as the lists of allowed sysctls are written in: the syntax of
//! RE2 without Unicode classes. Whether there is a match is all that is asked, so every
//! character of the text is looked at once, by all ways through the expression at a
//! time: no expression takes longer than its length times that of the text.

mod parse;
mod tree;

use tree::{Look, Node, Set};

/// The longest program of an expression, in steps.
const LONGEST: usize = 20_000;

/// A regular expression.
pub(crate) struct Pattern {
    program: Vec<Step>,
}

/// A step on the way through an expression; numbers are places in the program.
enum Step {
    One(Set),
    Look(Look),
    Both(usize, usize),
    Goto(usize),
    Match,
}

impl Pattern {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn new(text: &str) -> Result<Pattern, String> {
        let tree = parse::parse(text)?;
        let mut program = Vec::new();
        write(&mut program, &tree)?;
        program.push(Step::Match);
        Ok(Pattern { program })
    }

    /// Whether any part of `text` matches.
    pub(crate) fn finds(&self, text: &str) -> bool {
        let mut now = Places::new(self.program.len());
        let mut next = Places::new(self.program.len());
        let mut before = None;
        let mut rest = text.chars();
        loop {
            let c = rest.next();
            // A match may begin anywhere.
            if self.follow(&mut now, 0, before, c) {
                return true;
            }
            let Some(here) = c else {
                return false;
            };
            let after = rest.clone().next();
            next.clear();
            for at in now.list.iter().copied() {
                if let Step::One(set) = &self.program[at]
                    && set.has(here)
                    && self.follow(&mut next, at + 1, c, after)
                {
                    return true;
                }
            }
            std::mem::swap(&mut now, &mut next);
            before = c;
        }
    }

    /// Goes on from `at` to all places where a character is waited for, between the
    /// characters `before` and `after`. Whether a match is among them.
    fn follow(
        &self,
        places: &mut Places,
        at: usize,
        before: Option<char>,
        after: Option<char>,
    ) -> bool {
        let mut open = vec![at];
        while let Some(at) = open.pop() {
            if !places.insert(at) {
                continue;
            }
            match &self.program[at] {
                Step::Match => return true,
                Step::One(_) => {}
                Step::Goto(to) => open.push(*to),
                Step::Both(a, b) => open.extend([*a, *b]),
                Step::Look(look) => {
                    if holds(*look, before, after) {
                        open.push(at + 1);
                    }
                }
            }
        }
        false
    }
}

/// A set of places in the program, in no particular order.
struct Places {
    list: Vec<usize>,
    has: Vec<bool>,
}

impl Places {
    fn new(len: usize) -> Places {
        Places {
            list: Vec::new(),
            has: vec![false; len],
        }
    }

    fn insert(&mut self, at: usize) -> bool {
        let new = !std::mem::replace(&mut self.has[at], true);
        if new {
            self.list.push(at);
        }
        new
    }

    fn clear(&mut self) {
        for at in self.list.drain(..) {
            self.has[at] = false;
        }
    }
}

fn holds(look: Look, before: Option<char>, after: Option<char>) -> bool {
    let word = |c: Option<char>| c.is_some_and(|c| Set::word().has(c));
    match look {
        Look::Start => before.is_none(),
        Look::End => after.is_none(),
        Look::WordBoundary => word(before) != word(after),
        Look::NoWordBoundary => word(before) == word(after),
    }
}

/// Appends the steps of `node` to a program.
fn write(program: &mut Vec<Step>, node: &Node) -> Result<(), String> {
    if program.len() > LONGEST {
        return Err("expression too large".into());
    }
    match node {
        Node::One(set) => program.push(Step::One(set.clone())),
        Node::Look(look) => program.push(Step::Look(*look)),
        Node::Sequence(parts) => {
            for part in parts {
                write(program, part)?;
            }
        }
        Node::Either(branches) => either(program, branches)?,
        Node::Repeat(part, least, most) => {
            for _ in 0..*least {
                write(program, part)?;
            }
            match most {
                None => {
                    let fork = program.len();
                    program.push(Step::Match);
                    write(program, part)?;
                    program.push(Step::Goto(fork));
                    program[fork] = Step::Both(fork + 1, program.len());
                }
                Some(most) => {
                    let mut forks = Vec::new();
                    for _ in *least..*most {
                        forks.push(program.len());
                        program.push(Step::Match);
                        write(program, part)?;
                    }
                    for fork in forks {
                        program[fork] = Step::Both(fork + 1, program.len());
                    }
                }
            }
        }
    }
    Ok(())
}

fn either(program: &mut Vec<Step>, branches: &[Node]) -> Result<(), String> {
    let mut ends = Vec::new();
    for (number, branch) in branches.iter().enumerate() {
        let last = number + 1 == branches.len();
        let fork = program.len();
        if !last {
            program.push(Step::Match);
        }
        write(program, branch)?;
        if !last {
            ends.push(program.len());
            program.push(Step::Match);
            program[fork] = Step::Both(fork + 1, program.len());
        }
    }
    for end in ends {
        program[end] = Step::Goto(program.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "net.ipv4.conf.IFNAME.arp_filter";

    #[test]
    fn finds_what_matches_anywhere() {
        for pattern in [
            "",
            "arp_filter",
            "^net\\.ipv4\\.conf\\.IFNAME\\.[a-z_]*$",
            "^net.ipv4.",
            "conf\\.(all|IFNAME)\\.",
            "a{1}rp",
            "(?i)ifname",
            "(?i:NET)\\.",
            "[[:upper:]]{6}",
            "[^.]+$",
            "\\.\\w+_\\w+$",
            "\\bconf\\b",
            "x*y*z*",
            "(a|b|c|arp)_f",
            "(?P<family>ipv[46])",
            "\\Qv4.conf\\E",
            "filter{0,}$",
            "net\\x2eipv4",
            "\\x{6e}et",
            "[\\d.]con[e-g]",
            "[]n]et",
            "a{,5}|.",
            "^(?:net|kernel)(?:\\.[A-Za-z0-9_]+){4}$",
            "I[^a-z]{4}E",
            "(((((n)))))e",
        ] {
            let found = Pattern::new(pattern).map(|p| p.finds(KEY));
            assert_eq!(found, Ok(true), "{pattern}");
        }
        for pattern in [
            "^arp_filter",
            "ipv6",
            "net$",
            "\\Bconf",
            "[A-Z]{7}",
            "^$",
            "arp-filter",
            "ifname",
            "(?i)(?-i)ifname",
            "((?i)x)|ifname",
            "conf\\.(all|default)\\.",
            "a{2}",
            "\\d{2}",
            "\\s",
            "a{,5}",
            "net/ipv4",
        ] {
            let found = Pattern::new(pattern).map(|p| p.finds(KEY));
            assert_eq!(found, Ok(false), "{pattern}");
        }
    }

    #[test]
    fn what_is_no_expression() {
        for (pattern, why) in [
            ("(", "missing closing )"),
            ("a)", "unexpected )"),
            ("[a", "missing closing ]"),
            ("*", "missing argument to repetition operator: *"),
            ("a**", "invalid nested repetition operator"),
            ("a{2}{3}", "invalid nested repetition operator"),
            ("a{1001}", "invalid repeat count: {1001}"),
            ("a{5,2}", "invalid repeat count: {5,2}"),
            ("[z-a]", "invalid character class range"),
            ("\\", "trailing backslash at end of expression"),
            ("\\y", "invalid escape sequence: \\y"),
            ("\\pL", "invalid escape sequence: \\p"),
            ("\\x4", "invalid escape sequence: \\x"),
            ("(?=a)", "invalid or unsupported Perl syntax"),
            ("[[:nope:]]", "invalid character class range: [:nope:]"),
            ("((a{1000}){1000}){1000}", "expression too large"),
        ] {
            assert_eq!(Pattern::new(pattern).err().as_deref(), Some(why));
        }
        let deep = "(".repeat(100_000);
        assert!(Pattern::new(&deep).is_err());
    }

    /// What takes a matcher that goes back and tries again for ever.
    #[test]
    fn no_expression_takes_long() {
        let text = "a".repeat(2000);
        for pattern in ["(a*)*b", "(a|aa)+$b", "(a+a+)+b", "(x+x+)+y"] {
            let found = Pattern::new(pattern).map(|p| p.finds(&text));
            assert_eq!(found, Ok(false), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(pattern in "[\\[\\](){}|*+?.^$\\\\a-c0-9:,<>P=i-]{0,24}", text in "[a-c0-9.]{0,12}") {
            if let Ok(pattern) = Pattern::new(&pattern) {
                pattern.finds(&text);
            }
        }

        #[test]
        fn a_text_finds_itself(text in "[a-zA-Z0-9_/ -]{0,40}") {
            let found = Pattern::new(&format!("^{text}$")).map(|p| p.finds(&text));
            prop_assert_eq!(found, Ok(true));
        }
    }
}
