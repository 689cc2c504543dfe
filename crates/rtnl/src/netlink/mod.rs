//! Generic netlink support for crates that speak another of its protocols: sockets,
//! framing, attributes, dumps.
//!
//! Messages are written with [`Builder`] and [`write_message`], and read with
//! [`Messages`] and [`Attributes`]; a [`Connection`] carries them.

mod dump;

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd};

use crate::socket::Socket;
use crate::wire::message;

pub use self::dump::Dumped;
pub use crate::error::Error;
#[cfg(feature = "fault-injection")]
pub use crate::fault::injected_fault;
pub use crate::wire::constants::{
    NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_ECHO, NLM_F_REQUEST,
};
pub use crate::wire::{Attribute, Attributes, Builder, Message, Messages, Outcome};
pub use message::write as write_message;

/// A netlink socket connected to the kernel, with the sequence numbers of its
/// messages.
///
/// It belongs to the network namespace in which the calling thread opened it. Answers
/// time out after 60 seconds.
pub struct Connection {
    socket: Socket,
    sequence: Cell<u32>,
}

impl Connection {
    /// Opens a socket of a protocol (`NETLINK_*`, `linux/netlink.h`) in the
    /// calling thread's network namespace.
    ///
    /// # Errors
    /// Errors of `socket(2)` and `connect(2)`; `EPROTONOSUPPORT` if the kernel
    /// lacks the protocol.
    pub fn open(protocol: isize) -> Result<Connection, Error> {
        Ok(Connection {
            socket: Socket::open(protocol)?,
            sequence: Cell::new(0),
        })
    }

    /// Sends a datagram of encoded messages, for which the send buffer is enlarged if
    /// necessary.
    ///
    /// # Errors
    /// Errors of `send(2)`.
    pub fn send_datagram(&self, datagram: &[u8], what: &str) -> Result<(), Error> {
        self.socket.reserve_send(datagram.len());
        self.socket.send(datagram, what)
    }

    /// Enlarges the receive buffer for answers of `bytes` that arrive before they are
    /// read. Best effort: without `CAP_NET_ADMIN` the kernel limits it.
    pub fn reserve_receive(&self, bytes: usize) {
        self.socket.reserve_receive(bytes);
    }

    /// Waits for one datagram and passes it to `read`.
    ///
    /// # Errors
    /// Errors of `recv(2)`, `ENOBUFS` if answers were lost; a timeout.
    pub fn receive<T>(&self, what: &str, read: impl FnOnce(&[u8]) -> T) -> Result<T, Error> {
        self.socket.receive(what, read)
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Sends a request that is answered by one message, which `read` converts. `None`
    /// if `read` returns none.
    ///
    /// # Errors
    /// Errors of the kernel and of the socket.
    pub fn get<T>(
        &self,
        kind: u16,
        body: &[u8],
        what: &str,
        read: impl Fn(&Message<'_>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        self.get_with(kind, 0, body, what, read)
    }

    /// The same with further `flags`. A requested acknowledgement that comes first
    /// counts as the answer.
    ///
    /// # Errors
    /// As [`Connection::get`].
    pub fn get_with<T>(
        &self,
        kind: u16,
        flags: u16,
        body: &[u8],
        what: &str,
        read: impl Fn(&Message<'_>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let sequence = self.send(kind, flags, body, what)?;
        loop {
            let answer = self.receive(what, |datagram| {
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

    /// Sends one request for data. Returns its sequence number.
    ///
    /// # Errors
    /// Errors of `send(2)`.
    pub fn send(&self, kind: u16, flags: u16, body: &[u8], what: &str) -> Result<u32, Error> {
        let sequence = self.next_sequence();
        let mut datagram = Vec::with_capacity(message::HEADER_LEN + body.len());
        message::write(&mut datagram, kind, NLM_F_REQUEST | flags, sequence, body);
        self.socket.send(&datagram, what)?;
        Ok(sequence)
    }

    /// The next sequence number. Never 0, that of events.
    pub fn next_sequence(&self) -> u32 {
        let next = self.sequence.get().checked_add(1).unwrap_or(1);
        self.sequence.set(next);
        next
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
