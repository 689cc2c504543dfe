//! Tests on another kernel: those that require features which the machine's kernel lacks, in User Mode Linux, and those
//! of `--kernel`.
//!
//! User Mode Linux has one processor, so one machine is booted per processor of the host, and one without IPv6 for
//! tests that require it. All machines have the same list, and each claims its next test. `xtask run-deferred` runs on
//! the machine ([`run`]): each test is a process with a deadline, and its result is a line of JSON in the form of
//! nextest.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::json;
use testkit::{DEFER, Deferred, EMULATED, FEATURES_FILE, KERNEL, UML};

use super::results::Results;
use crate::guest::{self, Kernel, Machine, Room, Work, uml};
use crate::project;

/// The command's name.
pub(crate) const COMMAND: &str = "run-deferred";

/// The file that lists the tests.
const LIST: &str = "deferred";

/// The minimum number of tests per machine, below which booting another one does not pay.
const TESTS_PER_MACHINE: usize = 8;

/// The time limit of a test in User Mode Linux: twice that of `xtask/nextest.toml`, because the machine is slow. On an
/// emulated processor it is twice that.
const DEADLINE: Duration = Duration::from_secs(360);

/// The time without output after which a machine has died: longer than the time limit of a test.
pub(super) const SILENCE: Duration = Duration::from_secs(2 * DEADLINE.as_secs() + 60);

/// The number of concurrent tests on a machine. Others use the processor while one waits.
const AT_ONCE: usize = 4;

/// Runs all of these tests in User Mode Linux.
///
/// # Errors
///
/// When User Mode Linux is not available.
pub(super) fn in_user_mode_linux(tests: &[Deferred]) -> Result<Results> {
    let release = uml::provide()?;
    let machines = machines(tests);
    println!(
        "\ntests that require another kernel: {}, in User Mode Linux {release}, machines: {}",
        tests.len(),
        machines.len()
    );
    let results = Results::new(&format!("User Mode Linux {release}"));
    on_machines(&machines, UML, tests, results)
}

/// Runs all of these tests on machines of the kind `kernel`, and adds to `results`.
///
/// # Errors
///
/// When the directory of the machines cannot be created.
pub(super) fn on_machines(
    machines: &[Machine],
    kernel: &str,
    tests: &[Deferred],
    results: Results,
) -> Result<Results> {
    let bin = project::target().join("debug").display().to_string();
    let room = Room::new(&Work {
        command: ["xtask", COMMAND].map(String::from).into(),
        env: vec![
            (KERNEL.into(), kernel.into()),
            ("CNI_TEST_BIN_DIR".into(), bin),
        ],
        files: vec![(LIST, tests.iter().map(Deferred::to_line).collect())],
    })?;
    let results = Mutex::new(results);
    thread::scope(|scope| {
        for machine in machines {
            let (room, results) = (&room, &results);
            scope.spawn(move || on_one_machine(machine, room, results));
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    tests
        .iter()
        .for_each(|test| results.fail_unless_known(test));
    Ok(results)
}

/// The machines for these tests. IPv6 can only be disabled at boot.
fn machines(tests: &[Deferred]) -> Vec<Machine> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let without_ipv6 = tests.iter().filter(|test| test.is_without_ipv6()).count();
    let most = (tests.len() - without_ipv6)
        .div_ceil(TESTS_PER_MACHINE)
        .min(processors);
    let kinds = std::iter::repeat_n(true, most).chain((without_ipv6 > 0).then_some(false));
    let machine = |(number, ipv6)| Machine {
        kernel: Kernel::UserMode,
        number,
        memory: 1024,
        device: true,
        ipv6,
        deadline: Duration::from_secs(2400),
        silence: SILENCE,
    };
    kinds.enumerate().map(machine).collect()
}

fn on_one_machine(machine: &Machine, room: &Room, results: &Mutex<Results>) {
    let results = || results.lock().unwrap_or_else(PoisonError::into_inner);
    // The output of a failed test precedes its result, and must not be mixed with that of another machine.
    let mut text = String::new();
    let end = machine.run(room, |line| match line.starts_with("{\"") {
        true => {
            results().read_json(line);
            print!("{text}");
            text.clear();
        }
        false => text += &format!("{line}\n"),
    });
    print!("{text}");
    match end {
        Ok(0) => {}
        Ok(status) => results()
            .errors
            .push(format!("exit status {status} of the machine")),
        Err(err) => results().errors.push(format!("{err:#}")),
    }
}

/// `xtask run-deferred`, on the machine: runs the listed tests that no other machine has claimed.
pub(crate) fn run(_arguments: &[String]) -> Result<()> {
    let list = Path::new(guest::DIR).join(LIST);
    let text = fs::read_to_string(&list).with_context(|| list.display().to_string())?;
    let mut tests = Deferred::read_all(&text).map_err(|err| anyhow!(err))?;
    let has_ipv6 = Path::new("/proc/net/if_inet6").exists();
    tests.retain(|test| test.is_without_ipv6() != has_ipv6);
    let (alone, together): (Vec<_>, Vec<_>) = tests.into_iter().partition(Deferred::is_exclusive);
    for (tests, at_once) in [(together, AT_ONCE), (alone, 1)] {
        let tests = Mutex::new(tests.into_iter());
        let next = || {
            tests
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .find(claim)
        };
        thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| {
                    while let Some(test) = next() {
                        let started = Instant::now();
                        let outcome = outcome(&test);
                        report(&test, &outcome, started.elapsed());
                    }
                });
            }
        });
    }
    Ok(())
}

