//! Runs a program to its end within limits of time and output.
//!
//! A [`Running`] child has its own process group and three pipes. [`Running::finish`]
//! writes its input while reading both outputs, so that neither side can block the
//! other. When the time is up or one output exceeds [`OUTPUT_LIMIT`], the whole
//! process group is killed.
//!
//! A child of [`Running::spawn`] dies with the thread that spawned it
//! (`PR_SET_PDEATHSIG`), so that it cannot go on working for a caller that was killed. Its
//! own children are out of reach then: the kernel signals direct children only. A child
//! of [`Running::spawn_independent`] ends its work if its caller dies.

mod pipes;
mod sys;
#[cfg(test)]
mod tests;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use pipes::{Pipes, wait_for_event};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Bytes that a child may write to each of its two outputs.
pub const OUTPUT_LIMIT: usize = 8 << 20;

/// How long the output of processes that outlive the child is read after its exit.
const GRANDCHILD_TIME: Duration = Duration::from_millis(100);

/// How long a killed child may take to exit. Only one that hangs inside the kernel
/// takes longer than an instant.
const KILL_TIME: Duration = Duration::from_secs(2);

/// Interval between two looks at a child on kernels without pidfd (before Linux 5.3).
const POLL_INTERVAL: Duration = Duration::from_micros(500);

/// One of a child's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited by itself, or by a signal that was not ours.
    Exited(ExitStatus),
    /// It was killed because its time was up.
    TimedOut,
    /// It was killed because it wrote more than [`OUTPUT_LIMIT`] bytes to this stream.
    TooMuchOutput(Stream),
}

/// The end of a child and what it wrote.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub end: End,
    /// Its standard output, at most [`OUTPUT_LIMIT`] bytes.
    pub stdout: Vec<u8>,
    /// Its standard error, at most [`OUTPUT_LIMIT`] bytes.
    pub stderr: Vec<u8>,
}

/// A child that runs and has not been given its input. Dropped, it is killed with its
/// process group.
///
/// It stays on the thread that spawned it, because the kernel kills a child of
/// [`Running::spawn`] when that thread ends.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// `None` on kernels without pidfd, or where a filter refuses the call.
    pidfd: Option<OwnedFd>,
    is_reaped: bool,
    not_send: PhantomData<*const ()>,
}

impl Running {
    /// Starts a program. Its standard streams become pipes.
    ///
    /// # Errors
    /// Those of `fork` and `exec`.
    pub fn spawn(mut command: Command) -> io::Result<Running> {
        sys::die_with_parent(&mut command);
        Running::spawn_independent(command)
    }

    /// Starts a program that goes on if the caller is killed. Its standard streams become
    /// pipes.
    ///
    /// Without the request that [`Running::spawn`] makes in the child, the standard library
    /// uses `posix_spawn`, whose `vfork` does not copy the page tables of a caller that may
    /// be large.
    ///
    /// # Errors
    /// Those of `fork` and `exec`.
    pub fn spawn_independent(mut command: Command) -> io::Result<Running> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let child = command.spawn()?;
        let pidfd = sys::pidfd_open(child.id()).ok();
        Ok(Running {
            child,
            pidfd,
            is_reaped: false,
            not_send: PhantomData,
        })
    }

    /// Gives the child its input and waits until it has exited and closed its outputs,
    /// for at most `time`. Outputs that other processes keep open are read for a moment
    /// after its exit.
    ///
    /// A child that fails or is killed takes its process group with it. After success,
    /// processes that it left behind go on.
    ///
    /// # Errors
    /// Those of reading, writing and waiting; the child is killed.
    pub fn finish(mut self, input: &[u8], time: Duration) -> io::Result<Output> {
        let mut pipes = Pipes::new(&mut self.child, input)?;
        let end = self.converse(&mut pipes, Instant::now() + time)?;
        let end = match end {
            None => End::Exited(self.reap()?),
            Some(limit) => {
                self.kill()?;
                limit
            }
        };
        let [stdout, stderr] = pipes.into_outputs();
        Ok(Output {
            end,
            stdout,
            stderr,
        })
    }

    /// Moves data until the child is done, `None`, or has reached a limit.
    fn converse(&self, pipes: &mut Pipes, deadline: Instant) -> io::Result<Option<End>> {
        let mut has_exited = false;
        let mut until = deadline;
        loop {
            if has_exited && pipes.are_closed() {
                return Ok(None);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok((!has_exited).then_some(End::TimedOut));
            }
            let (pidfd, timeout) = match (&self.pidfd, has_exited) {
                (_, true) => (None, left),
                (None, false) => (None, left.min(POLL_INTERVAL)),
                (pidfd, false) => (pidfd.as_ref(), left),
            };
            if let Some(stream) = pipes.transfer(pidfd, timeout)? {
                return Ok(Some(End::TooMuchOutput(stream)));
            }
            if !has_exited && self.exit_status()?.is_some() {
                has_exited = true;
                until = deadline.min(Instant::now() + GRANDCHILD_TIME);
            }
        }
    }

    /// Looks whether the child has exited, and leaves it to be reaped: until then its
    /// process group cannot become somebody else's.
    fn exit_status(&self) -> io::Result<Option<WaitStatus>> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
        match waitid(Id::Pid(self.pid()), flags) {
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => Ok(None),
            Ok(status) => Ok(Some(status)),
            Err(errno) => Err(errno.into()),
        }
    }

    fn reap(&mut self) -> io::Result<ExitStatus> {
        let has_failed = !matches!(self.exit_status()?, Some(WaitStatus::Exited(_, 0)));
        if has_failed {
            self.kill_group();
        }
        self.is_reaped = true;
        self.child.wait()
    }

    fn kill(&mut self) -> io::Result<()> {
        self.kill_group();
        let deadline = Instant::now() + KILL_TIME;
        while self.exit_status()?.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.is_reaped = true;
                let text = format!("process {} does not exit although killed", self.pid());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            match &self.pidfd {
                Some(pidfd) => {
                    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
                    wait_for_event(&mut fds, left)?;
                }
                None => sleep(POLL_INTERVAL),
            }
        }
        self.is_reaped = true;
        self.child.wait().map(drop)
    }

    fn kill_group(&self) {
        // The only error left is that all of it is gone.
        let _ = killpg(self.pid(), Signal::SIGKILL);
    }

    fn pid(&self) -> Pid {
        // The kernel's process numbers fit: they are an `int` there.
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_reaped {
            // Nobody is left to tell of a failure.
            let _ = self.kill();
        }
    }
}
