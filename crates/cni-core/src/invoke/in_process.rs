//! Runs a plugin of this executable in a thread, in place of a process.
//!
//! A thread is to the plugin what a process would be: it has the network namespace of the
//! thread that started it, children that die with it, and an end of its own if it panics
//! or does not finish in time. Its result passes through the same text.

use super::exec::Failure;
use super::failure;
use crate::skel::{self, Bundle, Bundled, Env, Outcome, process};
use crate::{Code, Error, errno};
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Runs `plugin`, which `path` also leads to, and returns its output.
///
/// # Errors
/// As those of a process. A plugin that does not finish in `time` cannot be killed: it
/// ends with this process, which has no other purpose left by then.
pub(super) fn run(
    bundle: Bundle,
    plugin: Bundled,
    path: &Path,
    env: Env,
    stdin: Vec<u8>,
    time: Duration,
) -> Result<Vec<u8>, Failure> {
    let (sender, receiver) = mpsc::channel();
    let verb = move || {
        process::fail_delegate_on_panic(plugin.name(), sender.clone());
        let outcome = skel::run_bundled(bundle, plugin, &env, stdin.as_slice());
        // Without a receiver, the time was up.
        let _ = sender.send(outcome);
    };
    let thread = thread::Builder::new().name(plugin.name().into());
    if let Err(e) = thread.spawn(verb) {
        let exec_error = format!("fork/exec {}: {}", path.display(), errno::of(&e));
        return Err(Failure {
            error: failure::decode(b"", b"", &exec_error),
            was_killed: false,
        });
    }
    match receiver.recv_timeout(time) {
        Ok(outcome) => output(outcome),
        Err(RecvTimeoutError::Timeout) => Err(unknown_end(format!(
            "given up because it had not finished after {time:?}"
        ))),
        // Only without the panic hook, in a test.
        Err(RecvTimeoutError::Disconnected) => Err(unknown_end("it panicked".into())),
    }
}

/// Treats the outcome as that of a process.
fn output(outcome: Outcome) -> Result<Vec<u8>, Failure> {
    let Outcome {
        stdout,
        stderr,
        exit,
    } = outcome;
    // Nothing better can be done when standard error is closed.
    let _ = io::stderr().write_all(stderr.as_bytes());
    match exit {
        0 => Ok(stdout.into_bytes()),
        exit => Err(Failure {
            error: failure::decode(
                stdout.as_bytes(),
                stderr.as_bytes(),
                &format!("exit status {exit}"),
            ),
            was_killed: false,
        }),
    }
}

fn unknown_end(reason: String) -> Failure {
    Failure {
        error: Error::new(Code::UNKNOWN, format!("netplugin failed: {reason}")),
        was_killed: true,
    }
}

#[cfg(test)]
mod tests {
    use crate::invoke::{delegate, delegate_add};
    use crate::skel::{Bundle, process};
    use crate::{AddResult, Call, Code, Command, Error, Plugin, Version};
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::time::Duration;

    /// A plugin that does what the container ID of the call says.
    struct Obedient;

