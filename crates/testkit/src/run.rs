//! Calls of plugins, running plugins, and their results.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};
use serde_json::Value;

use crate::runtime::Runtime;
use crate::{Container, patience};

/// The capacity of a pipe (pipe(7)).
const PIPE_CAPACITY: usize = 65536;

/// One call of a plugin, built step by step.
#[derive(Clone, Debug)]
pub struct Invocation {
    program: PathBuf,
    arguments: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    stdin: Vec<u8>,
    deadline: Duration,
}

impl Invocation {
    /// Returns a call without environment and input.
    pub(crate) fn new(program: &Path) -> Invocation {
        Invocation {
            program: program.to_path_buf(),
            arguments: Vec::new(),
            env: BTreeMap::new(),
            stdin: Vec::new(),
            deadline: Duration::from_secs(30) * patience(),
        }
    }

    /// Sets `CNI_CONTAINERID`, `CNI_NETNS`, and `CNI_IFNAME` to `eth0` unless it is set already.
    pub fn container(mut self, container: &Container) -> Self {
        self.env
            .entry("CNI_IFNAME".into())
            .or_insert_with(|| "eth0".into());
        self.env("CNI_CONTAINERID", container.id())
            .env("CNI_NETNS", container.netns())
    }

    /// Sets `CNI_CONTAINERID`.
    pub fn id(self, id: &str) -> Self {
        self.env("CNI_CONTAINERID", id)
    }

    /// Sets `CNI_NETNS`.
    pub fn netns(self, path: impl AsRef<OsStr>) -> Self {
        self.env("CNI_NETNS", path)
    }

    /// Sets `CNI_IFNAME`.
    pub fn ifname(self, name: &str) -> Self {
        self.env("CNI_IFNAME", name)
    }

    /// Sets `CNI_ARGS`, for example `IgnoreUnknown=1;IP=10.0.0.9`.
    pub fn args(self, args: &str) -> Self {
        self.env("CNI_ARGS", args)
    }

    /// Sets `CNI_PATH`, the directories in which delegates are searched, colon-separated.
    pub fn path(self, path: impl AsRef<OsStr>) -> Self {
        self.env("CNI_PATH", path)
    }

    /// Adds command-line arguments. Plugins have none.
    pub fn arguments(mut self, arguments: &[impl AsRef<OsStr>]) -> Self {
        let arguments = arguments.iter().map(|argument| argument.as_ref().into());
        self.arguments.extend(arguments);
        self
    }

    /// Runs the program in the runtime's namespaces, where the numbers of its processes are valid.
    pub fn inside(mut self, runtime: &Runtime) -> Self {
        let mut words: Vec<OsString> = runtime.entering().map(OsString::from).collect();
        words.push(self.program.into());
        words.append(&mut self.arguments);
        self.program = words.remove(0).into();
        self.arguments = words;
        self
    }

    /// Sets any environment variable.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.insert(key.as_ref().into(), value.as_ref().into());
        self
    }

    /// Removes an environment variable.
    pub fn without_env(mut self, key: impl AsRef<OsStr>) -> Self {
        self.env.remove(key.as_ref());
        self
    }

    /// Sets the configuration on standard input.
    pub fn config(mut self, config: &Value) -> Self {
        self.stdin = config.to_string().into_bytes();
        self
    }

    /// Sets standard input to bytes that need not be a configuration.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Sets the time after which the plugin is killed and the test fails, multiplied by [`patience`]. The default is 30
    /// seconds.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Starts the plugin without waiting for it.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[track_caller]
    pub fn start(self) -> Running {
        start(self)
    }

    /// Runs the plugin to its end.
    ///
    /// # Panics
    ///
    /// When it cannot be started or misses its deadline. The failure of a plugin is not a panic, but part of the
    /// [`Run`].
    #[track_caller]
    pub fn run(self) -> Run {
        self.start().wait()
    }

    /// Runs the plugin to its end and that of its children under [`trace`](mod@crate::trace), and kills it as `kill` says.
    ///
    /// # Panics
    ///
    /// When it cannot be started or misses its deadline.
    #[cfg(feature = "trace")]
    #[track_caller]
    pub fn trace(self, kill: Option<crate::trace::Kill>) -> (Run, crate::trace::Trace) {
        let (mut command, output) = self.command();
        let started = Instant::now();
        let traced = crate::trace::trace(&mut command, kill, self.deadline, |child| {
            feed(child, &self.stdin);
        });
        let trace = traced.unwrap_or_else(|err| panic!("trace {}: {err}", self.program.display()));
        let run = output.finish(trace.status, started.elapsed(), &self);
        (run, trace)
    }

    /// The command, and the files that get its output: no reader threads, and a background process that is left cannot
    /// block the test.
    #[track_caller]
    fn command(&self) -> (Command, Output) {
        let output = Output {
            stdout: tempfile::tempfile().expect("temporary file for stdout"),
            stderr: tempfile::tempfile().expect("temporary file for stderr"),
        };
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(&self.env)
            .stdin(Stdio::piped())
            .stdout(output.stdout.try_clone().expect("duplicate stdout"))
            .stderr(output.stderr.try_clone().expect("duplicate stderr"))
            // A process group, so that its children are killed as well if it misses the deadline.
            .process_group(0);
        (command, output)
    }
}

