//! What the integration tests share: throw-away network namespaces, and the
//! tools of iproute2 as an independent witness. Needs root.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use serde_json::Value;

/// Runs a test on a thread of its own in a new network namespace.
pub(crate) fn in_namespace<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("unshare needs root");
            test()
        });
        match thread.join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// A network namespace that lives as long as this value.
pub(crate) struct Namespace(File);

impl Namespace {
    pub(crate) fn new() -> Namespace {
        in_namespace(Namespace::current)
    }

    pub(crate) fn current() -> Namespace {
        Namespace(File::open("/proc/thread-self/ns/net").unwrap())
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Runs `inside` on another thread, in the namespace.
    pub(crate) fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
                inside()
            });
            match thread.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

/// Runs a command of words separated by blanks, which must succeed.
pub(crate) fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that prints a JSON list, such as `ip -j`.
pub(crate) fn json(command: &str) -> Vec<Value> {
    let text = run(command);
    if text.trim().is_empty() {
        return Vec::new();
    }
    let list: Vec<Value> = serde_json::from_str(&text).unwrap();
    // iproute2 leaves an empty object for what it filters out.
    list.into_iter()
        .filter(|value| value.as_object().is_none_or(|object| !object.is_empty()))
        .collect()
}

/// What `ip -j -d link show` says of one link.
pub(crate) fn ip_link(name: &str) -> Value {
    json(&format!("ip -j -d link show dev {name}")).remove(0)
}