    impl Plugin for Obedient {
        fn name(&self) -> &'static str {
            "obedient"
        }
        fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
            match call.container_id.as_str() {
                "panic" => panic!("as told\nby the test"),
                "hang" => std::thread::sleep(Duration::from_secs(3600)),
                "fail" => return Err(Error::new(Code::TRY_AGAIN_LATER, "later").into()),
                "nest" => return delegate_add(&told(call, "add"), "x-obedient"),
                _ => {}
            }
            let mut result = AddResult::default();
            result.dns.domain = format!(
                "{} in {:?}",
                call.command.name(),
                std::thread::current().name()
            );
            Ok(result)
        }
        fn del(&self, _: &Call) -> anyhow::Result<()> {
            Ok(())
        }
        fn check(&self, _: &Call) -> anyhow::Result<()> {
            Ok(())
        }
        fn gc(&self, _: &Call) -> anyhow::Result<()> {
            Ok(())
        }
        fn status(&self, _: &Call) -> anyhow::Result<()> {
            Ok(())
        }
    }

    const STDIN: &[u8] = br#"{"cniVersion":"1.1.0","name":"net"}"#;

    fn told(call: &Call, what: &str) -> Call {
        Call {
            container_id: what.into(),
            ..call.clone()
        }
    }

    /// A call whose `CNI_PATH` has links to this program.
    fn call(dir: &Path, what: &str) -> Call {
        for name in ["obedient", "x-obedient"] {
            symlink(std::env::current_exe().unwrap(), dir.join(name)).unwrap();
        }
        Call {
            command: Command::Add,
            container_id: what.into(),
            netns: "/nonexistent".into(),
            if_name: "eth0".into(),
            args: Default::default(),
            path: dir.into(),
            netns_override: false,
            stdin: STDIN.to_vec(),
            conf: serde_json::from_slice(STDIN).unwrap(),
            name: "net".into(),
            version: Version::CURRENT,
            bundle: Bundle::new(&[&Obedient]),
        }
    }

    fn refused(call: &Call) -> Error {
        Error::from_chain(&delegate_add(call, "obedient").unwrap_err())
    }

    #[test]
    fn a_delegate_of_the_same_file_runs_in_a_thread() {
        let dir = tempfile::tempdir().unwrap();
        for what in ["add", "nest"] {
            let dir = dir.path().join(what);
            std::fs::create_dir(&dir).unwrap();
            let call = call(&dir, what);
            let result = delegate_add(&call, "obedient").unwrap();
            assert_eq!(result.dns.domain, "ADD in Some(\"obedient\")");
            for verb in [Command::Check, Command::Gc, Command::Status, Command::Del] {
                delegate(&call, "obedient", verb).unwrap();
            }
        }
    }

    #[test]
    fn a_delegate_of_another_file_is_executed() {
        let dir = tempfile::tempdir().unwrap();
        let call = call(dir.path(), "add");
        // The same content, but another file: a copy that is not executable.
        let copy = dir.path().join("obedient");
        std::fs::remove_file(&copy).unwrap();
        std::fs::write(&copy, "").unwrap();
        let error = refused(&call);
        assert!(error.msg.ends_with("permission denied"), "{error}");
    }

    #[test]
    fn errors_are_those_of_a_process() {
        let dir = tempfile::tempdir().unwrap();
        let error = refused(&call(dir.path(), "fail"));
        let path = dir.path().join("obedient");
        assert_eq!(
            error,
            Error::new(Code::TRY_AGAIN_LATER, "later")
                .with_details(format!("delegate: obedient ({})", path.display()))
        );
    }

    #[test]
    fn a_delegate_that_hangs_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let call = call(dir.path(), "hang");
        let bundle = call.bundle;
        let plugin = bundle.by_name("obedient").unwrap();
        let env = crate::skel::Env::of_delegate(&call, Command::Add);
        let time = Duration::from_millis(50);
        let failure =
            super::run(bundle, plugin, dir.path(), env, STDIN.to_vec(), time).unwrap_err();
        assert!(failure.was_killed);
        assert_eq!(
            failure.error.msg,
            "netplugin failed: given up because it had not finished after 50ms"
        );
    }

    #[test]
    fn a_panic_fails_the_delegate_only() {
        // The hook is the process's, so the test runs in a process of its own. It ends here,
        // because the test harness would wait for the hook to return.
        const PASSED: i32 = 42;
        const CHILD: &str = "CNI_CORE_TEST_PANIC";
        if std::env::var_os(CHILD).is_none() {
            let name = concat!(module_path!(), "::a_panic_fails_the_delegate_only");
            let (_, name) = name.split_once("::").unwrap();
            let child = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", name])
                .env(CHILD, "1")
                .output()
                .unwrap();
            assert_eq!(child.status.code(), Some(PASSED), "{child:?}");
            return;
        }
        process::report_panics("caller");
        let dir = tempfile::tempdir().unwrap();
        let error = refused(&call(dir.path(), "panic"));
        assert_eq!(error.code, Code::INTERNAL);
        assert_eq!(
            error.msg,
            "the obedient plugin panicked, which is a bug in it"
        );
        assert!(error.details.contains("as told by the test"), "{error}");
        std::process::exit(PASSED);
    }
}
