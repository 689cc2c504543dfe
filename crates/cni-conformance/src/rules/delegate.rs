//! IPAM plugins that are shell scripts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Invocation, Run, merge};

use super::support::applies_if;
use crate::demand::{self, Reply};
use crate::rig::{Pod, Rig};

/// The `ipam.type` of a [`Delegate`].
pub(super) const NAME: &str = "conformance-ipam";

/// The first address that a [`Delegate`] with [`GOOD`] allocates.
pub(super) const ADDRESS: &str = "10.7.0.77";

/// A result, for the shell.
pub(super) const GOOD: &str =
    r#"{"cniVersion":"1.0.0","ips":[{"address":"10.7.0.77/16","gateway":"10.7.0.1"}]}"#;

/// A container, and a script as its IPAM plugin.
pub(super) struct Delegate<'r> {
    rig: &'r Rig,
    pub(super) pod: Pod,
    dir: PathBuf,
}

impl<'r> Delegate<'r> {
    /// Creates one whose ADD runs shell commands, with `$DIR` for its directory; the other verbs succeed. It records
    /// each call. A plugin that does not delegate is not under the rule.
    pub(super) fn new(rig: &'r Rig, on_add: &str) -> Delegate<'r> {
        Delegate::with(rig, &format!("[ $CNI_COMMAND = ADD ] || exit 0\n{on_add}"))
    }

    /// Creates one that runs shell commands for all verbs.
    pub(super) fn with(rig: &'r Rig, commands: &str) -> Delegate<'r> {
        let delegates = rig.subject.config["ipam"].is_object() || rig.subject.plugin == "flannel";
        applies_if(delegates, "the configuration has no ipam");
        let dir = rig.host.dir().join("delegates");
        fs::create_dir_all(&dir).unwrap_or_else(|err| panic!("create {}: {err}", dir.display()));
        write(&dir.join(NAME), &dir, commands);
        Delegate {
            rig,
            pod: rig.pod("c1"),
            dir,
        }
    }

    /// Creates one whose ADD prints `answer`.
    pub(super) fn answering(rig: &'r Rig, answer: &str) -> Delegate<'r> {
        Delegate::new(rig, &print(answer))
    }

    /// Replaces the commands.
    pub(super) fn change(&self, commands: &str) {
        write(&self.dir.join(NAME), &self.dir, commands);
    }

    /// Makes the script a file that cannot be executed.
    pub(super) fn forbid(&self) {
        set_mode(&self.dir.join(NAME), 0o644);
    }

    /// The configuration.
    pub(super) fn config(&self) -> Value {
        merge(self.pod.config(self.rig), &json!({"ipam": {"type": NAME}}))
    }

    /// Returns a call of a verb.
    pub(super) fn call(&self, verb: &str) -> Invocation {
        self.call_with(verb, &self.config())
    }

    /// The same with another configuration.
    pub(super) fn call_with(&self, verb: &str, config: &Value) -> Invocation {
        let plugins = self.rig.plugin.program().parent().unwrap_or(Path::new("/"));
        let path = format!("{}:{}", self.dir.display(), plugins.display());
        self.rig.call(verb, &self.pod.container, config).path(path)
    }

    /// Runs ADD, which must succeed.
    #[track_caller]
    pub(super) fn added(&self) -> Run {
        self.call("ADD").run().expect_ok()
    }

    /// Runs ADD, which must fail.
    #[track_caller]
    pub(super) fn refused(&self) -> Reply {
        demand::error(self.call("ADD").run())
    }

    /// Runs ADD, which must fail and leave nothing.
    #[track_caller]
    pub(super) fn undone(&self) -> Reply {
        let before = self.rig.state();
        let error = self.refused();
        self.rig.assert_back(&before);
        error
    }

    /// The verbs with which the script was called, in order.
    pub(super) fn verbs(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What the script wrote to a file of its directory; waits for it.
    #[track_caller]
    pub(super) fn wrote(&self, file: &str) -> String {
        let path = self.dir.join(file);
        let end = Instant::now() + Duration::from_secs(20) * testkit::patience();
        loop {
            match fs::read_to_string(&path) {
                Ok(text) => return text,
                Err(err) => assert!(
                    Instant::now() < end,
                    "the delegate has not written {}: {err}; its calls: {:?}",
                    path.display(),
                    self.verbs()
                ),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Shell commands that print `text`, which has no single quotes.
pub(super) fn print(text: &str) -> String {
    format!("cat >/dev/null\nprintf '%s' '{text}'")
}

fn write(program: &Path, dir: &Path, commands: &str) {
    let dir = dir.display();
    let script = format!("#!/bin/sh\nDIR={dir}\necho $CNI_COMMAND >>{dir}/calls\n{commands}\n");
    // Another name first: a file that is being executed cannot be written.
    let new = program.with_extension("new");
    fs::write(&new, script).unwrap_or_else(|err| panic!("write {}: {err}", new.display()));
    set_mode(&new, 0o755);
    fs::rename(&new, program).unwrap_or_else(|err| panic!("rename {}: {err}", new.display()));
}

fn set_mode(program: &Path, mode: u32) {
    fs::set_permissions(program, fs::Permissions::from_mode(mode))
        .unwrap_or_else(|err| panic!("set the mode of {}: {err}", program.display()));
}
