//! Executing one plugin.

use super::failure;
use crate::{Code, Error, errno};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a busy file ("text file busy": somebody is just installing the
/// plugin) is tried, one second apart.
const BUSY_ATTEMPTS: u32 = 6;

/// The W3C trace context of the caller, passed on as `TRACEPARENT`,
/// `TRACESTATE` and `BAGGAGE`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// `00-<32 hex>-<16 hex>-<2 hex>`
    pub traceparent: String,
    /// Vendor state; empty when there is none.
    pub tracestate: String,
    /// Baggage; empty when there is none.
    pub baggage: String,
}

/// One execution of a plugin.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// The executable.
    pub path: &'a Path,
    /// Variables set on top of the process's own environment.
    pub env: &'a [(&'a str, &'a OsStr)],
    /// The configuration.
    pub stdin: &'a [u8],
    /// Trace context. `None` leaves inherited variables as they are.
    pub trace: Option<&'a TraceContext>,
    /// How long the plugin may take. It is killed then, with a bounded wait for
    /// whatever it left running.
    pub deadline: Option<Duration>,
}

impl Invocation<'_> {
    /// Runs the plugin to its end and returns what it printed. Its standard
    /// error goes to ours, also when it failed.
    ///
    /// # Errors
    /// When it cannot be started, exits with another code than 0, or runs past
    /// the deadline; decoded as the specification says.
    pub fn run(&self) -> Result<Vec<u8>, Error> {
        self.start()?.finish(self.stdin)
    }

    /// Starts the plugin without giving it its configuration, which it waits for.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self) -> Result<Started, Error> {
        Ok(Started {
            child: self.spawn()?,
            deadline: self.deadline,
            is_over: false,
        })
    }

    fn spawn(&self) -> Result<Child, Error> {
        for attempt in 1.. {
            match self.command().spawn() {
                Ok(child) => return Ok(child),
                Err(e)
                    if e.raw_os_error() == Some(nix::libc::ETXTBSY) && attempt < BUSY_ATTEMPTS =>
                {
                    std::thread::sleep(Duration::from_secs(1));
                }
                Err(e) => {
                    let text = format!("fork/exec {}: {}", self.path.display(), errno::of(&e));
                    return Err(failed(&text));
                }
            }
        }
        Err(failed("never started"))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.path);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.envs(self.env.iter().copied());
        if let Some(trace) = self.trace {
            command.env("TRACEPARENT", &trace.traceparent);
            // A stale state must not stand beside a fresh parent.
            for (name, value) in [
                ("TRACESTATE", &trace.tracestate),
                ("BAGGAGE", &trace.baggage),
            ] {
                match value.is_empty() {
                    true => command.env_remove(name),
                    false => command.env(name, value),
                };
            }
        }
        command
    }
}

/// A plugin that runs and waits for its configuration. Dropped, it is killed: it
/// does not know what to do yet, and has done nothing.
#[derive(Debug)]
pub struct Started {
    child: Child,
    deadline: Option<Duration>,
    /// Its end has been waited for.
    is_over: bool,
}

impl Started {
    /// Hands it its configuration and runs it to its end, as [`Invocation::run`]. The
    /// deadline counts from here.
    ///
    /// # Errors
    /// As [`Invocation::run`].
    pub fn finish(mut self, stdin: &[u8]) -> Result<Vec<u8>, Error> {
        self.is_over = true;
        let child = &mut self.child;
        let mut io = Pump::new(child, stdin);
        let until = self.deadline.map(|d| Instant::now() + d);
        let ended = io.run(until).and_then(|()| wait(child, until));
        let status = match ended {
            Ok(Some(status)) => status,
            Ok(None) | Err(_) => {
                let status = kill(child)?;
                // What a grandchild still holds open is given up after a moment.
                let _ = io.run(Some(Instant::now() + Duration::from_millis(100)));
                if let Err(e) = ended {
                    return Err(failed(&format!("talking to it: {}", errno::of(&e))));
                }
                status
            }
        };
        if !io.stderr.is_empty() {
            // The message is the runtime's to lose.
            let _ = io::stderr().write_all(&io.stderr);
        }
        if status.success() {
            return Ok(io.stdout);
        }
        Err(failure::decode(
            &io.stdout,
            &io.stderr,
            &failure::exit_text(status),
        ))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.is_over {
            // Nobody is left to tell of a failure, and it ends by itself when its
            // input does.
            let _ = kill(&mut self.child);
        }
    }
}

