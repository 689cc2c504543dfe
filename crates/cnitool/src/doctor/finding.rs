//! The report: facts about the host, and findings.

use std::fmt::Write as _;

use serde::Serialize;

use crate::validate::Severity;

/// Something that is or may become a problem.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    /// What was examined.
    pub(super) area: &'static str,
    /// What was found.
    pub(super) what: String,
    /// Why it matters.
    pub(super) why: String,
    /// What to do.
    pub(super) advice: String,
}

/// All that was found.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Names and values, in the order of the examinations.
    facts: Vec<Fact>,
    findings: Vec<Finding>,
}

/// Something to know about the host.
#[derive(Debug, Serialize)]
struct Fact {
    name: &'static str,
    value: String,
}

impl Report {
    pub(super) fn fact(&mut self, name: &'static str, value: impl Into<String>) {
        self.facts.push(Fact {
            name,
            value: value.into(),
        });
    }

    pub(super) fn error(
        &mut self,
        area: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(
            Severity::Error,
            area,
            [what.into(), why.into(), advice.into()],
        );
    }

    pub(super) fn warning(
        &mut self,
        area: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(
            Severity::Warning,
            area,
            [what.into(), why.into(), advice.into()],
        );
    }

    fn add(&mut self, severity: Severity, area: &'static str, [what, why, advice]: [String; 3]) {
        self.findings.push(Finding {
            severity,
            area,
            what,
            why,
            advice,
        });
    }

    pub(super) fn count(&self, severity: Severity) -> usize {
        let findings = self.findings.iter();
        findings
            .filter(|finding| finding.severity == severity)
            .count()
    }

    /// The text for people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for Fact { name, value } in &self.facts {
            let _ = writeln!(text, "{name:<15} {value}");
        }
        for severity in [Severity::Error, Severity::Warning] {
            let findings = self.findings.iter();
            for finding in findings.filter(|finding| finding.severity == severity) {
                let _ = writeln!(
                    text,
                    "\n{}: {}: {}\n  why: {}\n  do:  {}",
                    severity.as_str(),
                    finding.area,
                    finding.what,
                    finding.why,
                    finding.advice
                );
            }
        }
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        let _ = match (errors, warnings) {
            (0, 0) => writeln!(text, "\nno problems found"),
            _ => writeln!(text, "\n{errors} errors, {warnings} warnings"),
        };
        text
    }
}
