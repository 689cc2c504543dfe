//! What became of each test, read off the test runners' output.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::{Outcome, commands};

/// What became of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    Failed,
    NotRun,
}

/// The suite on one kernel.
pub(crate) struct Pass {
    /// Which kernel.
    pub(crate) kernel: String,
    /// Runners that failed without naming a test: a build error, say.
    pub(crate) broken: Vec<String>,
    tests: BTreeMap<String, Verdict>,
}

impl Pass {
    pub(crate) fn new(kernel: String) -> Pass {
        Pass {
            kernel,
            broken: Vec::new(),
            tests: BTreeMap::new(),
        }
    }

    pub(crate) fn count(&self, verdict: Verdict) -> usize {
        self.tests.values().filter(|v| **v == verdict).count()
    }

    /// The names of the tests that became this.
    pub(crate) fn names(&self, verdict: Verdict) -> impl Iterator<Item = &str> {
        self.tests
            .iter()
            .filter(move |(_, v)| **v == verdict)
            .map(|(name, _)| name.as_str())
    }

    /// Runs a test runner (nextest's or cargo's own) and notes what it says of each test.
    ///
    /// # Errors
    ///
    /// When it cannot be started. Failing tests are no error here.
    pub(crate) fn follow(&mut self, runner: &mut Command) -> Outcome {
        let failed = self.count(Verdict::Failed);
        let mut binary = String::new();
        let shown = commands::shown(runner);
        let status = commands::watch(runner, |line| self.read(line, &mut binary))?;
        if !status.success() && self.count(Verdict::Failed) == failed {
            self.broken.push(format!("{shown}: {status}"));
        }
        Ok(())
    }

    /// One line of output; `binary` is the test program that cargo's own runner is at.
    fn read(&mut self, line: &str, binary: &mut String) {
        let line = line.trim();
        if let Some(program) = line
            .strip_prefix("Running ")
            .or(line.strip_prefix("Doc-tests "))
        {
            // "Running tests/host.rs (target/debug/deps/host-0123456789abcdef)"
            let stem = program
                .rsplit('/')
                .next()
                .unwrap_or(program)
                .trim_end_matches(')');
            *binary = stem
                .rsplit_once('-')
                .map_or(stem, |(name, _)| name)
                .to_owned();
        } else if let Some((name, verdict)) = of_cargo(line) {
            self.note(format!("{binary} {name}"), verdict);
        } else if let Some((name, verdict)) = of_nextest(line) {
            self.note(name, verdict);
        }
    }

    fn note(&mut self, name: String, verdict: Verdict) {
        let verdicts = self.tests.entry(name).or_insert(verdict);
        // Names may repeat in cargo's own output (two crates with a test program "host"): never hide a failure.
        if *verdicts != Verdict::Failed {
            *verdicts = verdict;
        }
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

/// How many tests passed on some kernel, and which failed on one. A test that ran nowhere has failed, unless
/// no kernel knows of it but as ignored.
pub(crate) fn total(passes: &[Pass]) -> (usize, BTreeSet<String>) {
    let verdicts = |wanted| {
        passes
            .iter()
            .flat_map(move |pass| pass.tests.iter().filter(move |(_, v)| **v == wanted))
            .map(|(name, _)| name.clone())
            .collect::<BTreeSet<_>>()
    };
    let failed = verdicts(Verdict::Failed);
    (
        verdicts(Verdict::Passed).difference(&failed).count(),
        failed,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(lines: &str) -> Pass {
        let mut pass = Pass::new("test".into());
        let mut binary = String::new();
        lines.lines().for_each(|line| pass.read(line, &mut binary));
        pass
    }

    fn counts(pass: &Pass) -> [usize; 3] {
        [Verdict::Passed, Verdict::Failed, Verdict::NotRun].map(|verdict| pass.count(verdict))
    }

    #[test]
    fn nextest_is_understood() {
        let pass = pass(
            "        PASS [   0.396s] (1/5) testkit::host one\n\
             \x20       SLOW [> 60.000s] (───) testkit::host two\n\
             \x20       FAIL [   0.048s] (2/5) testkit::host two\n\
             \x20    SIGABRT [   0.048s] (3/5) testkit::host three\n\
             \x20    TIMEOUT [ 120.048s] (4/5) testkit::host four\n\
             \x20       SKIP [         ] (───────) rtnl::kinds five\n\
             \x20    Summary [   1.605s] 5 tests run: 1 passed, 4 failed, 0 skipped\n\
             \x20       FAIL [   0.048s] (2/5) testkit::host two\n",
        );
        assert_eq!(counts(&pass), [1, 3, 1]);
    }

    #[test]
    fn cargo_is_understood() {
        let pass = pass(
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
        assert_eq!(counts(&pass), [3, 1, 1]);
    }

    #[test]
    fn a_failure_anywhere_is_a_failure() {
        let here = pass("test a ... ok\ntest b ... ok\n");
        let there = pass("test b ... FAILED\ntest c ... ok\n");
        assert_eq!(
            total(&[here, there]),
            (2, BTreeSet::from([" b".to_owned()]))
        );
    }
}