/// Claims the test for this machine. Only one machine can create the directory.
fn claim(test: &Deferred) -> bool {
    let name = test.name().replace(['/', ' '], "_");
    fs::create_dir(Path::new(guest::DIR).join(format!("claim-{name}"))).is_ok()
}

/// The outcome of a test.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// The output of the test, and why it failed.
    Failed(String),
    /// This kernel also lacks these features.
    Lacks(String),
}

/// Prints a line for the user, the output of a failed test, and the result as JSON.
fn report(test: &Deferred, outcome: &Outcome, took: Duration) {
    let (word, event, details) = match outcome {
        Outcome::Passed => ("PASS", "ok", ""),
        Outcome::Failed(output) => ("FAIL", "failed", output.as_str()),
        Outcome::Lacks(missing) => ("LACKS", "lacks", missing.as_str()),
    };
    let mut text: String = details
        .lines()
        .map(|line| format!("    | {line}\n"))
        .collect();
    let (name, seconds) = (test.name(), took.as_secs_f64());
    text += &format!("{word:>12} [{seconds:8.3}s] {name}\n");
    let program = format!("{}${}", test.binary, test.test);
    let mut result = json!({"type": "test", "event": event, "name": program});
    if let Outcome::Lacks(missing) = outcome {
        result["missing"] = missing.as_str().into();
    }
    // Ignored: nothing reads the output any more.
    let _ = writeln!(io::stdout().lock(), "{text}{result}");
}

/// Runs one test.
fn outcome(test: &Deferred) -> Outcome {
    let failed =
        |err: io::Error| Outcome::Failed(format!("cannot run {}: {err}", test.program.display()));
    let scratch = match tempfile::tempdir() {
        Ok(scratch) => scratch,
        Err(err) => return failed(err),
    };
    let (output, deferred) = (
        scratch.path().join("output"),
        scratch.path().join("deferred"),
    );
    let status = match process(test, &output, &deferred) {
        Ok(status) => status,
        Err(err) => return failed(err),
    };
    let output = fs::read(&output).unwrap_or_default();
    let output = String::from_utf8_lossy(&output);
    let missing: Vec<String> = fs::read_to_string(&deferred)
        .ok()
        .and_then(|text| Deferred::read_all(&text).ok())
        .into_iter()
        .flatten()
        .flat_map(|test| test.missing)
        .collect();
    match status {
        _ if !missing.is_empty() => Outcome::Lacks(missing.join(", ")),
        None => Outcome::Failed(format!("{output}\nkilled after {:?}", deadline())),
        Some(status) if !status.success() => Outcome::Failed(format!("{output}\n{status}")),
        // A test program also succeeds if it has no test with this name.
        Some(_) if !output.contains("running 1 test\n") => {
            Outcome::Failed(format!("{output}\nno such test"))
        }
        Some(_) => Outcome::Passed,
    }
}

fn deadline() -> Duration {
    match std::env::var(KERNEL).as_deref() {
        Ok(EMULATED) => 2 * DEADLINE,
        _ => DEADLINE,
    }
}

/// Runs a test to its end; `None` when it missed the deadline.
fn process(test: &Deferred, output: &Path, deferred: &Path) -> io::Result<Option<ExitStatus>> {
    let output = File::create(output)?;
    let mut child = Command::new(&test.program)
        .args(["--exact", &test.test, "--nocapture"])
        .current_dir(&test.dir)
        .env("CARGO_MANIFEST_DIR", &test.dir)
        .env("NEXTEST_BINARY_ID", &test.binary)
        .env("NEXTEST_EXECUTION_MODE", "process-per-test")
        .env(DEFER, deferred)
        .env(FEATURES_FILE, "/tmp/features")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        // A process group, so that its children are killed with it.
        .process_group(0)
        .spawn()?;
    let end = Instant::now() + deadline();
    let mut status = child.try_wait()?;
    while status.is_none() && Instant::now() < end {
        thread::sleep(Duration::from_millis(10));
        status = child.try_wait()?;
    }
    if let Ok(pid) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    if status.is_none() {
        child.wait()?;
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A script that behaves like a test program.
    const SCRIPT: &str = r#"#!/bin/sh
        case $2 in
            good) echo running 1 test;;
            bad) echo running 1 test; echo oh >&2; exit 101;;
            dead) kill -9 $$;;
            picky) echo '{"binary":"b","program":"p","test":"picky","dir":"d","missing":["x","y"]}' > $CNI_TEST_DEFER;;
            *) echo running 0 tests;;
        esac"#;

    #[test]
    fn outcomes_are_recognized() {
        let dir = tempfile::tempdir().expect("a directory");
        let program = dir.path().join("program");
        fs::write(&program, SCRIPT).expect("a script");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
        let run = |program: &Path, test: &str| {
            outcome(&Deferred {
                binary: "b".into(),
                program: program.into(),
                test: test.into(),
                dir: dir.path().into(),
                missing: Vec::new(),
            })
        };
        let failed = |output: &str| Outcome::Failed(output.into());
        assert_eq!(run(&program, "good"), Outcome::Passed);
        assert_eq!(
            run(&program, "bad"),
            failed("running 1 test\noh\n\nexit status: 101")
        );
        assert_eq!(run(&program, "dead"), failed("\nsignal: 9 (SIGKILL)"));
        assert_eq!(run(&program, "picky"), Outcome::Lacks("x, y".into()));
        assert_eq!(
            run(&program, "other"),
            failed("running 0 tests\n\nno such test")
        );
        let Outcome::Failed(output) = run(Path::new("/no/such/program"), "good") else {
            panic!("there is no such program");
        };
        assert!(output.contains("cannot run /no/such/program"), "{output}");
    }
}
