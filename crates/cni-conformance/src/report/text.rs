//! Text for a terminal: a line for each plugin, then each failed rule.

use std::fmt::Write as _;
use std::slice;

use super::Summary;
use crate::rule::Rule;
use crate::runner::{Report, Verdict};
use crate::worker::Outcome;

/// The most lines of what was seen, unless all are asked for.
const SEEN: usize = 12;

/// The list of rules.
pub(crate) fn rules(rules: &[&'static Rule]) -> String {
    let mut text = String::new();
    for rule in rules {
        let Rule {
            id,
            severity,
            source,
            text: demand,
            ..
        } = rule;
        let _ = writeln!(
            text,
            "{id}  ({severity}; {source}; {})\n    {demand}",
            rule.scope()
        );
    }
    let _ = writeln!(text, "{} rules", rules.len());
    text
}

/// The results of all plugins.
pub(crate) fn results(reports: &[Report], verbose: bool) -> String {
    let mut text = format!(
        "{:<16} {:>6}  {:>6} {:>7} {:>6}  {:>5} {:>7}\n",
        "plugin", "passed", "must", "runtime", "should", "n/a", "not run"
    );
    let line = |name: &str, reports: &[Report]| {
        let of = Summary::of(reports);
        format!(
            "{name:<16} {:>6}  {:>6} {:>7} {:>6}  {:>5} {:>7}\n",
            of.passed,
            of.failed_must,
            of.failed_runtime,
            of.failed_should,
            of.not_applicable,
            of.not_run
        )
    };
    for report in reports {
        text += &line(&report.subject.plugin, slice::from_ref(report));
    }
    if reports.len() > 1 {
        text += &line("all", reports);
    }
    for report in reports {
        for verdict in &report.verdicts {
            text += &details(&report.subject.plugin, verdict, verbose);
        }
    }
    text
}

/// A failed rule: what was demanded, what was seen, and what to do. Empty for one that passed.
fn details(plugin: &str, verdict: &Verdict, verbose: bool) -> String {
    let Rule {
        id,
        severity,
        source,
        text: demand,
        advice,
        ..
    } = verdict.rule;
    let (what, seen) = match &verdict.outcome {
        Outcome::Failed(seen) => (format!("failed ({severity}; {source})"), seen),
        Outcome::NotRun(seen) => ("could not be checked".to_owned(), seen),
        Outcome::NotApplicable(reason) if verbose => {
            return format!("\n{plugin}: {id} does not apply: {reason}\n");
        }
        _ => return String::new(),
    };
    let mut text = format!("\n{plugin}: {id} {what}\n  expected  {demand}\n");
    let lines: Vec<&str> = seen.lines().collect();
    let shown = if verbose {
        lines.len()
    } else {
        SEEN.min(lines.len())
    };
    for (number, line) in lines[..shown].iter().enumerate() {
        let label = if number == 0 { "seen" } else { "" };
        let _ = writeln!(text, "  {label:<8}  {line}");
    }
    if shown < lines.len() {
        let _ = writeln!(
            text,
            "            … {} more lines with --verbose",
            lines.len() - shown
        );
    }
    if !advice.is_empty() {
        let _ = writeln!(text, "  to do     {advice}");
    }
    text
}