/// Standard output and standard error of a plugin.
#[derive(Debug)]
struct Output {
    stdout: File,
    stderr: File,
}

impl Output {
    fn finish(mut self, status: ExitStatus, elapsed: Duration, call: &Invocation) -> Run {
        let read = |file: &mut File| {
            let mut bytes = Vec::new();
            file.rewind()
                .and_then(|()| file.read_to_end(&mut bytes))
                .expect("read the plugin's output");
            bytes
        };
        Run {
            status,
            stdout: read(&mut self.stdout),
            stderr: read(&mut self.stderr),
            elapsed,
            call: call.clone(),
        }
    }
}

/// A running plugin, which is killed when this value is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Readable when the child has ended.
    pidfd: OwnedFd,
    call: Invocation,
    /// Taken when the plugin has ended.
    output: Option<Output>,
    started: Instant,
}

/// A plugin that has ended.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its exit status.
    pub status: ExitStatus,
    /// Everything on standard output.
    pub stdout: Vec<u8>,
    /// Everything on standard error.
    pub stderr: Vec<u8>,
    /// From start to exit.
    pub elapsed: Duration,
    call: Invocation,
}

/// The error object that a failing plugin printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReply {
    /// `cniVersion`.
    pub cni_version: String,
    /// `code`.
    pub code: u64,
    /// `msg`.
    pub msg: String,
    /// `details`, empty when absent.
    pub details: String,
}

#[track_caller]
fn start(call: Invocation) -> Running {
    let (mut command, output) = call.command();
    let started = Instant::now();
    let mut child = command
        .spawn()
        .unwrap_or_else(|err| panic!("start {}: {err}", call.program.display()));
    let pid = rustix::process::Pid::from_child(&child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("pidfd_open (Linux 5.3)");
    feed(&mut child, &call.stdin);
    Running {
        child,
        pidfd,
        call,
        output: Some(output),
        started,
    }
}

/// Writes the standard input of a plugin.
fn feed(child: &mut Child, bytes: &[u8]) {
    let mut pipe = child.stdin.take().expect("stdin is a pipe");
    // A plugin may end without reading its input (EPIPE).
    if bytes.len() <= PIPE_CAPACITY {
        let _ = pipe.write_all(bytes);
    } else {
        let bytes = bytes.to_vec();
        thread::spawn(move || drop(pipe.write_all(&bytes)));
    }
}

/// Starts all plugins at once, then waits for each. Returns the results in the order of the calls.
#[track_caller]
pub fn run_all(calls: impl IntoIterator<Item = Invocation>) -> Vec<Run> {
    let running: Vec<Running> = calls.into_iter().map(Invocation::start).collect();
    running.into_iter().map(Running::wait).collect()
}

impl Running {
    /// The process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process has ended.
    ///
    /// # Panics
    ///
    /// When that cannot be told.
    pub fn has_ended(&mut self) -> bool {
        let status = self.child.try_wait().expect("ask for the plugin's status");
        status.is_some()
    }

    /// Kills the process and its group with SIGKILL.
    pub fn kill(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Waits for the end.
    ///
    /// # Panics
    ///
    /// When it misses the deadline. The plugin is then killed, and its output shown.
    #[track_caller]
    pub fn wait(mut self) -> Run {
        let deadline = self.call.deadline;
        let is_late = !self.ends_by(self.started + deadline);
        if is_late {
            self.kill();
        }
        let status = self.child.wait().expect("wait for the plugin");
        let run = self.finish(status);
        assert!(
            !is_late,
            "plugin hangs: killed after {deadline:?}\n{}",
            run.report()
        );
        run
    }

    fn ends_by(&self, end: Instant) -> bool {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, timeout) {
                Ok(0) if left.is_zero() => return false,
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return true,
                Err(errno) => panic!("poll: {errno}"),
            }
        }
    }

    fn finish(&mut self, status: ExitStatus) -> Run {
        let output = self.output.take().expect("a plugin ends once");
        output.finish(status, self.started.elapsed(), &self.call)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
            let _ = self.child.wait();
        }
    }
}

