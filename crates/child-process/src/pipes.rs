//! The pipes to a child.

use crate::{OUTPUT_LIMIT, Stream};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, ChildStdin};
use std::time::Duration;

/// Bytes read at a time.
const CHUNK: usize = 16 << 10;

/// A child's standard streams, with the input that is left to write and the output
/// that was read.
pub(crate) struct Pipes<'a> {
    stdin: Option<ChildStdin>,
    input: &'a [u8],
    stdout: OutputPipe,
    stderr: OutputPipe,
}

impl<'a> Pipes<'a> {
    pub(crate) fn new(child: &mut Child, input: &'a [u8]) -> io::Result<Pipes<'a>> {
        let stdin = child.stdin.take();
        if let Some(stdin) = &stdin {
            fcntl(stdin, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        let mut pipes = Pipes {
            stdin,
            input,
            stdout: OutputPipe::new(child.stdout.take().map(OwnedFd::from)),
            stderr: OutputPipe::new(child.stderr.take().map(OwnedFd::from)),
        };
        pipes.write()?;
        Ok(pipes)
    }

    /// Whether the child, and whoever inherited them, has closed both outputs.
    pub(crate) fn are_closed(&self) -> bool {
        self.stdout.pipe.is_none() && self.stderr.pipe.is_none()
    }

    pub(crate) fn into_outputs(self) -> [Vec<u8>; 2] {
        [self.stdout.bytes, self.stderr.bytes]
    }

    /// Waits until data can be moved or `pidfd` is readable, for at most `timeout`, and
    /// moves what can be moved without waiting. Returns the output that has more than
    /// [`OUTPUT_LIMIT`] bytes.
    pub(crate) fn transfer(
        &mut self,
        pidfd: Option<&OwnedFd>,
        timeout: Duration,
    ) -> io::Result<Option<Stream>> {
        let [can_write, has_stdout, has_stderr] = self.wait_ready(pidfd, timeout)?;
        if can_write {
            self.write()?;
        }
        if has_stdout && self.stdout.read()? {
            return Ok(Some(Stream::Stdout));
        }
        if has_stderr && self.stderr.read()? {
            return Ok(Some(Stream::Stderr));
        }
        Ok(None)
    }

    fn wait_ready(&self, pidfd: Option<&OwnedFd>, timeout: Duration) -> io::Result<[bool; 3]> {
        let waited: [(Option<BorrowedFd>, PollFlags); 4] = [
            (self.stdin.as_ref().map(AsFd::as_fd), PollFlags::POLLOUT),
            (self.stdout.fd(), PollFlags::POLLIN),
            (self.stderr.fd(), PollFlags::POLLIN),
            (pidfd.map(AsFd::as_fd), PollFlags::POLLIN),
        ];
        let mut slots = [None; 4];
        let mut fds = Vec::with_capacity(waited.len());
        for (slot, (fd, events)) in slots.iter_mut().zip(waited) {
            if let Some(fd) = fd {
                *slot = Some(fds.len());
                fds.push(PollFd::new(fd, events));
            }
        }
        wait_for_event(&mut fds, timeout)?;
        let is_ready = |slot: Option<usize>| {
            slot.and_then(|i| fds[i].revents())
                .is_some_and(|events| !events.is_empty())
        };
        let [stdin, stdout, stderr, _] = slots.map(is_ready);
        Ok([stdin, stdout, stderr])
    }

    /// Writes as much of the input as the pipe takes, and closes it after the last byte.
    fn write(&mut self) -> io::Result<()> {
        let Some(stdin) = &mut self.stdin else {
            return Ok(());
        };
        while !self.input.is_empty() {
            match stdin.write(self.input) {
                Ok(count) => self.input = &self.input[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // A program need not read its input.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                Err(error) => return Err(error),
            }
        }
        self.stdin = None;
        Ok(())
    }
}

/// Waits for an event on one of the descriptors, for at most `timeout`.
pub(crate) fn wait_for_event(fds: &mut [PollFd<'_>], timeout: Duration) -> io::Result<()> {
    match ppoll(fds, Some(TimeSpec::from_duration(timeout)), None) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// An output of the child; the pipe is gone once its end was read.
struct OutputPipe {
    pipe: Option<File>,
    bytes: Vec<u8>,
}

impl OutputPipe {
    fn new(fd: Option<OwnedFd>) -> OutputPipe {
        OutputPipe {
            pipe: fd.map(File::from),
            bytes: Vec::new(),
        }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads available bytes once. Returns `true` when there are more than
    /// [`OUTPUT_LIMIT`].
    fn read(&mut self) -> io::Result<bool> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(false);
        };
        let mut buffer = [0; CHUNK];
        match pipe.read(&mut buffer) {
            Ok(0) => self.pipe = None,
            Ok(count) => {
                let room = OUTPUT_LIMIT - self.bytes.len();
                self.bytes.extend_from_slice(&buffer[..count.min(room)]);
                return Ok(count > room);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(false)
    }
}
