//! What became of each test, read off the test runners' output.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use testkit::Deferred;

use crate::{Outcome, commands};

/// The word for a test whose kernel is not good enough, in nextest's manner of speaking.
pub(super) const LACKS: &str = "LACKS";

/// What became of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    Failed,
    /// The test program left it out.
    NotRun,
    /// The kernel lacks something that the test needs.
    Deferred,
}

/// Who says what became of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runner {
    Cargo,
    Nextest,
}

/// The suite, or the part of it that is left, on one kernel.
pub(crate) struct Pass {
    /// Which kernel.
    pub(crate) kernel: String,
    /// Whether the user chose some of the tests: others are then not missed.
    pub(crate) chosen: bool,
    /// Runners that failed without naming a test: a build error, say.
    pub(crate) broken: Vec<String>,
    tests: BTreeMap<String, Verdict>,
    /// What the kernel lacks, by test.
    lacks: BTreeMap<String, String>,
    /// The test program that cargo's own runner is at.
    program: String,
}

impl Pass {
    pub(crate) fn new(kernel: String) -> Pass {
        Pass {
            kernel,
            chosen: false,
            broken: Vec::new(),
            tests: BTreeMap::new(),
            lacks: BTreeMap::new(),
            program: String::new(),
        }
    }

    pub(crate) fn count(&self, verdict: Verdict) -> usize {
        self.tests.values().filter(|v| **v == verdict).count()
    }

    /// The tests that ran, and how they ended.
    pub(crate) fn ran(&self) -> impl Iterator<Item = (&str, Verdict)> {
        self.tests
            .iter()
            .filter(|(_, v)| matches!(v, Verdict::Passed | Verdict::Failed))
            .map(|(name, verdict)| (name.as_str(), *verdict))
    }

    /// Runs a test runner and notes what it says of each test.
    ///
    /// # Errors
    ///
    /// When it cannot be started. Failing tests are no error here.
    pub(crate) fn follow(&mut self, command: &mut Command, runner: Runner) -> Outcome {
        let failed = self.count(Verdict::Failed);
        let shown = commands::shown(command);
        let status = commands::watch(command, |line| self.read(line, runner))?;
        if !status.success() && self.count(Verdict::Failed) == failed {
            self.broken.push(format!("{shown}: {status}"));
        }
        Ok(())
    }

    /// Takes the tests that need another kernel out of the count, whatever the runner made of them.
    pub(crate) fn defer(&mut self, tests: &[Deferred]) {
        for test in tests {
            self.tests.insert(test.name(), Verdict::Deferred);
            self.lacks.insert(test.name(), test.missing.join(", "));
        }
    }

    /// One line of a runner's output.
    pub(crate) fn read(&mut self, line: &str, runner: Runner) {
        let line = line.trim();
        match runner {
            Runner::Nextest => {
                if let Some((name, verdict)) = of_nextest(line) {
                    let (name, lacks) = match name.rsplit_once(": ") {
                        Some((name, lacks)) if verdict == Verdict::Deferred => (name, lacks),
                        _ => (name.as_str(), ""),
                    };
                    if verdict == Verdict::Deferred {
                        self.lacks.insert(name.to_owned(), lacks.to_owned());
                    }
                    self.note(name.to_owned(), verdict);
                }
            }
            Runner::Cargo => {
                let program = line.strip_prefix("Running ");
                if let Some(program) = program.or(line.strip_prefix("Doc-tests ")) {
                    // "Running tests/host.rs (target/debug/deps/host-0123456789abcdef)"
                    let file = program.rsplit('/').next().unwrap_or(program);
                    let file = file.trim_end_matches(')');
                    let name = file.rsplit_once('-').map_or(file, |(name, _)| name);
                    name.clone_into(&mut self.program);
                } else if let Some((name, verdict)) = of_cargo(line) {
                    self.note(format!("{} {name}", self.program), verdict);
                }
            }
        }
    }

    fn note(&mut self, name: String, verdict: Verdict) {
        let verdicts = self.tests.entry(name).or_insert(verdict);
        // Names may repeat in cargo's own output (two crates with a test program "host"): never hide a failure.
        if *verdicts != Verdict::Failed {
            *verdicts = verdict;
        }
    }

