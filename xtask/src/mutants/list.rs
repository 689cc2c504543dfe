//! Mutants: single changes of the source code that the tests should notice, as cargo-mutants lists them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::hash;

/// A change of the source code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mutant {
    /// Names the mutant independently of line numbers, so that it remains the same when the code around it changes.
    pub(super) id: String,
    pub(super) package: String,
    /// The file, relative to the root of the workspace.
    pub(super) file: String,
    /// The first line that changes.
    pub(super) line: usize,
    /// The change in words: `replace == with != in overlaps`.
    pub(super) change: String,
    /// Start (inclusive) and end (exclusive) of the text that is replaced.
    span: (Position, Position),
    replacement: String,
}

/// A position in a file; both numbers start at 1, and columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    line: usize,
    column: usize,
}

/// Parses the output of `cargo mutants --list --json`.
///
/// # Errors
///
/// When it is not in the form of the version that [`super::TOOL`] names.
pub(super) fn parse(json: &str) -> Result<Vec<Mutant>> {
    let list: Vec<Value> = serde_json::from_str(json).context("the list of cargo-mutants")?;
    let mut seen: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut mutants = Vec::new();
    for entry in &list {
        let mut mutant =
            mutant(entry).with_context(|| format!("an unknown form of mutant: {entry}"))?;
        let nth = seen
            .entry((mutant.file.clone(), mutant.change.clone()))
            .or_default();
        mutant.id = id(&mutant.file, &mutant.change, *nth);
        *nth += 1;
        mutants.push(mutant);
    }
    let mut ids: Vec<&str> = mutants.iter().map(|mutant| mutant.id.as_str()).collect();
    ids.sort_unstable();
    if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!("two mutants have the ID {}: make IDs longer", pair[0]);
    }
    Ok(mutants)
}

fn mutant(entry: &Value) -> Option<Mutant> {
    let text = |key: &str| Some(entry[key].as_str()?.to_owned());
    let position = |name: &str| {
        let number = |key: &str| usize::try_from(entry["span"][name][key].as_u64()?).ok();
        Some(Position {
            line: number("line")?,
            column: number("column")?,
        })
    };
    let (file, name) = (text("file")?, text("name")?);
    let (start, end) = (position("start")?, position("end")?);
    let place = format!("{file}:{}:{}: ", start.line, start.column);
    Some(Mutant {
        id: String::new(),
        package: text("package")?,
        line: start.line,
        // The pattern of a match arm may span several lines.
        change: name
            .strip_prefix(&place)?
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "),
        file,
        span: (start, end),
        replacement: text("replacement")?,
    })
}

/// The ID of the `nth` mutant with the same words in a file: `==` may occur more than once in a function.
fn id(file: &str, change: &str, nth: usize) -> String {
    format!("{:08x}", hash(&format!("{file}\n{change}\n{nth}")) >> 32)
}

impl Mutant {
    /// Returns the text of the file with the change.
    ///
    /// # Errors
    ///
    /// When the file has no such place.
    pub(super) fn apply(&self, text: &str) -> Result<String> {
        let (start, end) = self.span;
        let range = offset(text, start).zip(offset(text, end));
        let (before, after) = range
            .and_then(|(start, end)| Some((text.get(..start)?, text.get(end..)?)))
            .with_context(|| format!("{}: no text at {start:?} to {end:?}", self.file))?;
        Ok(format!("{before}{} {after}", self.replacement))
    }

    /// The file and the line, as compilers print them.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

/// The position as an offset in bytes.
fn offset(text: &str, position: Position) -> Option<usize> {
    let before = text.split_inclusive('\n').take(position.line - 1);
    let start: usize = before.map(str::len).sum();
    let line = text.get(start..)?;
    let mut columns = line.char_indices().map(|(offset, _)| offset);
    let column = columns
        .nth(position.column - 1)
        // The end of the last line.
        .or((line.chars().count() == position.column - 1).then_some(line.len()))?;
    Some(start + column)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// A list of mutants of one line each: file, line, columns, replacement, words.
    pub(in super::super) fn list(entries: &[(&str, usize, [usize; 2], &str, &str)]) -> String {
        let entries = entries
            .iter()
            .map(|(file, line, [start, end], replacement, words)| {
                json!({
                    "name": format!("{file}:{line}:{start}: {words}"), "package": "p", "file": file,
                    "function": null, "replacement": replacement, "genre": "BinaryOperator",
                    "span": {
                        "start": {"line": line, "column": start}, "end": {"line": line, "column": end},
                    },
                })
            });
        Value::from_iter(entries).to_string()
    }

    #[test]
    fn the_place_is_replaced() {
        let json = list(&[("a.rs", 2, [8, 10], "!=", "replace == with != in f")]);
        let mutant = parse(&json).expect("a list").remove(0);
        assert_eq!(mutant.place(), "a.rs:2");
        assert_eq!(mutant.change, "replace == with != in f");
        // Columns are characters, not bytes.
        let new = mutant.apply("// é\nif 'é' == b {\n}\n").expect("the place");
        assert_eq!(new, "// é\nif 'é' !=  b {\n}\n");
        let error = mutant.apply("// é\n").expect_err("a short file");
        assert!(error.to_string().contains("a.rs: no text at"), "{error}");
    }

    #[test]
    fn the_end_of_a_file_is_a_place() {
        let json = list(&[("a.rs", 1, [4, 6], "y", "replace x with y in f")]);
        let mutant = parse(&json).expect("a list").remove(0);
        assert_eq!(mutant.apply("if xx").expect("the place"), "if y ");
    }

    #[test]
    fn ids_survive_a_move_and_tell_equal_changes_apart() {
        let words = "replace == with != in f";
        let ids = |lines: [usize; 2]| -> Vec<String> {
            let json = list(&lines.map(|line| ("a.rs", line, [1, 2], "!=", words)));
            let mutants = parse(&json).expect("a list");
            mutants.into_iter().map(|mutant| mutant.id).collect()
        };
        assert_eq!(ids([1, 2]), ids([11, 12]));
        assert_ne!(ids([1, 2])[0], ids([1, 2])[1]);
    }

    #[test]
    fn patterns_of_several_lines_become_one() {
        let words = "delete match arm A |\n        B in f";
        let mutants = parse(&list(&[("a.rs", 1, [1, 2], "", words)])).expect("a list");
        assert_eq!(mutants[0].change, "delete match arm A | B in f");
    }

    #[test]
    fn another_form_is_an_error() {
        for json in [
            "{}",
            "[{}]",
            r#"[{"name": "a.rs:1: x", "file": "a.rs"}]"#,
            "text",
        ] {
            parse(json).expect_err(json);
        }
    }
}
