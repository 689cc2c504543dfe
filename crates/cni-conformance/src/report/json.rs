//! JSON.

use std::path::Path;

use cni_core::skel::build_version;
use serde_json::{Value, json};

use super::Summary;
use crate::rule::Rule;
use crate::runner::{Report, Verdict};
use crate::worker::Outcome;

/// The list of rules.
pub(crate) fn rules(rules: &[&'static Rule]) -> String {
    let rules: Vec<Value> = rules.iter().map(|rule| describe(rule)).collect();
    format!("{:#}\n", Value::from(rules))
}

fn describe(rule: &Rule) -> Value {
    json!({
        "rule": rule.id,
        "severity": rule.severity,
        "source": rule.source,
        "text": rule.text,
        "advice": rule.advice,
        "scope": rule.scope(),
    })
}

/// The results of all plugins.
pub(crate) fn results(dir: &Path, reports: &[Report]) -> String {
    let plugins: Vec<Value> = reports.iter().map(plugin).collect();
    let document = json!({
        "program": format!("cni-conformance {}", build_version()),
        "cniPath": dir,
        "summary": summary(Summary::of(reports)),
        "plugins": plugins,
    });
    format!("{document:#}\n")
}

fn plugin(report: &Report) -> Value {
    let results: Vec<Value> = report.verdicts.iter().map(result).collect();
    json!({
        "plugin": report.subject.plugin,
        "versions": report.subject.versions,
        "summary": summary(Summary::of(std::slice::from_ref(report))),
        "results": results,
    })
}

fn result(verdict: &Verdict) -> Value {
    let mut result = describe(verdict.rule);
    let (outcome, key, text) = match &verdict.outcome {
        Outcome::Passed => ("passed", "", ""),
        Outcome::Failed(seen) => ("failed", "seen", seen.as_str()),
        Outcome::NotApplicable(reason) => ("not-applicable", "reason", reason.as_str()),
        Outcome::NotRun(reason) => ("not-run", "reason", reason.as_str()),
    };
    result["outcome"] = json!(outcome);
    if !key.is_empty() {
        result[key] = json!(text);
    }
    result["milliseconds"] = json!(u64::try_from(verdict.time.as_millis()).unwrap_or(u64::MAX));
    result
}

fn summary(summary: Summary) -> Value {
    json!({
        "passed": summary.passed,
        "failedMust": summary.failed_must,
        "failedRuntime": summary.failed_runtime,
        "failedShould": summary.failed_should,
        "notApplicable": summary.not_applicable,
        "notRun": summary.not_run,
    })
}
