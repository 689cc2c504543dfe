//! Network namespaces and commands in them, for the tests of the netlink crates, which need neither a
//! [`Host`](crate::Host) nor a plugin.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::resume_unwind;
use std::process::{Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use serde_json::Value;

/// Runs a test on another thread, in a new network namespace.
///
/// # Panics
///
/// When the test panics, or when the namespace cannot be created, usually because the user is not root.
pub fn in_namespace<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    on_a_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("unshare needs root");
        test()
    })
}

/// Runs `f` on another thread. Namespaces that it enters end with the thread.
fn on_a_thread<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(f);
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// A network namespace that exists as long as this value: a new one, or with [`Namespace::current`] that of the
/// calling thread.
pub struct Namespace(File);

impl Default for Namespace {
    fn default() -> Namespace {
        in_namespace(Namespace::current)
    }
}

impl Namespace {
    /// The calling thread's namespace.
    ///
    /// # Panics
    ///
    /// When /proc is not mounted.
    pub fn current() -> Namespace {
        Namespace(File::open("/proc/thread-self/ns/net").expect("/proc is mounted"))
    }

    /// The descriptor of the namespace.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Runs `inside` on another thread, in the namespace.
    ///
    /// # Panics
    ///
    /// When `inside` panics.
    pub fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        on_a_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET).expect("enter a namespace that is open");
            inside()
        })
    }
}

/// Runs a command of words separated by blanks in the calling thread's namespaces.
/// Returns its standard output.
///
/// # Panics
///
/// When the command fails.
#[track_caller]
pub fn run(command: &str) -> String {
    feed(command, "")
}

/// The same with `input` on standard input.
///
/// # Panics
///
/// When the command fails.
#[track_caller]
pub fn feed(command: &str, input: &str) -> String {
    let fail = |err: std::io::Error| panic!("{command}: {err}");
    let mut words = command.split_whitespace();
    let mut child = Command::new(words.next().unwrap_or_default())
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(fail);
    if let Some(mut stdin) = child.stdin.take() {
        // A command that does not read its input may have ended already.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child
        .wait_with_output()
        .unwrap_or_else(|err| panic!("{command}: {err}"));
    assert!(
        output.status.success(),
        "{command}: {}\n{input}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a script of `nft`.
///
/// # Panics
///
/// When `nft` refuses it.
#[track_caller]
pub fn nft(script: &str) -> String {
    feed("nft -f -", script)
}

/// Runs a command that prints a list as JSON, such as `ip -json`.
///
/// # Panics
///
/// When the command fails or prints something else.
#[track_caller]
pub fn json(command: &str) -> Vec<Value> {
    let text = run(command);
    if text.trim().is_empty() {
        return Vec::new();
    }
    let list: Vec<Value> =
        serde_json::from_str(&text).unwrap_or_else(|err| panic!("{command}: {err}\n{text}"));
    // iproute2 prints an empty object for each entry that it filters out.
    let is_empty = |value: &Value| value.as_object().is_some_and(serde_json::Map::is_empty);
    list.into_iter().filter(|value| !is_empty(value)).collect()
}

/// The object that `ip -json -details link show` prints for one link.
///
/// # Panics
///
/// When there is no such link.
#[track_caller]
pub fn ip_link(name: &str) -> Value {
    json(&format!("ip -j -d link show dev {name}")).remove(0)
}
