//! Netlink sockets: options, datagrams, deadlines.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use netlink_sys::{Socket as RawSocket, SocketAddr};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use nix::sys::time::TimeVal;

use crate::error::Error;

/// Timeout of an answer. The kernel answers immediately, except while another process
/// holds the RTNL lock.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Size of the receive buffer. The kernel sizes the datagrams of a dump by the largest
/// receive buffer it has seen, up to this (`netlink_recvmsg`).
const BUFFER_LEN: usize = 32 * 1024;

/// Payload that fits the buffers of a socket by default, in bytes: half of the
/// kernel's default size, which includes its overhead.
const USUAL_BUFFER: usize = 64 * 1024;

/// More messages than a receive buffer of default size holds.
const MAX_DRAINED: u32 = 100_000;

pub(crate) struct Socket {
    socket: RawSocket,
    buffer: RefCell<Vec<u8>>,
}

impl Socket {
    /// Opens a socket of the calling thread's network namespace that accepts
    /// messages from the kernel only.
    pub(crate) fn open(protocol: isize) -> Result<Socket, Error> {
        const WHAT: &str = "open a netlink socket";
        let socket = RawSocket::new(protocol).map_err(failed("socket", WHAT))?;
        // Connecting to port 0 binds the socket and rejects messages of other processes.
        socket
            .connect(&SocketAddr::new(0, 0))
            .map_err(failed("connect", WHAT))?;
        // Optional: these only add checks and error texts, and old kernels lack some.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_netlink_get_strict_chk(true);
        // ANSWER_TIMEOUT is a small constant; the cast is lossless.
        let timeout = TimeVal::new(ANSWER_TIMEOUT.as_secs().cast_signed() as _, 0);
        setsockopt(&socket, sockopt::ReceiveTimeout, &timeout)
            .map_err(|errno| Error::socket(errno as i32, "setsockopt", WHAT))?;
        Ok(Socket {
            socket,
            buffer: RefCell::new(vec![0; BUFFER_LEN]),
        })
    }

    /// Joins the multicast group `group` (`RTNLGRP_*`).
    pub(crate) fn subscribe(&self, group: u32) -> Result<(), Error> {
        self.socket
            .add_membership(group)
            .map_err(failed("subscribe", "subscribe to events"))
    }

    /// Makes the send buffer hold a datagram of `bytes`. On failure, sending it fails
    /// with `EMSGSIZE`.
    pub(crate) fn reserve_send(&self, bytes: usize) {
        if bytes <= USUAL_BUFFER {
            return;
        }
        // Exceeding net.core.wmem_max takes CAP_NET_ADMIN.
        if setsockopt(&self.socket, sockopt::SndBufForce, &bytes).is_err() {
            let _ = setsockopt(&self.socket, sockopt::SndBuf, &bytes);
        }
    }

    /// Makes the receive buffer hold `bytes`. Best effort; overruns show as `ENOBUFS`.
    pub(crate) fn reserve_receive(&self, bytes: usize) {
        if bytes <= USUAL_BUFFER {
            return;
        }
        if setsockopt(&self.socket, sockopt::RcvBufForce, &bytes).is_err() {
            let _ = setsockopt(&self.socket, sockopt::RcvBuf, &bytes);
        }
    }

    pub(crate) fn send(&self, datagram: &[u8], what: &str) -> Result<(), Error> {
        loop {
            match self.socket.send(datagram, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("send", what)(error)),
            }
        }
    }

    /// Receives one whole datagram of any size and passes it to `read`.
    pub(crate) fn receive<T>(&self, what: &str, read: impl FnOnce(&[u8]) -> T) -> Result<T, Error> {
        let fd = self.socket.as_raw_fd();
        let mut buffer = self.buffer.borrow_mut();
        let peek = MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC;
        let len = again(|| recv(fd, &mut [], peek)).map_err(|errno| receive_error(errno, what))?;
        if len > buffer.len() {
            buffer.resize(len, 0);
        }
        let len = again(|| recv(fd, &mut buffer, MsgFlags::empty()))
            .map_err(|errno| receive_error(errno, what))?;
        Ok(read(buffer.get(..len).unwrap_or_default()))
    }

    /// Discards everything received so far. After an overrun, a socket accepts new
    /// messages, including answers, only once it is empty.
    pub(crate) fn drain(&self, what: &str) -> Result<(), Error> {
        // Bounded, in case messages arrive faster than they are discarded.
        for _ in 0..MAX_DRAINED {
            if !self.wait(Instant::now(), what)? {
                return Ok(());
            }
            match self.receive(what, |_| ()) {
                Err(error) if error.errno() != Some(Errno::ENOBUFS as i32) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits for a datagram; `false` if `deadline` passes first.
    pub(crate) fn wait(&self, deadline: Instant, what: &str) -> Result<bool, Error> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up to avoid a busy loop in the last millisecond.
            let millis = left.as_micros().div_ceil(1000);
            let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, timeout) {
                Ok(0) if Instant::now() < deadline => {}
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::socket(errno as i32, "poll", what)),
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn again<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

fn receive_error(errno: Errno, what: &str) -> Error {
    match errno {
        Errno::EAGAIN => Error::timeout(ANSWER_TIMEOUT.as_secs(), what),
        errno => Error::socket(errno as i32, "receive", what),
    }
}

fn failed(call: &'static str, what: &str) -> impl Fn(io::Error) -> Error {
    move |error| Error::socket(error.raw_os_error().unwrap_or(0), call, what)
}