    /// Notes what became of a test of which no runner has told.
    pub(crate) fn note_unless_known(&mut self, name: String, verdict: Verdict) {
        self.tests.entry(name).or_insert(verdict);
    }
}

/// `test name ... ok`
fn of_cargo(line: &str) -> Option<(String, Verdict)> {
    let (name, verdict) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let verdict = match verdict.split([',', ' ']).next()? {
        "ok" => Verdict::Passed,
        "FAILED" => Verdict::Failed,
        "ignored" => Verdict::NotRun,
        _ => return None,
    };
    Some((name.trim_end_matches(" - should panic").to_owned(), verdict))
}

/// `PASS [   0.396s] (6/8) testkit::host snapshots_name_what_changed`
fn of_nextest(line: &str) -> Option<(String, Verdict)> {
    let (word, rest) = line.split_once(" [")?;
    let (time, name) = rest.split_once(']')?;
    // "SLOW [> 60.000s]" is not the end of it, and what is skipped takes no time.
    if word != "SKIP" && !time.trim().ends_with('s') || time.contains('>') {
        return None;
    }
    let verdict = match word {
        "PASS" | "LEAK" => Verdict::Passed,
        "SKIP" => Verdict::NotRun,
        LACKS => Verdict::Deferred,
        "FAIL" | "ABORT" | "TIMEOUT" | "LEAK-FAIL" | "XFAIL" => Verdict::Failed,
        signal if signal.starts_with("SIG") => Verdict::Failed,
        _ => return None,
    };
    let name = name.trim();
    let name = if name.starts_with('(') {
        name.split_once(')')?.1.trim()
    } else {
        name
    };
    Some((name.to_owned(), verdict))
}

/// The sum of all passes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    /// How many tests passed on some kernel and failed on none.
    pub(crate) passed: usize,
    /// The tests that failed on some kernel, and the ones that ran on none, with the reason.
    pub(crate) failed: BTreeMap<String, String>,
}

