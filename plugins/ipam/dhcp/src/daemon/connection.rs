//! A connection of a plugin to the daemon.

use crate::rpc::{Reply, Request, Server};
use crate::time::Time;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long a client may take to send a request, or to receive the reply.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection. It has one request at a time; the next one is read after the reply.
pub(super) struct Connection {
    stream: UnixStream,
    server: Server,
    /// The request that is being worked on.
    pub(super) pending: Option<Request>,
    deadline: Time,
}

/// What became of a connection after reading or writing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is nothing to be done yet.
    Wait,
    /// There is a request, [`Connection::pending`].
    Request,
    /// It is to be closed.
    Close,
}

impl Connection {
    pub(super) fn new(stream: UnixStream, now: Time) -> std::io::Result<Connection> {
        stream.set_nonblocking(true)?;
        Ok(Connection {
            stream,
            server: Server::default(),
            pending: None,
            deadline: now + PATIENCE,
        })
    }

    /// Reads what has arrived.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Step {
        // One buffer a call, so that no client keeps the others waiting.
        match self.stream.read(buffer) {
            Ok(0) => Step::Close,
            Ok(_) if self.pending.is_some() => {
                log::warn!("a client sent more before the reply; its connection is closed");
                Step::Close
            }
            Ok(length) => {
                self.server.receive(&buffer[..length]);
                self.advance()
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Step::Wait,
            Err(error) if error.kind() == ErrorKind::Interrupted => Step::Wait,
            Err(_) => Step::Close,
        }
    }

    fn advance(&mut self) -> Step {
        let step = match self.server.request() {
            Ok(Some(request)) => {
                self.pending = Some(request);
                Step::Request
            }
            Ok(None) => Step::Wait,
            Err(why) => {
                log::warn!("a client's request is malformed: {why}");
                let _ = self.write();
                return Step::Close;
            }
        };
        match self.write() {
            Step::Close => Step::Close,
            _ => step,
        }
    }

    /// Answers the pending request.
    pub(super) fn respond(&mut self, reply: &Result<Reply, String>, now: Time) -> Step {
        if let Some(request) = self.pending.take() {
            self.server.respond(&request, reply);
            self.deadline = now + PATIENCE;
        }
        self.write()
    }

    /// Writes as much as the socket takes.
    pub(super) fn write(&mut self) -> Step {
        while !self.server.output.is_empty() {
            match self.stream.write(&self.server.output) {
                Ok(0) => return Step::Close,
                Ok(length) => drop(self.server.output.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Wait,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Step::Close,
            }
        }
        Step::Wait
    }

    /// Whether there is more to write.
    pub(super) fn wants_to_write(&self) -> bool {
        !self.server.output.is_empty()
    }

    /// Returns when the connection is closed unless the client goes on; `None` while the
    /// daemon works on its request.
    pub(super) fn deadline(&self) -> Option<Time> {
        (self.pending.is_none() || self.wants_to_write()).then_some(self.deadline)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
