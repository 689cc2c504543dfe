//! `xtask run-deferred LIST`: inside User Mode Linux, runs the tests of a list as nextest does, a process each,
//! and says as nextest does what became of them.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use testkit::{DEFER, Deferred};

use super::tally::LACKS;
use crate::{Outcome, uml};

/// The command's name.
pub(crate) const COMMAND: &str = "run-deferred";

/// How long a test may take: twice as long as `xtask/nextest.toml` grants it, for the machine is slow.
pub(super) const DEADLINE: Duration = Duration::from_secs(360);

/// What lines that a test wrote start with.
pub(super) const QUOTE: &str = "    | ";

/// How many tests run at once. A single processor has time for others while one waits.
const AT_ONCE: usize = 4;

/// What became of a test.
struct Ended {
    /// nextest's word for it, or [`LACKS`].
    word: &'static str,
    /// What goes behind the name.
    more: String,
    output: String,
}

/// The command.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let [list] = arguments else {
        return Err("one list of tests expected".into());
    };
    let list = Path::new(uml::DIR).join(list);
    let text = fs::read_to_string(&list).map_err(|err| format!("{}: {err}", list.display()))?;
    let tests = Deferred::read_all(&text)?;
    let total = tests.len();
    let (alone, together): (VecDeque<_>, VecDeque<_>) =
        tests.into_iter().partition(Deferred::is_exclusive);
    let done = Mutex::new(0);
    for (tests, at_once) in [(together, AT_ONCE), (alone, 1)] {
        let tests = Mutex::new(tests);
        let next = || {
            tests
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front()
        };
        thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| {
                    while let Some(test) = next() {
                        let started = Instant::now();
                        let ended = one(&test);
                        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                        *done += 1;
                        say(&test, &ended, started.elapsed(), (*done, total));
                    }
                });
            }
        });
    }
    Ok(())
}

/// Says what became of a test; its own words only where that was not good.
fn say(test: &Deferred, ended: &Ended, took: Duration, (number, total): (usize, usize)) {
    let mut text = String::new();
    for line in ended.output.lines() {
        text += &format!("{QUOTE}{line}\n");
    }
    let (word, seconds) = (ended.word, took.as_secs_f64());
    text += &format!(
        "{word:>12} [{seconds:8.3}s] ({number}/{total}) {}{}\n",
        test.name(),
        ended.more
    );
    // Without somebody who listens there is nothing to be done.
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// Runs one test.
fn one(test: &Deferred) -> Ended {
    let mut ended = Ended {
        word: "FAIL",
        more: String::new(),
        output: String::new(),
    };
    let scratch = match tempfile::tempdir() {
        Ok(dir) => dir,
        Err(err) => {
            ended.output = format!("cannot make a directory: {err}");
            return ended;
        }
    };
    let path = |name| scratch.path().join(name);
    let (output, deferred) = (path("output"), path("deferred"));
    let status = process(test, &output, &deferred);
    ended.output = fs::read(&output)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    match status {
        Err(err) => ended.output += &format!("\ncannot run {}: {err}", test.program.display()),
        Ok(None) => {
            ended.word = "TIMEOUT";
            ended.output += &format!("\nended after {DEADLINE:?}");
        }
        Ok(Some(status)) => judge(&mut ended, status, &deferred),
    }
    ended
}

fn judge(ended: &mut Ended, status: ExitStatus, deferred: &Path) {
    let deferred = fs::read_to_string(deferred).unwrap_or_default();
    let missing: Vec<String> = Deferred::read_all(&deferred)
        .unwrap_or_default()
        .into_iter()
        .flat_map(|test| test.missing)
        .collect();
    if !missing.is_empty() {
        (ended.word, ended.more) = (LACKS, format!(": {}", missing.join(", ")));
        ended.output.clear();
    } else if !status.success() {
        ended.output += &format!("\n{status}");
    } else if !ended.output.contains("running 1 test\n") {
        // The test program is content with a name that it does not know.
        ended.output += "\nno such test";
    } else {
        (ended.word, ended.output) = ("PASS", String::new());
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
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        // A group of its own, so that what it has started ends with it.
        .process_group(0)
        .spawn()?;
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if started.elapsed() > DEADLINE {
            break None;
        }
        thread::sleep(Duration::from_millis(10));
    };
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

    /// Stands in for a test program.
    const SCRIPT: &str = r#"#!/bin/sh
        case $2 in
            good) echo running 1 test;;
            bad) echo running 1 test; echo oh >&2; exit 101;;
            dead) kill -9 $$;;
            picky) echo '{"binary":"b","program":"p","test":"picky","dir":"d","missing":["x","y"]}' > $CNI_TEST_DEFER;;
            *) echo running 0 tests;;
        esac"#;

    #[test]
    fn what_became_of_a_test_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let program = dir.path().join("program");
        fs::write(&program, SCRIPT).expect("a script");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
        let run = |program: &Path, test: &str| {
            let ended = one(&Deferred {
                binary: "b".into(),
                program: program.into(),
                test: test.into(),
                dir: dir.path().into(),
                missing: Vec::new(),
            });
            (ended.word, ended.more, ended.output)
        };
        let expect = |word, more: &str, output: &str| (word, more.to_owned(), output.to_owned());
        assert_eq!(run(&program, "good"), expect("PASS", "", ""));
        let oh = "running 1 test\noh\n\nexit status: 101";
        assert_eq!(run(&program, "bad"), expect("FAIL", "", oh));
        let killed = "\nsignal: 9 (SIGKILL)";
        assert_eq!(run(&program, "dead"), expect("FAIL", "", killed));
        assert_eq!(run(&program, "picky"), expect(LACKS, ": x, y", ""));
        let unknown = "running 0 tests\n\nno such test";
        assert_eq!(run(&program, "other"), expect("FAIL", "", unknown));
        let (word, _, output) = run(Path::new("/no/such/program"), "good");
        assert_eq!(word, "FAIL");
        assert!(output.contains("cannot run /no/such/program"), "{output}");
    }
}