impl Run {
    /// Whether the exit status was 0.
    pub fn is_ok(&self) -> bool {
        self.status.success()
    }

    /// Standard output as text.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    ///
    /// When it is not JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|err| panic!("standard output is no JSON: {err}\n{}", self.report()))
    }

    /// The configuration of this call with its result as `prevResult`, as a runtime passes it to CHECK and DEL, and to
    /// the next plugin of a chain.
    #[track_caller]
    pub fn with_prev(&self) -> Value {
        let mut config: Value = serde_json::from_slice(&self.call.stdin)
            .unwrap_or_else(|err| panic!("the configuration is no JSON: {err}\n{}", self.report()));
        config["prevResult"] = self.json();
        config
    }

    /// Demands exit status 0.
    ///
    /// # Panics
    ///
    /// Otherwise, with the whole call and its output.
    #[track_caller]
    pub fn expect_ok(self) -> Run {
        assert!(self.is_ok(), "plugin failed\n{}", self.report());
        self
    }

    /// Demands exit status 1 and an error object with this code (CNI specification, section 5 "Error").
    ///
    /// # Panics
    ///
    /// Otherwise, with the whole call and its output.
    #[track_caller]
    pub fn expect_error(self, code: u64) -> ErrorReply {
        assert!(
            self.status.code() == Some(1),
            "exit status 1 and error code {code} expected\n{}",
            self.report()
        );
        let reply = self.json();
        let text = |key: &str| reply[key].as_str().unwrap_or_default().to_owned();
        let error = ErrorReply {
            cni_version: text("cniVersion"),
            code: reply["code"].as_u64().unwrap_or_default(),
            msg: text("msg"),
            details: text("details"),
        };
        assert!(
            error.code == code && !error.msg.is_empty(),
            "error code {code} with a message expected\n{}",
            self.report()
        );
        error
    }

    /// The whole call, as a shell reads it, and its output, for failure messages.
    pub fn report(&self) -> String {
        let mut text = String::new();
        for (key, value) in &self.call.env {
            let _ = write!(
                text,
                "{}={} ",
                key.to_string_lossy(),
                value.to_string_lossy()
            );
        }
        let _ = write!(text, "{}", self.call.program.display());
        for argument in &self.call.arguments {
            let _ = write!(text, " {argument:?}");
        }
        let _ = write!(
            text,
            " <<'EOF'\n{}\nEOF\n{} after {:?}\n--- stdout\n{}\n--- stderr\n{}\n---",
            String::from_utf8_lossy(&self.call.stdin),
            self.status,
            self.elapsed,
            self.stdout_text().trim_end(),
            self.stderr_text().trim_end()
        );
        text
    }
}

impl ErrorReply {
    /// Message and details in the form in which runtimes show them: `msg; details`.
    pub fn text(&self) -> String {
        if self.details.is_empty() {
            self.msg.clone()
        } else {
            format!("{}; {}", self.msg, self.details)
        }
    }

    /// Demands that message or details contain `part`.
    ///
    /// # Panics
    ///
    /// When neither contains it.
    #[track_caller]
    pub fn mentions(self, part: &str) -> ErrorReply {
        assert!(
            self.text().contains(part),
            "the error should mention {part:?}, but is\n{}",
            self.text()
        );
        self
    }
}