fn failed(exec_error: &str) -> Error {
    Error::new(
        Code::UNKNOWN,
        format!("netplugin failed with no error message: {exec_error}"),
    )
}

/// Waits for the exit. `None`: not before the deadline.
fn wait(child: &mut Child, until: Option<Instant>) -> io::Result<Option<ExitStatus>> {
    let Some(until) = until else {
        return child.wait().map(Some);
    };
    // Output ended, so the exit is a matter of microseconds, less than the shortest
    // sleep takes; except for a process that closed its output and lives on.
    let mut at_once = 0..50;
    let mut pause = Duration::from_micros(50);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if at_once.next().is_some() {
            std::thread::yield_now();
            continue;
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

fn kill(child: &mut Child) -> Result<ExitStatus, Error> {
    // Already gone is as good as killed.
    let _ = child.kill();
    child.wait().map_err(|e| {
        Error::new(
            Code::UNKNOWN,
            format!("waiting for a killed plugin: {}", errno::of(&e)),
        )
    })
}

/// Writes a child's input while draining its outputs, so that neither side can
/// block the other.
struct Pump<'a> {
    stdin: Option<std::process::ChildStdin>,
    input: &'a [u8],
    out: Option<std::process::ChildStdout>,
    err: Option<std::process::ChildStderr>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl<'a> Pump<'a> {
    fn new(child: &mut Child, input: &'a [u8]) -> Self {
        Pump {
            stdin: child.stdin.take(),
            input,
            out: child.stdout.take(),
            err: child.stderr.take(),
            stdout: Vec::new(),
            stderr: Vec::new(),
        }
    }

    /// Runs until both outputs have ended, or the deadline has passed.
    fn run(&mut self, until: Option<Instant>) -> io::Result<()> {
        /// `PIPE_BUF`: what a writable pipe takes without blocking.
        const CHUNK: usize = 4096;
        loop {
            if self.input.is_empty() {
                self.stdin = None;
            }
            if self.out.is_none() && self.err.is_none() {
                self.stdin = None;
                return Ok(());
            }
            let timeout = match until.map(|u| u.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return Ok(()),
                // Rounded up, or the last millisecond would spin.
                Some(left) => PollTimeout::try_from(left + Duration::from_millis(1))
                    .unwrap_or(PollTimeout::MAX),
                None => PollTimeout::NONE,
            };
            let [can_write, can_out, can_err] = self.ready(timeout)?;
            if can_write && let Some(pipe) = &mut self.stdin {
                match pipe.write(&self.input[..self.input.len().min(CHUNK)]) {
                    Ok(n) => self.input = &self.input[n..],
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    // It need not read its input.
                    Err(e) if e.kind() == io::ErrorKind::BrokenPipe => self.input = &[],
                    Err(e) => return Err(e),
                }
            }
            if can_out {
                drain(&mut self.out, &mut self.stdout)?;
            }
            if can_err {
                drain(&mut self.err, &mut self.stderr)?;
            }
        }
    }

    fn ready(&self, timeout: PollTimeout) -> io::Result<[bool; 3]> {
        let pipes = [
            self.stdin
                .as_ref()
                .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)),
            self.out
                .as_ref()
                .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)),
            self.err
                .as_ref()
                .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)),
        ];
        let mut slots = [None; 3];
        let mut fds = Vec::with_capacity(pipes.len());
        for (slot, pipe) in slots.iter_mut().zip(pipes) {
            if let Some(pipe) = pipe {
                *slot = Some(fds.len());
                fds.push(pipe);
            }
        }
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(slots.map(|slot| {
            slot.and_then(|i| fds[i].revents())
                .is_some_and(|events| !events.is_empty())
        }))
    }
}

/// Reads what is there; the pipe is dropped at its end.
fn drain<R: Read>(pipe: &mut Option<R>, into: &mut Vec<u8>) -> io::Result<()> {
    let Some(reader) = pipe else { return Ok(()) };
    let mut buffer = [0; 4096];
    match reader.read(&mut buffer) {
        Ok(0) => *pipe = None,
        Ok(n) => into.extend_from_slice(&buffer[..n]),
        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
        Err(e) => return Err(e),
    }
    Ok(())
}
