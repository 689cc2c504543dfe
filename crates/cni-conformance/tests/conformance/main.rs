//! The program against our plugins, against another implementation's, and against a shell script.

/// One test for each plugin: a call of the function with its name.
macro_rules! for_plugins {
    ($function:ident, $($name:ident: $plugin:literal;)*) => {
        $(
            #[test]
            fn $name() {
                $function($plugin);
            }
        )*
    };
}

mod foreign;
mod list;
mod options;
mod ours;
mod page;
mod peer;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use testkit::{Invocation, Run};

/// A call of the program, which has the variables of the test run.
fn program(arguments: &[&str]) -> Invocation {
    let mut call = testkit::tool("cni-conformance").arguments(arguments);
    for variable in [testkit::KERNEL, testkit::FEATURES_FILE] {
        if let Some(value) = std::env::var_os(variable) {
            call = call.env(variable, value);
        }
    }
    // Below the time limit of the test, so that the output is shown.
    let limit = if testkit::patience() > 1 { 340 } else { 520 };
    call.deadline(Duration::from_secs(limit))
}

/// What the program found out about one plugin.
struct Findings {
    run: Run,
    plugin: Value,
}

/// Checks a plugin, with more arguments.
#[track_caller]
fn check(dir: &Path, plugin: &str, more: &[&str]) -> Findings {
    let dir = dir.to_string_lossy();
    let arguments = [
        &["--cni-path", &*dir, "--plugin", plugin, "--json", "-"],
        more,
    ]
    .concat();
    let run = program(&arguments).run();
    let mut report = run.json();
    let plugin = report["plugins"][0].take();
    Findings { run, plugin }
}

impl Findings {
    /// The results with this outcome.
    fn results(&self, outcome: &str) -> impl Iterator<Item = &Value> {
        let results = self.plugin["results"].as_array().into_iter().flatten();
        results.filter(move |result| result["outcome"] == outcome)
    }

    /// The IDs of the rules that failed.
    fn failed(&self) -> BTreeSet<String> {
        let ids = self.results("failed").map(|result| &result["rule"]);
        ids.filter_map(Value::as_str).map(String::from).collect()
    }

    /// Demands that exactly these rules failed, and that all could be checked.
    #[track_caller]
    fn assert_failed(&self, expected: &BTreeSet<String>) {
        let shown = |outcome: &str| -> String {
            let texts = self.results(outcome).map(|result| {
                let why = result["seen"].as_str().or(result["reason"].as_str());
                format!("\n--- {}\n{}", result["rule"], why.unwrap_or_default())
            });
            texts.collect()
        };
        let not_run = shown("not-run");
        assert!(not_run.is_empty(), "rules could not be checked{not_run}");
        let failed = self.failed();
        let missing: Vec<&String> = expected.difference(&failed).collect();
        let more: Vec<&String> = failed.difference(expected).collect();
        assert!(
            missing.is_empty() && more.is_empty(),
            "failed in addition: {more:?}; expected to fail, but passed: {missing:?}{}",
            shown("failed")
        );
    }
}
