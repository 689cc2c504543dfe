//! Delegates that print too much, hang, die, or leave processes behind.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use blackbox::{answer, state};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{ErrorReply, Snapshot};

use crate::{GOOD, PLUGINS, Stage};

/// A limit that none of these calls exceeds, even on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// Returns shell commands that write a process ID to this file in the directory of the plugin.
fn record(pid: &str, file: &str) -> String {
    format!("echo {pid} >${{0%/*}}/{file}.new; mv ${{0%/*}}/{file}.new ${{0%/*}}/{file}")
}

/// Returns a script that runs `ending` on ADD and succeeds for the other verbs.
fn on_add(ending: &str) -> String {
    let record = record("$$", "pid");
    format!("if [ $CNI_COMMAND = ADD ]; then {record}; cat >/dev/null; {ending}; exit; fi\n{GOOD}")
}

impl Stage {
    /// The process ID that the script wrote to this file.
    #[track_caller]
    fn process(&self, file: &str) -> Option<i32> {
        let text = fs::read_to_string(self.plugins.join(file)).ok()?;
        Some(text.trim().parse().expect("a process ID"))
    }

    /// The state of the host, without the empty directory that `flannel` leaves.
    fn state(&self) -> Snapshot {
        let records = fs::read_dir("/var/lib/cni/flannel").into_iter().flatten();
        assert!(records.count() == 0, "flannel left a record");
        state::of(&self.host).without("/var/lib/cni/flannel/")
    }

    /// Demands that ADD fails with `code` and leaves the host as it was, and that the processes whose IDs the script
    /// wrote have ended.
    #[track_caller]
    fn fails(&self, code: u64) -> ErrorReply {
        let before = self.state();
        let started = Instant::now();
        let call = self.call("ADD").env("CNI_TEST_DELEGATE_MILLIS", "500");
        let error = answer::refusal(call.run(), code);
        assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
        for file in ["pid", "grandchild"] {
            if let Some(process) = self.process(file) {
                assert_ends(process);
            }
        }
        if self.plugin == "flannel" {
            // flannel keeps the record of a failed ADD until DEL.
            answer::silent(self.call("DEL").run());
        }
        for file in ["pid", "grandchild"] {
            let _ = fs::remove_file(self.plugins.join(file));
        }
        before.assert_same(&self.state());
        error
    }
}

/// Waits until a process has ended. It may still be a zombie.
#[track_caller]
fn assert_ends(process: i32) {
    let begin = Instant::now();
    let stat = format!("/proc/{process}/stat");
    while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(begin.elapsed() < SOON, "process {process} is still running");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A delegate that prints more than 8 MiB is killed, and the output is not kept in memory. ADD is undone, and DEL of
/// the delegate is called.
#[test]
fn delegates_that_print_too_much_are_killed() {
    for plugin in PLUGINS {
        for (ending, stream, line) in [
            ("exec yes", "standard output", "\"y\""),
            ("exec yes 'no pool' >&2", "standard error", "\"no pool\""),
            ("yes >&2 & yes", "standard ", "\"y\""),
            ("exec cat /dev/zero", "standard output", "\"\\x00\\x00"),
            ("yes & exit 0", "standard output", "\"y\""),
        ] {
            let stage = Stage::of(plugin, &on_add(ending));
            let error = stage.fails(0);
            let start =
                format!("netplugin failed: killed because it wrote more than 8 MiB to {stream}");
            assert!(
                error.msg.starts_with(&start),
                "{plugin}, {ending}: {}",
                error.msg
            );
            let details = format!("its output begins with {line}");
            assert!(
                error.details.starts_with(&details),
                "{ending}: {}",
                error.details
            );
            assert!(
                error.details.contains(&stage.delegate()),
                "{}",
                error.details
            );
            assert_eq!(stage.verbs()[..2], ["ADD", "DEL"], "{plugin}, {ending}");
        }
    }
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN)
        .expect("resource usage")
        .max_rss();
    assert!(peak < 64 << 10, "a plugin needed {peak} KiB");
}

