//! Results of the tests on each kernel, and the summary.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use anyhow::{Result, bail};
use serde_json::Value;
use testkit::Deferred;

use crate::commands::{self, Output};
use crate::{bench, project};

/// The file below the target directory that lists every test and its kernel.
const FILE: &str = "tests.txt";

/// The result of a test on one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    Ignored,
    /// The kernel lacks these features.
    Deferred(String),
}

/// The results of the tests on one kernel.
pub(super) struct Results {
    kernel: String,
    /// Whether the user selected some of the tests. Tests that did not run are then not failures.
    pub(super) selected: bool,
    /// Whether the user asked for this kernel. Tests that it cannot run are then listed, and are not failures.
    pub(super) is_only: bool,
    /// Failures that do not belong to a test: a build error, a crash of the kernel.
    pub(super) errors: Vec<String>,
    tests: BTreeMap<String, Verdict>,
    /// Names of test programs by `crate::program`, as nextest's JSON calls them.
    programs: BTreeMap<String, String>,
    /// The test program whose output is being read.
    program: String,
}

impl Results {
    pub(super) fn new(kernel: &str) -> Results {
        Results {
            kernel: kernel.to_owned(),
            selected: false,
            is_only: false,
            errors: Vec::new(),
            tests: BTreeMap::new(),
            programs: BTreeMap::new(),
            program: String::new(),
        }
    }

    /// Runs a test runner and passes its output to `read`, line by line.
    ///
    /// # Errors
    ///
    /// When it cannot be started. Failing tests are not an error here.
    pub(super) fn follow(
        &mut self,
        runner: &mut Command,
        output: Output,
        read: fn(&mut Results, &str),
    ) -> Result<()> {
        let failed = self.count(&Verdict::Failed);
        let shown = commands::shown(runner);
        let status = commands::watch(runner, output, |line| read(self, line))?;
        if !status.success() && self.count(&Verdict::Failed) == failed {
            self.errors.push(format!("{shown}: {status}"));
        }
        Ok(())
    }

    /// Parses a line of nextest's `libtest-json-plus`; ignores other lines.
    pub(super) fn read_json(&mut self, line: &str) {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            return;
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if event["type"] == "suite" {
            let program = &event["nextest"];
            let (package, name) = (text(&program["crate"]), text(&program["test_binary"]));
            let id = match program["kind"].as_str() {
                Some("lib") => package.clone(),
                Some("bin") => format!("{package}::bin/{name}"),
                _ => format!("{package}::{name}"),
            };
            self.programs.insert(format!("{package}::{name}"), id);
            return;
        }
        let name = text(&event["name"]);
        let Some((program, test)) = name.split_once('$') else {
            return;
        };
        let program = self.programs.get(program).map_or(program, String::as_str);
        let name = format!("{program} {test}");
        match event["event"].as_str() {
            Some("ok") => self.record(name, Verdict::Passed),
            Some("failed") => self.record(name, Verdict::Failed),
            Some("ignored") => self.record(name, Verdict::Ignored),
            // Only printed by `deferred`.
            Some("lacks") => self.record(name, Verdict::Deferred(text(&event["missing"]))),
            _ => {}
        }
    }

    /// Parses a line of `cargo test` and prints it.
    pub(super) fn read_text(&mut self, line: &str) {
        println!("{line}");
        let line = line.trim();
        let program = line
            .strip_prefix("Running ")
            .or(line.strip_prefix("Doc-tests "));
        if let Some(program) = program {
            // "Running tests/host.rs (target/debug/deps/host-0123456789abcdef)"
            let file = program
                .rsplit('/')
                .next()
                .unwrap_or(program)
                .trim_end_matches(')');
            let name = file.rsplit_once('-').map_or(file, |(name, _hash)| name);
            name.clone_into(&mut self.program);
            return;
        }
        let Some((name, end)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.rsplit_once(" ... "))
        else {
            return;
        };
        let name = format!(
            "{} {}",
            self.program,
            name.trim_end_matches(" - should panic")
        );
        match end.split([',', ' ']).next() {
            Some("ok") => self.record(name, Verdict::Passed),
            Some("FAILED") => self.record(name, Verdict::Failed),
            Some("ignored") => self.record(name, Verdict::Ignored),
            _ => {}
        }
    }

    /// Marks the tests that require another kernel, whatever the runner reported.
    pub(super) fn defer(&mut self, tests: &[Deferred]) {
        for test in tests {
            self.tests
                .insert(test.name(), Verdict::Deferred(test.missing.join(", ")));
        }
    }

