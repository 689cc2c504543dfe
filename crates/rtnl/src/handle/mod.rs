//! The conversation with the kernel: who asked what, and which answer is whose.

mod batch;
mod dump;

pub(crate) use dump::Dumped;

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd};

use crate::error::Error;
use crate::request::{Reply, Request};
use crate::socket::Socket;
use crate::wire::{Message, Messages, NLM_F_REQUEST, message};

/// A netlink socket.
///
/// It belongs to the network namespace that was the calling thread's when it
/// was opened, and stays with it wherever the thread goes afterwards. One
/// handle a namespace is enough for a program.
///
/// An answer is waited for 60 seconds at most. The kernel does the work while
/// the request is being sent, though, and that cannot be given a deadline: while
/// another process holds the lock of the network configuration, a request hangs.
pub struct Handle {
    socket: Socket,
    sequence: Cell<u32>,
}

impl Handle {
    /// Opens a socket in the present network namespace of the calling thread.
    ///
    /// # Errors
    /// Those of `socket(2)` and `connect(2)`.
    pub fn open() -> Result<Handle, Error> {
        Ok(Handle {
            socket: Socket::open()?,
            sequence: Cell::new(0),
        })
    }

    /// Asks for one change and waits until it was made.
    ///
    /// # Errors
    /// The kernel's refusal; see the constructor of the request for which ones
    /// to expect. After a timeout the change may have been made or not.
    pub fn request(&self, request: Request<'_>) -> Result<Reply, Error> {
        let what = request.what().to_owned();
        let reply = self.batch(vec![request]).pop();
        // A batch gives one result a request.
        reply.unwrap_or_else(|| Err(Error::malformed("no result", &what)))
    }

    /// Asks for something that is answered by one message, which `read` turns
    /// into a value. `None` if no answer did.
    pub(crate) fn get<T>(
        &self,
        kind: u16,
        body: &[u8],
        what: &str,
        read: impl Fn(&Message<'_>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        self.get_with(kind, 0, body, what, read)
    }

    /// The same with `flags` besides. An acknowledgement that was asked for counts
    /// as an answer, if it is the first.
    pub(crate) fn get_with<T>(
        &self,
        kind: u16,
        flags: u16,
        body: &[u8],
        what: &str,
        read: impl Fn(&Message<'_>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let sequence = self.send(kind, flags, body, what)?;
        loop {
            let answer = self.socket.receive(what, |datagram| {
                let mut mine = Messages::new(datagram).filter(|m| m.sequence == sequence);
                let message = mine.next()?;
                Some(match message.outcome() {
                    Some(outcome) if outcome.errno != 0 => {
                        Err(Error::kernel(outcome.errno, outcome.text, what))
                    }
                    Some(_) => Ok(None),
                    None => Ok(read(&message)),
                })
            })?;
            if let Some(answer) = answer {
                return answer;
            }
        }
    }

    /// Sends one message that asks for data, and returns its sequence number.
    pub(crate) fn send(
        &self,
        kind: u16,
        flags: u16,
        body: &[u8],
        what: &str,
    ) -> Result<u32, Error> {
        let sequence = self.next_sequence();
        let mut datagram = Vec::with_capacity(message::HEADER_LEN + body.len());
        message::write(&mut datagram, kind, NLM_F_REQUEST | flags, sequence, body);
        self.socket.send(&datagram, what)?;
        Ok(sequence)
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Never 0, the number of messages that nobody asked for.
    fn next_sequence(&self) -> u32 {
        let next = self.sequence.get().checked_add(1).unwrap_or(1);
        self.sequence.set(next);
        next
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
