//! Markdown, for pages and pull requests.

use std::fmt::Write as _;
use std::slice;

use super::Summary;
use crate::rule::Rule;
use crate::runner::Report;
use crate::worker::Outcome;

/// The list of rules, a table for each group.
pub(crate) fn rules(rules: &[&'static Rule]) -> String {
    let mut text = String::new();
    let mut group = "";
    for rule in rules {
        if rule.group() != group {
            group = rule.group();
            let start = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(
                text,
                "{start}### {group}\n\n| rule | severity | demand | from | for |\n|---|---|---|---|---|"
            );
        }
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            rule.id,
            rule.severity,
            cell(rule.text),
            cell(rule.source),
            rule.scope()
        );
    }
    text
}

/// The results: a line for each plugin, and the failed rules.
pub(crate) fn results(reports: &[Report]) -> String {
    let mut text = "| plugin | versions | passed | must failed | runtime failed | should failed | not applicable |\n\
                    |---|---|---|---|---|---|---|\n"
        .to_owned();
    for report in reports {
        let of = Summary::of(slice::from_ref(report));
        let versions = &report.subject.versions;
        let range = match (versions.first(), versions.last()) {
            (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
            (first, _) => first.cloned().unwrap_or_default(),
        };
        let _ = writeln!(
            text,
            "| {} | {range} | {} | {} | {} | {} | {} |",
            report.subject.plugin,
            of.passed,
            of.failed_must,
            of.failed_runtime,
            of.failed_should,
            of.not_applicable
        );
    }
    let mut failures = String::new();
    for report in reports {
        for verdict in &report.verdicts {
            let (severity, seen) = match &verdict.outcome {
                Outcome::Failed(seen) => (verdict.rule.severity.to_string(), seen),
                Outcome::NotRun(seen) => ("not run".to_owned(), seen),
                _ => continue,
            };
            let _ = writeln!(
                failures,
                "| {} | `{}` | {severity} | {} | {} |",
                report.subject.plugin,
                verdict.rule.id,
                cell(verdict.rule.text),
                cell(seen.lines().next().unwrap_or_default())
            );
        }
    }
    if !failures.is_empty() {
        text += "\n| plugin | rule | severity | expected | seen |\n|---|---|---|---|---|\n";
        text += &failures;
    }
    text
}

/// Text that does not end a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}
