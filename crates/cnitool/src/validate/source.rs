//! The text of a file, and places in it.

use std::fmt;
use std::ops::Range;

/// Longest excerpt of a line in characters.
const EXCERPT: usize = 100;

/// A file that was read.
#[derive(Debug)]
pub(super) struct Source {
    /// Path as it was given.
    pub(super) name: String,
    pub(super) text: String,
}

/// A place in a file, both numbers counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: usize,
    /// In characters.
    pub(super) column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Source {
    /// The place of a byte.
    pub(super) fn position(&self, byte: usize) -> Position {
        let before = self.text.get(..byte).unwrap_or(&self.text);
        let line = before.rsplit('\n').next().unwrap_or("");
        Position {
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
        }
    }

    /// The line at the start of `span`, and below it a mark. Tabs are shown as one blank.
    pub(super) fn excerpt(&self, span: &Range<usize>) -> String {
        let Position { line, column } = self.position(span.start);
        let content = self
            .text
            .split('\n')
            .nth(line - 1)
            .unwrap_or("")
            .trim_end_matches('\r');
        // Long lines are shown from a little before the place on.
        let skipped = if content.chars().count() > EXCERPT {
            (column - 1).saturating_sub(EXCERPT / 2)
        } else {
            0
        };
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        let shown: String = content
            .chars()
            .skip(skipped)
            .take(EXCERPT)
            .map(printable)
            .collect();
        let before = column - 1 - skipped;
        let marked = self.text.get(span.clone()).unwrap_or("");
        let marked = marked.split('\n').next().unwrap_or("").chars().count();
        let room = shown.chars().count().saturating_sub(before);
        let marks = "^".repeat(marked.min(room).max(1));
        let number = line.to_string();
        let gutter = " ".repeat(number.len());
        format!(
            "  {number} | {shown}\n  {gutter} | {}{marks}\n",
            " ".repeat(before)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_characters() {
        let text = "{\n\t\"ü\": 5\r\n}".to_owned();
        let source = Source {
            name: "a".into(),
            text,
        };
        let at = source.text.find('5').expect("a place");
        assert_eq!(source.position(at).to_string(), "2:7");
        assert_eq!(
            source.excerpt(&(at..at + 1)),
            "  2 |  \"ü\": 5\n    |       ^\n"
        );
        assert_eq!(source.position(0).to_string(), "1:1");
    }

    #[test]
    fn long_lines_are_cut() {
        let text = format!("{}x{}", "a".repeat(300), "b".repeat(300));
        let source = Source {
            name: "a".into(),
            text,
        };
        let excerpt = source.excerpt(&(300..301));
        assert_eq!(
            excerpt,
            format!(
                "  1 | {}x{}\n    | {}^\n",
                "a".repeat(50),
                "b".repeat(49),
                " ".repeat(50)
            )
        );
    }
}