/// A delegate that does not end in time is killed with its process group.
#[test]
fn hanging_delegates_are_killed() {
    let grandchild = record("$!", "grandchild");
    for plugin in PLUGINS {
        for ending in [
            "exec sleep 100".to_owned(),
            "sleep 100".to_owned(),
            format!("sleep 100 & {grandchild}; wait"),
            "exec sleep 100 >&- 2>&-".to_owned(),
            format!("trap '' HUP INT TERM; sleep 100 & {grandchild}; wait"),
        ] {
            let stage = Stage::of(plugin, &on_add(&ending));
            let error = stage.fails(0);
            assert_eq!(
                error.msg, "netplugin failed: killed because it had not finished after 500ms",
                "{plugin}, {ending}"
            );
            let details = format!("it wrote nothing; {}", stage.delegate());
            assert!(error.details.starts_with(&details), "{}", error.details);
            assert_eq!(stage.verbs()[..2], ["ADD", "DEL"], "{plugin}, {ending}");
        }
    }
}

/// A delegate that hangs in the DEL of the undo is killed as well.
#[test]
fn a_hanging_undo_is_killed() {
    let stage = Stage::new("exec sleep 100");
    let error = stage.fails(0);
    assert!(
        error.details.contains("undoing it failed too: "),
        "{}",
        error.details
    );
    assert_eq!(stage.verbs(), ["ADD", "DEL"]);
}

/// It is unknown what a delegate without an error object has done, so its DEL is called.
#[test]
fn killed_delegates_and_invalid_results_are_undone() {
    for plugin in PLUGINS {
        for (ending, code, msg) in [
            (
                "kill -9 $$",
                0,
                "netplugin failed with no error message: signal: killed",
            ),
            (
                "echo dying >&2; kill -11 $$",
                0,
                "netplugin failed: \"dying\\n\": signal: segmentation fault",
            ),
            (
                "exit 0",
                999,
                "failed to unmarshal raw result: unexpected end of JSON input",
            ),
            (
                "exec >&-; exit 0",
                999,
                "failed to unmarshal raw result: unexpected end of JSON input",
            ),
            (
                "printf '\\0\\0'",
                999,
                "failed to unmarshal raw result: invalid character '\\x00' looking for beginning of value",
            ),
            (
                "head -c 3000 /dev/urandom",
                999,
                "failed to unmarshal raw result: invalid character ",
            ),
        ] {
            let stage = Stage::of(plugin, &on_add(ending));
            let error = stage.fails(code);
            assert!(
                error.msg.starts_with(msg),
                "{plugin}, {ending}: {}",
                error.msg
            );
            assert!(
                error.details.contains(&stage.delegate()),
                "{}",
                error.details
            );
            assert_eq!(stage.verbs()[..2], ["ADD", "DEL"], "{plugin}, {ending}");
        }
    }
}

/// The background processes of a failing delegate are killed, those of a successful one continue. Neither block the
/// caller by keeping the outputs open.
#[test]
fn background_processes_do_not_block_the_caller() {
    let background = format!("sleep 100 & {}", record("$!", "grandchild"));
    for plugin in PLUGINS {
        let stage = Stage::of(plugin, &on_add(&format!("{background}; exit 3")));
        let error = stage.fails(0);
        assert_eq!(
            error.msg,
            "netplugin failed with no error message: exit status 3"
        );

        let stage = Stage::of(
            plugin,
            &format!("[ $CNI_COMMAND = ADD ] && {{ {background}; }}\n{GOOD}"),
        );
        let started = Instant::now();
        answer::result(&stage.call("ADD").run());
        assert!(
            started.elapsed() < SOON,
            "{plugin}: {:?}",
            started.elapsed()
        );
        let grandchild = stage.process("grandchild").expect("a background process");
        assert!(Path::new("/proc").join(grandchild.to_string()).exists());
        kill(Pid::from_raw(grandchild), Signal::SIGKILL).expect("kill it");
        answer::silent(stage.call("DEL").run());
    }
}

/// A delegate does not outlive its killed caller.
#[test]
fn delegates_die_with_a_killed_plugin() {
    for plugin in PLUGINS {
        let stage = Stage::of(plugin, &on_add("exec sleep 100"));
        let before = stage.state();
        let mut running = stage.call("ADD").start();
        let begin = Instant::now();
        let delegate = loop {
            if let Some(process) = stage.process("pid") {
                break process;
            }
            assert!(
                begin.elapsed() < SOON,
                "{plugin}: the delegate was not called"
            );
            thread::sleep(Duration::from_millis(1));
        };
        running.kill();
        running.wait();
        assert_ends(delegate);
        answer::silent(stage.call("DEL").run());
        fs::remove_file(stage.plugins.join("pid")).expect("remove the file");
        // The bridge stays for other containers of the network.
        before.assert_same(&stage.state().without("cni0"));
    }
}
