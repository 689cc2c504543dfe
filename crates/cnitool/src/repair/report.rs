//! What `cnitool repair` reports. The JSON form has the same keys.

use std::fmt::Write;

use libcni::CachedAttachment;
use serde::Serialize;

/// The result for a plugin, or for an attachment: the worst of its plugins, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    /// The attachment is gone, or its namespace cannot be entered.
    Skipped,
    /// Nothing was missing.
    Whole,
    /// What was missing has been put back.
    Repaired,
    /// Something is missing, and nothing was to be changed.
    Missing,
    /// Something is missing, and could not be put back.
    Failed,
}

/// A plugin that found something missing.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) state: State,
    /// What CHECK said.
    pub(super) missing: String,
    /// Why it could not be put back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// An attachment of the cache.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attachment {
    pub(super) network: String,
    #[serde(rename = "containerID")]
    pub(super) container_id: String,
    pub(super) if_name: String,
    pub(super) state: State,
    /// Why it was skipped, or could not be checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// The plugins that found something missing, in the order of the chain.
    pub(super) findings: Vec<Finding>,
}

impl Attachment {
    /// Returns the report on an attachment without findings.
    pub(super) fn new(cached: &CachedAttachment, state: State, reason: Option<String>) -> Self {
        Attachment {
            network: cached.network.clone(),
            container_id: cached.attachment.container_id.clone(),
            if_name: cached.attachment.if_name.clone(),
            state,
            reason,
            findings: Vec::new(),
        }
    }

    /// Adds what a plugin found.
    pub(super) fn add(&mut self, finding: Finding) {
        self.state = self.state.max(finding.state);
        self.findings.push(finding);
    }
}

/// The attachments that were examined.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) attachments: Vec<Attachment>,
}

impl Report {
    /// Whether nothing is missing any more.
    pub(super) fn is_whole(&self) -> bool {
        let mut attachments = self.attachments.iter();
        attachments.all(|attachment| attachment.state < State::Missing)
    }

    /// Returns a line for each finding, and one with the numbers of attachments.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        for attachment in &self.attachments {
            let name = format!(
                "{} {} {}",
                attachment.network, attachment.container_id, attachment.if_name
            );
            if let Some(reason) = &attachment.reason {
                let _ = writeln!(out, "{name}: {}: {reason}", word(attachment.state));
            }
            for finding in &attachment.findings {
                let (kind, state) = (&finding.kind, word(finding.state));
                let _ = write!(out, "{name}: {kind}: {state}: {}", finding.missing);
                if let Some(error) = &finding.error {
                    let _ = write!(out, "; {error}");
                }
                out.push('\n');
            }
        }
        let count = |state: State| {
            let of_state = |attachment: &&Attachment| attachment.state == state;
            self.attachments.iter().filter(of_state).count()
        };
        let _ = write!(out, "attachments: {}", self.attachments.len());
        for state in [
            State::Whole,
            State::Repaired,
            State::Missing,
            State::Failed,
            State::Skipped,
        ] {
            let _ = write!(out, ", {} {}", word(state), count(state));
        }
        out.push('\n');
        out
    }
}

/// Returns a state in words.
fn word(state: State) -> &'static str {
    match state {
        State::Skipped => "skipped",
        State::Whole => "whole",
        State::Repaired => "repaired",
        State::Missing => "missing",
        State::Failed => "failed",
    }
}
