//! Findings, and their texts for people and for programs.

use std::fmt::Write as _;
use std::ops::Range;

use serde::Serialize;
use serde_json::{Value, json};

use super::source::Source;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Severity {
    /// The network cannot work, or a plugin refuses the configuration.
    Error,
    /// It works, though probably not as intended.
    Warning,
}

impl Severity {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// Something wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    /// Name of the kind of finding, for programs.
    pub(super) rule: &'static str,
    /// Bytes of the file.
    pub(super) span: Range<usize>,
    /// JSON pointer (RFC 6901), empty for the whole document.
    pub(super) pointer: String,
    /// What is wrong.
    pub(super) what: String,
    /// What to write instead.
    pub(super) help: String,
}

impl Finding {
    /// The text for people: place, text, and the line of the file with a mark.
    pub(super) fn text(&self, source: &Source) -> String {
        let position = source.position(self.span.start);
        let mut text = format!(
            "{}:{position}: {}: {}",
            source.name,
            self.severity.as_str(),
            self.what
        );
        if !self.pointer.is_empty() {
            let _ = write!(text, " ({})", self.pointer);
        }
        if !self.help.is_empty() {
            let _ = write!(text, ", {}", self.help);
        }
        text.push('\n');
        text.push_str(&source.excerpt(&self.span));
        text
    }

    /// The same for programs.
    pub(super) fn json(&self, source: &Source) -> Value {
        let position = source.position(self.span.start);
        json!({
            "file": source.name,
            "line": position.line,
            "column": position.column,
            "severity": self.severity.as_str(),
            "rule": self.rule,
            "pointer": self.pointer,
            "message": self.what,
            "help": self.help,
        })
    }
}
