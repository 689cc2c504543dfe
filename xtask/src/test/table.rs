//! The closing table: on which kernel each test ran, and the total.

use std::collections::BTreeMap;
use std::fs;

use super::tally::{self, Pass, Total, Verdict};
use crate::{Outcome, project};

/// The file below the target directory that tells of every single test.
const FILE: &str = "tests.txt";

/// Prints the table; its last line is "N passed, N failed".
///
/// # Errors
///
/// When tests failed, ran nowhere, or none ran.
pub(super) fn close(passes: &[Pass]) -> Outcome {
    let total = tally::total(passes);
    let broken: usize = passes.iter().map(|pass| pass.broken.len()).sum();
    println!("\n{}", text(passes, &total));
    let file = project::target().join(FILE);
    match fs::write(&file, list(passes)) {
        Ok(()) => println!("where each test ran: {}", file.display()),
        Err(err) => println!("{}: {err}", file.display()),
    }
    let failed = total.failed.len() + broken;
    println!("{} passed, {failed} failed", total.passed);
    outcome(total.passed, failed)
}

fn outcome(passed: usize, failed: usize) -> Outcome {
    match (passed, failed) {
        (0, _) => Err("no test ran".into()),
        (_, 0) => Ok(()),
        _ => Err("tests failed".into()),
    }
}

fn text(passes: &[Pass], total: &Total) -> String {
    let mut text = String::new();
    for (number, pass) in passes.iter().enumerate() {
        text += &format!(
            "on {}: passed {}, failed {}, lacking what they need {}, left out {}\n",
            pass.kernel,
            pass.count(Verdict::Passed),
            pass.count(Verdict::Failed),
            pass.count(Verdict::Deferred),
            pass.count(Verdict::NotRun)
        );
        // The first kernel is where everything runs that is not mentioned.
        if number > 0 {
            for (program, tests) in by_program(pass) {
                let plural = if tests == 1 { "" } else { "s" };
                text += &format!("    {program}: {tests} test{plural}\n");
            }
        }
        for trouble in &pass.broken {
            text += &format!("    {trouble}\n");
        }
    }
    for (test, why) in &total.failed {
        text += &format!("    FAILED {test} ({why})\n");
    }
    text.truncate(text.trim_end().len());
    text
}

/// How many tests of each test program ran.
fn by_program(pass: &Pass) -> BTreeMap<&str, usize> {
    let mut programs = BTreeMap::new();
    for (name, _) in pass.ran() {
        let program = name.split(' ').next().unwrap_or(name);
        *programs.entry(program).or_default() += 1;
    }
    programs
}

/// A line a test and kernel.
fn list(passes: &[Pass]) -> String {
    let mut lines = Vec::new();
    for pass in passes {
        for (name, verdict) in pass.ran() {
            let verdict = if verdict == Verdict::Passed {
                "passed"
            } else {
                "failed"
            };
            lines.push(format!("{name}\t{verdict}\ton {}\n", pass.kernel));
        }
    }
    for (name, why) in tally::total(passes).failed {
        if why.starts_with("ran nowhere") {
            lines.push(format!("{name}\tfailed\t{why}\n"));
        }
    }
    lines.sort();
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::tally::Runner;

    #[test]
    fn the_table_says_where_tests_ran() {
        let mut here = Pass::new("Linux 1".into());
        here.read("PASS [ 0.1s] (1/3) a::t one", Runner::Nextest);
        here.read("LACKS [ 0.1s] (2/3) a::t two: vlan", Runner::Nextest);
        here.read("LACKS [ 0.1s] (2/3) a::t three: vrf", Runner::Nextest);
        let mut there = Pass::new("Linux 2".into());
        there.read("PASS [ 0.1s] (1/1) a::t two", Runner::Nextest);
        there.broken.push("trouble".into());
        let passes = [here, there];
        let table = text(&passes, &tally::total(&passes));
        assert_eq!(
            table,
            "on Linux 1: passed 1, failed 0, lacking what they need 2, left out 0\n\
             on Linux 2: passed 1, failed 0, lacking what they need 0, left out 0\n    \
             a::t: 1 test\n    trouble\n    \
             FAILED a::t three (ran nowhere: Linux 1 lacks vrf)"
        );
        assert_eq!(
            list(&passes),
            "a::t one\tpassed\ton Linux 1\n\
             a::t three\tfailed\tran nowhere: Linux 1 lacks vrf\n\
             a::t two\tpassed\ton Linux 2\n"
        );
        // Whoever looks for the total in the last lines must not find a kernel's.
        assert!(!table.contains(" passed, "));
    }

    #[test]
    fn only_passed_tests_are_a_success() {
        assert!(outcome(1, 0).is_ok());
        assert!(outcome(1, 1).is_err());
        assert!(outcome(0, 0).is_err());
    }
}