    /// Records a test as failed if it has no result.
    pub(super) fn fail_unless_known(&mut self, test: &Deferred) {
        self.tests.entry(test.name()).or_insert(Verdict::Failed);
    }

    fn record(&mut self, name: String, verdict: Verdict) {
        // Names may repeat in the output of cargo test (two crates with a program "host"). A failure must remain.
        let known = self.tests.entry(name).or_insert(Verdict::Ignored);
        if *known != Verdict::Failed {
            *known = verdict;
        }
    }

    fn count(&self, verdict: &Verdict) -> usize {
        self.tests.values().filter(|v| *v == verdict).count()
    }

    /// Why a test did not run on this kernel; `None` if it ran or the user did not select it.
    fn why_not_run(&self, verdict: &Verdict) -> Option<String> {
        match verdict {
            Verdict::Deferred(missing) if !self.is_only => {
                Some(format!("{} lacks {missing}", self.kernel))
            }
            Verdict::Ignored if !self.selected => Some("left out, as #[ignore] does".into()),
            _ => None,
        }
    }
}

/// The results of all kernels together.
#[derive(Debug, Default)]
struct Total {
    /// Tests that passed on some kernel and failed on none.
    passed: BTreeSet<String>,
    /// Tests that failed on a kernel or ran on none, with the reasons.
    failed: BTreeMap<String, String>,
}

fn total(all: &[Results]) -> Total {
    let mut total = Total::default();
    let tests = || {
        all.iter()
            .flat_map(|results| results.tests.iter().map(move |test| (results, test)))
    };
    for (results, (name, verdict)) in tests() {
        if *verdict == Verdict::Failed {
            total
                .failed
                .insert(name.clone(), format!("on {}", results.kernel));
        }
    }
    for (_, (name, verdict)) in tests() {
        if *verdict == Verdict::Passed && !total.failed.contains_key(name) {
            total.passed.insert(name.clone());
        }
    }
    let mut nowhere: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (results, (name, verdict)) in tests() {
        if let Some(why) = results.why_not_run(verdict)
            && !total.passed.contains(name)
            && !total.failed.contains_key(name)
        {
            nowhere.entry(name.clone()).or_default().push(why);
        }
    }
    let nowhere = nowhere.into_iter();
    total
        .failed
        .extend(nowhere.map(|(name, why)| (name, format!("ran nowhere: {}", why.join(", ")))));
    total
}

/// Prints the table of kernels, the failed tests, and as the last line "N passed, N failed".
///
/// # Errors
///
/// When tests failed, ran nowhere, or none ran.
pub(super) fn report(all: &[Results]) -> Result<()> {
    let total = total(all);
    println!("\n{}", kernels(all));
    for results in all.iter().filter(|results| results.is_only) {
        for (test, verdict) in &results.tests {
            if let Verdict::Deferred(missing) = verdict {
                println!("did not run: {test} (the kernel lacks {missing})");
            }
        }
    }
    for (test, why) in &total.failed {
        println!("FAILED {test} ({why})");
    }
    let errors: Vec<&String> = all.iter().flat_map(|results| &results.errors).collect();
    errors.iter().for_each(|error| println!("FAILED {error}"));
    let file = project::target().join(FILE);
    match fs::write(&file, list(all, &total)) {
        Ok(()) => println!("where each test ran: {}", file.display()),
        Err(err) => println!("{}: {err}", file.display()),
    }
    let failed = total.failed.len() + errors.len();
    println!("{} passed, {failed} failed", total.passed.len());
    match (total.passed.len(), failed) {
        (0, _) => bail!("no test ran"),
        (_, 0) => Ok(()),
        _ => bail!("tests failed"),
    }
}

fn kernels(all: &[Results]) -> String {
    let row = |results: &Results| {
        let deferred = results
            .tests
            .values()
            .filter(|v| matches!(v, Verdict::Deferred(_)));
        let counts = [
            results.count(&Verdict::Passed),
            results.count(&Verdict::Failed),
            deferred.count(),
            results.count(&Verdict::Ignored),
        ];
        let counts = counts.iter().map(usize::to_string);
        std::iter::once(results.kernel.clone())
            .chain(counts)
            .collect()
    };
    let head = ["kernel", "passed", "failed", "lacks a feature", "left out"];
    bench::table(&head, all.iter().map(row))
}