/// Adds the passes up. A test that ran nowhere has failed.
pub(crate) fn total(passes: &[Pass]) -> Total {
    let mut passed = BTreeSet::new();
    let mut failed = BTreeMap::new();
    for pass in passes {
        for (name, verdict) in pass.ran() {
            if verdict == Verdict::Failed {
                failed.insert(name.to_owned(), format!("on {}", pass.kernel));
            } else {
                passed.insert(name.to_owned());
            }
        }
    }
    passed.retain(|name| !failed.contains_key(name));
    let left_out = |pass: &Pass, verdict| match verdict {
        Verdict::Deferred => true,
        Verdict::NotRun => !pass.chosen,
        Verdict::Passed | Verdict::Failed => false,
    };
    let mut nowhere: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pass in passes {
        for (name, verdict) in &pass.tests {
            if left_out(pass, *verdict) && !passed.contains(name) && !failed.contains_key(name) {
                let lacks = pass.lacks.get(name);
                let why = lacks.map_or("left out, as #[ignore] does".into(), |what| {
                    format!("{} lacks {what}", pass.kernel)
                });
                nowhere.entry(name.clone()).or_default().push(why);
            }
        }
    }
    let nowhere = nowhere.into_iter();
    failed.extend(nowhere.map(|(name, why)| (name, format!("ran nowhere: {}", why.join(", ")))));
    Total {
        passed: passed.len(),
        failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(kernel: &str, runner: Runner, lines: &str) -> Pass {
        let mut pass = Pass::new(kernel.into());
        lines.lines().for_each(|line| pass.read(line, runner));
        pass
    }

    fn counts(pass: &Pass) -> [usize; 4] {
        use Verdict::{Deferred, Failed, NotRun, Passed};
        [Passed, Failed, NotRun, Deferred].map(|verdict| pass.count(verdict))
    }

    fn deferred(test: &str) -> Deferred {
        Deferred {
            binary: "b".into(),
            program: "/b".into(),
            test: test.into(),
            dir: "/".into(),
            missing: vec!["vlan".into(), "vrf".into()],
        }
    }

    fn failed(total: &Total) -> Vec<String> {
        let failed = total.failed.iter();
        failed.map(|(name, why)| format!("{name}, {why}")).collect()
    }

    #[test]
    fn nextest_is_understood() {
        let pass = pass(
            "here",
            Runner::Nextest,
            "        PASS [   0.396s] (1/5) testkit::host one\n\
             \x20       SLOW [> 60.000s] (───) testkit::host two\n\
             \x20       FAIL [   0.048s] (2/5) testkit::host two\n\
             \x20 stdout ───\n\
             \x20   running 1 test\n\
             \x20   test two ... FAILED\n\
             \x20    SIGABRT [   0.048s] (3/5) testkit::host three\n\
             \x20    TIMEOUT [ 120.048s] (4/5) testkit::host four\n\
             \x20       SKIP [         ] (───────) rtnl::kinds five\n\
             \x20    Summary [   1.605s] 5 tests run: 1 passed, 4 failed, 0 skipped\n\
             \x20       FAIL [   0.048s] (2/5) testkit::host two\n",
        );
        assert_eq!(counts(&pass), [1, 3, 1, 0]);
    }

    #[test]
    fn cargo_is_understood() {
        let pass = pass(
            "here",
            Runner::Cargo,
            "     Running tests/host.rs (target/debug/deps/host-242e382078567cc7)\n\
             test one ... ok\n\
             test two ... FAILED\n\
             test three ... ignored, needs a machine\n\
             test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured\n\
             \x20    Running unittests src/lib.rs (target/debug/deps/rtnl-0000)\n\
             test one ... ok\n\
             \x20  Doc-tests testkit\n\
             test crates/testkit/src/lib.rs - (line 3) - compile ... ok\n",
        );
        assert_eq!(counts(&pass), [3, 1, 1, 0]);
    }

    #[test]
    fn a_failure_anywhere_is_a_failure() {
        let here = pass("here", Runner::Cargo, "test a ... ok\ntest b ... ok\n");
        let there = pass("there", Runner::Cargo, "test b ... FAILED\ntest c ... ok\n");
        let total = total(&[here, there]);
        assert_eq!(total.passed, 2);
        assert_eq!(failed(&total), [" b, on there"]);
    }

    #[test]
    fn deferred_tests_count_where_they_run() {
        // nextest takes a test that ends early for passed, cargo takes one that unwinds for failed.
        for (runner, lines) in [
            (
                Runner::Nextest,
                "PASS [ 0.1s] (1/2) b one\nPASS [ 0.1s] (2/2) b two\n",
            ),
            (
                Runner::Cargo,
                "Running b.rs (deps/b-0)\ntest one ... ok\ntest two ... FAILED\n",
            ),
        ] {
            let mut here = pass("here", runner, lines);
            here.defer(&[deferred("two")]);
            assert_eq!(counts(&here), [1, 0, 0, 1]);
            let good = pass("there", Runner::Nextest, "PASS [ 0.1s] (1/1) b two\n");
            let sum = total(&[here, good]);
            assert_eq!((sum.passed, failed(&sum).len()), (2, 0));
        }
    }

    #[test]
    fn a_test_that_ran_nowhere_is_a_failure() {
        let lines = "PASS [ 0.1s] (1/3) b one\nPASS [ 0.1s] (2/3) b two\nSKIP [ ] (-/3) b three\n";
        let mut here = pass("here", Runner::Nextest, lines);
        here.defer(&[deferred("two")]);
        let expected = [
            "b three, ran nowhere: left out, as #[ignore] does",
            "b two, ran nowhere: here lacks vlan, vrf",
        ];
        // There is no other kernel.
        let sum = total(std::slice::from_ref(&here));
        assert_eq!(
            (sum.passed, failed(&sum)),
            (1, expected.map(String::from).into())
        );

        // There is, and it is no better.
        let there = pass("there", Runner::Nextest, "LACKS [ 0.1s] (1/1) b two: vrf\n");
        assert_eq!(counts(&there), [0, 0, 0, 1]);
        here.chosen = true;
        let sum = total(&[here, there]);
        let expected = "b two, ran nowhere: here lacks vlan, vrf, there lacks vrf";
        assert_eq!((sum.passed, failed(&sum)), (1, vec![expected.to_owned()]));
    }
}
