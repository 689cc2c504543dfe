use super::*;
use std::path::Path;
use std::process::Command;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn run(script: &str, input: &[u8], time: Duration) -> Output {
    Running::spawn(shell(script))
        .and_then(|running| running.finish(input, time))
        .unwrap()
}

/// Runs a script twice: as this kernel does it, and as one without pidfd does.
#[track_caller]
fn run_both(script: &str, input: &[u8], time: Duration, check: impl Fn(Output)) {
    check(run(script, input, time));
    let mut running = Running::spawn(shell(script)).unwrap();
    assert!(running.pidfd.take().is_some());
    check(running.finish(input, time).unwrap());
}

fn exit_code(output: &Output) -> Option<i32> {
    match output.end {
        End::Exited(status) => status.code(),
        _ => None,
    }
}

/// Waits until a process is gone, or is a zombie that only its parent can remove.
fn assert_ends(pid: &str) {
    let stat = format!("/proc/{}/stat", pid.trim());
    let begin = Instant::now();
    while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(begin.elapsed() < LONG, "process {pid} lives on");
        sleep(Duration::from_millis(1));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn input_and_outputs_larger_than_pipes_do_not_block_each_other() {
    let input = vec![b'x'; 3 << 20];
    run_both("cat; echo done >&2; exit 3", &input, LONG, |output| {
        assert!(output.stdout == input);
        assert_eq!(text(&output.stderr), "done\n");
        assert_eq!(exit_code(&output), Some(3));
    });
    run_both("tee /dev/stderr", &input, LONG, |output| {
        assert!(output.stdout == input && output.stderr == input);
    });
}

#[test]
fn input_need_not_be_read() {
    let input = vec![b'x'; 1 << 20];
    run_both("echo done", &input, LONG, |output| {
        assert_eq!(text(&output.stdout), "done\n");
        assert_eq!(exit_code(&output), Some(0));
    });
}

#[test]
fn output_up_to_the_limit_is_kept() {
    let script = format!("head -c {OUTPUT_LIMIT} /dev/zero");
    let output = run(&script, b"", LONG);
    assert_eq!(output.stdout.len(), OUTPUT_LIMIT);
    assert_eq!(exit_code(&output), Some(0));
    let output = run(&format!("{script}; echo"), b"", LONG);
    assert_eq!(output.stdout.len(), OUTPUT_LIMIT);
    assert_eq!(output.end, End::TooMuchOutput(Stream::Stdout));
}

#[test]
fn floods_end_in_a_kill() {
    let begin = Instant::now();
    for (script, stream) in [
        ("exec yes", Stream::Stdout),
        ("yes", Stream::Stdout),
        ("yes >&2", Stream::Stderr),
        ("yes >&2 & exec sleep 600", Stream::Stderr),
    ] {
        run_both(script, b"", LONG, |output| {
            assert_eq!(output.end, End::TooMuchOutput(stream), "{script}");
            assert!(output.stdout.len().max(output.stderr.len()) == OUTPUT_LIMIT);
        });
    }
    // Processes that outlive the child are read for a moment only, which may be too short for a flood.
    run_both("yes & exit 0", b"", LONG, |output| {
        assert!(output.stdout.len() <= OUTPUT_LIMIT);
    });
    assert!(begin.elapsed() < LONG);
}

#[test]
fn hanging_children_are_killed_with_their_group() {
    let time = Duration::from_millis(300);
    let begin = Instant::now();
    for script in [
        "echo $$; exec sleep 100",
        "sleep 100 & echo $!; wait",
        "echo $$; exec sleep 100 >&- 2>&-",
        "trap '' TERM INT HUP; sleep 100 & echo $!; wait",
    ] {
        run_both(script, b"", time, |output| {
            assert_eq!(output.end, End::TimedOut, "{script}");
            assert_ends(&text(&output.stdout));
        });
    }
    assert!(begin.elapsed() < LONG);
}

#[test]
fn outputs_held_by_grandchildren_are_given_up() {
    let begin = Instant::now();
    run_both("sleep 100 & echo $!", b"", LONG, |output| {
        assert_eq!(exit_code(&output), Some(0));
        let pid = text(&output.stdout);
        // What a successful child leaves running is left running.
        assert!(Path::new("/proc").join(pid.trim()).exists());
        let pid = Pid::from_raw(pid.trim().parse().unwrap());
        nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
    });
    run_both("sleep 100 & echo $!; exit 1", b"", LONG, |output| {
        assert_eq!(exit_code(&output), Some(1));
        assert_ends(&text(&output.stdout));
    });
    assert!(begin.elapsed() < LONG);
}

#[test]
fn exit_after_closing_the_outputs_is_waited_for() {
    run_both("exec >&- 2>&-; sleep 0.1; exit 7", b"", LONG, |output| {
        assert_eq!(exit_code(&output), Some(7));
    });
}

#[test]
fn unfinished_children_are_killed_on_drop() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let script = format!(
        "echo $$ >{0}.new; mv {0}.new {0}; exec sleep 100",
        file.display()
    );
    let running = Running::spawn(shell(&script)).unwrap();
    while !file.exists() {
        sleep(Duration::from_millis(1));
    }
    drop(running);
    let pid = std::fs::read_to_string(&file).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists());
}

#[test]
fn children_die_with_the_thread_that_spawned_them() {
    let child = std::thread::spawn(|| {
        let running = Running::spawn(shell("exec sleep 100")).unwrap();
        let pid = running.child.id().to_string();
        // As a killed caller does, it neither waits nor kills.
        std::mem::forget(running);
        pid
    });
    assert_ends(&child.join().unwrap());
}

#[test]
fn programs_that_cannot_be_executed_are_errors() {
    let error = Running::spawn(Command::new("/nonexistent")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}
