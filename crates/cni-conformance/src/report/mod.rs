//! Results in several forms.

pub(crate) mod json;
pub(crate) mod junit;
pub(crate) mod markdown;
pub(crate) mod text;

use crate::rule::Severity;
use crate::runner::Report;
use crate::worker::Outcome;

/// Numbers of rules by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) passed: usize,
    pub(crate) failed_must: usize,
    pub(crate) failed_runtime: usize,
    pub(crate) failed_should: usize,
    pub(crate) not_applicable: usize,
    pub(crate) not_run: usize,
}

impl Summary {
    /// Counts the verdicts of several plugins.
    pub(crate) fn of(reports: &[Report]) -> Summary {
        let mut summary = Summary::default();
        for verdict in reports.iter().flat_map(|report| &report.verdicts) {
            let count = match (&verdict.outcome, verdict.rule.severity) {
                (Outcome::Passed, _) => &mut summary.passed,
                (Outcome::Failed(_), Severity::Must) => &mut summary.failed_must,
                (Outcome::Failed(_), Severity::Runtime) => &mut summary.failed_runtime,
                (Outcome::Failed(_), Severity::Should) => &mut summary.failed_should,
                (Outcome::NotApplicable(_), _) => &mut summary.not_applicable,
                (Outcome::NotRun(_), _) => &mut summary.not_run,
            };
            *count += 1;
        }
        summary
    }

    /// Whether the plugins do not conform; with `strict`, every failure counts.
    pub(crate) fn is_failure(&self, strict: bool) -> bool {
        self.failed_must + self.failed_runtime > 0 || (strict && self.failed_should > 0)
    }
}