/// One line per test and kernel.
fn list(all: &[Results], total: &Total) -> String {
    let mut lines = Vec::new();
    for results in all {
        for (name, verdict) in &results.tests {
            match verdict {
                Verdict::Passed => lines.push(format!("{name}\tpassed\ton {}\n", results.kernel)),
                Verdict::Failed => lines.push(format!("{name}\tfailed\ton {}\n", results.kernel)),
                _ => {}
            }
        }
    }
    let nowhere = total
        .failed
        .iter()
        .filter(|(_, why)| why.starts_with("ran nowhere"));
    lines.extend(nowhere.map(|(name, why)| format!("{name}\tfailed\t{why}\n")));
    lines.sort();
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deferred(test: &str) -> Deferred {
        Deferred {
            binary: "a::t".into(),
            program: "/t".into(),
            test: test.into(),
            dir: "/".into(),
            missing: vec!["vlan".into(), "vrf".into()],
        }
    }

    /// Results as nextest reports them: `test event`, separated by commas.
    fn results(kernel: &str, tests: &str) -> Results {
        let mut results = Results::new(kernel);
        let suite = r#"{"type":"suite","event":"started","nextest":{"crate":"a","test_binary":"t","kind":"test"}}"#;
        results.read_json(suite);
        for test in tests.split(", ") {
            let (name, event) = test.split_once(' ').expect("name and event");
            results.read_json(&format!(
                r#"{{"type":"test","event":"{event}","name":"a::t${name}"}}"#
            ));
        }
        results
    }

    fn failed(all: &[Results]) -> Vec<String> {
        let failed = total(all).failed.into_iter();
        failed.map(|(name, why)| format!("{name}: {why}")).collect()
    }

    #[test]
    fn output_of_nextest_is_parsed() {
        let mut results = results("here", "one started, one ok, two failed, three ignored");
        results.read_json(
            r#"{"type":"suite","nextest":{"crate":"b","test_binary":"b_lib","kind":"lib"}}"#,
        );
        results.read_json(r#"{"type":"test","event":"ok","name":"b::b_lib$unit::test"}"#);
        let names: Vec<_> = results.tests.keys().collect();
        assert_eq!(
            names,
            ["a::t one", "a::t three", "a::t two", "b unit::test"]
        );
        assert_eq!(results.count(&Verdict::Passed), 2);
        assert_eq!(results.count(&Verdict::Failed), 1);
    }

    #[test]
    fn output_of_cargo_test_is_parsed() {
        let mut results = Results::new("here");
        for line in [
            "     Running tests/host.rs (target/debug/deps/host-242e382078567cc7)",
            "test one ... ok",
            "test two ... FAILED",
            "test three ... ignored, needs a machine",
            "test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured",
            "     Running unittests src/lib.rs (target/debug/deps/rtnl-0000)",
            "test one ... ok",
        ] {
            results.read_text(line);
        }
        let names: Vec<_> = results.tests.keys().collect();
        assert_eq!(names, ["host one", "host three", "host two", "rtnl one"]);
        assert_eq!(results.count(&Verdict::Passed), 2);
    }

    #[test]
    fn a_failure_on_any_kernel_is_a_failure() {
        let all = [
            results("here", "a ok, b ok"),
            results("there", "b failed, c ok"),
        ];
        assert_eq!(total(&all).passed.len(), 2);
        assert_eq!(failed(&all), ["a::t b: on there"]);
    }

    #[test]
    fn a_deferred_test_counts_where_it_runs() {
        let mut here = results("here", "one ok, two ok");
        here.defer(&[deferred("two")]);
        let all = [here, results("there", "two ok")];
        assert_eq!((total(&all).passed.len(), failed(&all).len()), (2, 0));
        assert_eq!(
            list(&all, &total(&all)),
            "a::t one\tpassed\ton here\na::t two\tpassed\ton there\n"
        );
    }

    #[test]
    fn a_test_that_ran_nowhere_is_a_failure() {
        let mut here = results("here", "one ok, two ok, three ignored");
        here.defer(&[deferred("two")]);
        let mut all = vec![here];
        let expected = [
            "a::t three: ran nowhere: left out, as #[ignore] does",
            "a::t two: ran nowhere: here lacks vlan, vrf",
        ];
        assert_eq!(failed(&all), expected);
        all[0].selected = true;
        let mut there = Results::new("there");
        there.defer(&[deferred("two")]);
        there.is_only = true;
        assert_eq!(failed(&[there]), [""; 0]);
        let mut there = Results::new("there");
        there.defer(&[deferred("two")]);
        all.push(there);
        assert_eq!(
            failed(&all),
            ["a::t two: ran nowhere: here lacks vlan, vrf, there lacks vlan, vrf"]
        );
    }
}
