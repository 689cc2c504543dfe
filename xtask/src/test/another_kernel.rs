//! The tests that the machine's own kernel is not good enough for, in User Mode Linux.
//!
//! They are dealt out to a machine a processor (a User Mode Linux has but one), each of which runs [`inside`].
//!
//! [`inside`]: super::inside

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use testkit::{Deferred, KERNEL, UML};

use super::inside;
use super::tally::{Pass, Runner, Verdict};
use crate::uml::{self, Machine, Work};
use crate::{Outcome, project};

/// A machine more is not worth booting for fewer tests.
const TESTS_A_MACHINE: usize = 8;

/// More than a single test may take before it is ended, see [`inside::DEADLINE`].
const SILENCE: Duration = Duration::from_secs(inside::DEADLINE.as_secs() + 60);

/// The file that tells a machine what to run.
const LIST: &str = "deferred";

/// Runs all of these tests.
///
/// # Errors
///
/// When there is no User Mode Linux here.
pub(super) fn run(tests: &[Deferred]) -> Outcome<Pass> {
    let release = uml::provide()?;
    let processors = thread::available_parallelism().map_or(1, usize::from);
    // Whether a kernel has IPv6 is decided when it boots.
    let (without, with): (Vec<_>, Vec<_>) =
        tests.iter().cloned().partition(Deferred::is_without_ipv6);
    let hands: Vec<Hand> = [(with, true), (without, false)]
        .into_iter()
        .flat_map(|(tests, ipv6)| {
            let hands = tests.len().div_ceil(TESTS_A_MACHINE).min(processors);
            let hands = deal(&tests, hands).into_iter();
            hands.map(move |tests| Hand { tests, ipv6 })
        })
        .collect();
    println!(
        "\ntests that need another kernel: {}, on User Mode Linux {release}, machines: {}",
        tests.len(),
        hands.len()
    );
    let pass = Mutex::new(Pass::new(format!("User Mode Linux {release}")));
    thread::scope(|scope| {
        for hand in &hands {
            scope.spawn(|| on_one_machine(hand, &pass));
        }
    });
    Ok(pass.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// What one machine runs.
struct Hand {
    tests: Vec<Deferred>,
    /// Whether its kernel has IPv6.
    ipv6: bool,
}

/// The tests in so many hands. Neighbours, which are alike, go to different ones.
fn deal(tests: &[Deferred], hands: usize) -> Vec<Vec<Deferred>> {
    let every = |first| tests.iter().skip(first).step_by(hands).cloned().collect();
    (0..hands).map(every).collect()
}

fn on_one_machine(Hand { tests, ipv6 }: &Hand, pass: &Mutex<Pass>) {
    // Whoever panicked with it in hand has noted whole lines.
    let pass = || pass.lock().unwrap_or_else(PoisonError::into_inner);
    let machine = Machine {
        memory: 1024,
        device: true,
        ipv6: *ipv6,
        deadline: Duration::from_secs(2400),
        silence: SILENCE,
    };
    let bin = project::target().join("debug").display().to_string();
    let work = Work {
        command: ["xtask", inside::COMMAND, LIST].map(String::from).into(),
        env: vec![
            (KERNEL.into(), UML.into()),
            ("CNI_TEST_BIN_DIR".into(), bin),
        ],
        files: vec![(LIST.into(), tests.iter().map(Deferred::to_line).collect())],
        ..Work::default()
    };
    // What a failing test wrote is not to be mixed with what happens on the other machine.
    let mut held: Vec<String> = Vec::new();
    let end = machine.run(&work, |line| {
        held.push(line.to_owned());
        if !line.starts_with(inside::QUOTE) {
            let mut pass = pass();
            for line in held.drain(..) {
                println!("{line}");
                pass.read(&line, Runner::Nextest);
            }
        }
    });
    let mut pass = pass();
    held.iter().for_each(|line| println!("{line}"));
    match end {
        Ok(0) => {}
        Ok(status) => pass.broken.push(format!("exit status {status}")),
        Err(message) => pass.broken.push(message),
    }
    for test in tests {
        pass.note_unless_known(test.name(), Verdict::Failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_is_in_one_hand() {
        let test = |number: usize| Deferred {
            binary: "b".into(),
            program: "/b".into(),
            test: number.to_string(),
            dir: "/".into(),
            missing: Vec::new(),
        };
        let tests: Vec<Deferred> = (0..7).map(test).collect();
        for hands in 1..=8 {
            let dealt = deal(&tests, hands);
            assert_eq!(dealt.len(), hands);
            let mut all = dealt.concat();
            all.sort_by(|a, b| a.test.cmp(&b.test));
            assert_eq!(all, tests);
        }
    }
}
