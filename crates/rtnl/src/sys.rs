//! The fork of a child process, and what it does: system calls only.
//!
//! The process may have threads, of which the child has a copy of one: locks of the others,
//! that of the allocator for example, stay locked in it for ever. So it allocates nothing,
//! takes no lock and cannot panic; everything it needs is in its [`Job`].
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, c_int, c_uint};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// Descriptors that are closed one by one where the kernel lacks `close_range(2)` (before
/// Linux 5.9). Plugins open a dozen.
const CLOSED_SINGLY: RawFd = 1024;

/// How long the child stays after its parent at least, in milliseconds. By then the rules
/// that the parent deleted are freed, so that closing its nf_tables sockets need not wait.
const LINGER_MILLIS: u128 = 50;

/// Children close nf_tables sockets at multiples of this, in milliseconds. A close waits for
/// the rules that any process has deleted, and meanwhile holds the lock that each commit in
/// the namespace takes. Of those that come together only the first waits: 32 workers that
/// attach and detach without a pause made 360 calls of a chain per second, and 193 when each
/// child closed 100 ms after its parent.
const CLOSING_MILLIS: u128 = 150;

/// How long a child waits for the end of its parent, in milliseconds: longer than any
/// plugin runs.
const PARENT_MILLIS: c_int = 600_000;

/// What a child does.
pub(crate) struct Job<'a> {
    /// A netlink socket and the datagrams to send by it, one after the other.
    pub(crate) requests: Option<(BorrowedFd<'a>, &'a [Vec<u8>])>,
    /// The child's end of a pair of stream sockets.
    pub(crate) pair: BorrowedFd<'a>,
    /// The step before which the child dies, from 1; 0 for none.
    #[cfg(feature = "fault-injection")]
    pub(crate) die_before: u32,
}

/// Starts a child process that carries out `job` and exits. It writes one byte to the pair
/// when all datagrams were sent, and exits after the other end of the pair was closed.
pub(crate) fn fork(job: &Job<'_>) -> Result<Pid, Errno> {
    // SAFETY: the child only makes the system calls of `work`, as the module says.
    match unsafe { libc::fork() } {
        -1 => Err(Errno::last()),
        0 => work(job),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// The child's whole life.
fn work(job: &Job<'_>) -> ! {
    let pair = job.pair.as_raw_fd();
    let socket = job.requests.map_or(pair, |(socket, _)| socket.as_raw_fd());
    let step = Steps::of(job);
    step.next();
    // First of all: the runtime waits for the end of standard output.
    close_others(pair.min(socket), pair.max(socket));
    step.next();
    // SAFETY: these take integers and a constant string.
    unsafe {
        // Signals to the plugin's process group are not for the child.
        libc::setsid();
        // Do not keep a file system busy.
        libc::chdir(c"/".as_ptr());
    }
    if let Some((_, datagrams)) = job.requests {
        for datagram in datagrams {
            step.next();
            send(socket, datagram);
        }
        step.next();
        send(pair, &[0]);
        // SAFETY: the descriptor is not used any more. The parent has the socket open.
        unsafe { libc::close(socket) };
    }
    step.next();
    wait_for_hangup(pair);
    step.next();
    // SAFETY: ends this process without running anything of the parent's.
    unsafe { libc::_exit(0) }
}

/// Closes all descriptors but two, of which `low` is the lower, if they differ.
fn close_others(low: RawFd, high: RawFd) {
    let gaps = [(0, low - 1), (low + 1, high - 1), (high + 1, RawFd::MAX)];
    for (first, last) in gaps {
        if first > last || close_range(first, last) {
            continue;
        }
        for descriptor in first..=last.min(CLOSED_SINGLY) {
            // SAFETY: nothing in this process uses it.
            unsafe { libc::close(descriptor) };
        }
    }
}

fn close_range(first: RawFd, last: RawFd) -> bool {
    let (first, last) = (first.cast_unsigned(), last.cast_unsigned());
    let flags: c_uint = 0;
    // SAFETY: nothing in this process uses these descriptors.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) == 0 }
}

/// Sends a datagram. The parent notices a failure, because nothing happens.
fn send(socket: RawFd, datagram: &[u8]) {
    loop {
        let flags = libc::MSG_NOSIGNAL;
        // SAFETY: pointer and length are those of a slice.
        let sent = unsafe { libc::send(socket, datagram.as_ptr().cast(), datagram.len(), flags) };
        if sent >= 0 || Errno::last() != Errno::EINTR {
            return;
        }
    }
}

/// Waits until the other end of the pair was closed, and longer if it has sent anything.
/// That is not read, because it refers to sockets, which would be closed.
fn wait_for_hangup(pair: RawFd) {
    let mut other_end = libc::pollfd {
        fd: pair,
        events: libc::POLLRDHUP,
        revents: 0,
    };
    // SAFETY: the pointer is to one structure.
    while unsafe { libc::poll(&raw mut other_end, 1, PARENT_MILLIS) } < 0
        && Errno::last() == Errno::EINTR
    {}
    let mut unread: c_int = 0;
    // SAFETY: FIONREAD writes one integer.
    if unsafe { libc::ioctl(pair, libc::FIONREAD, &raw mut unread) } == 0 && unread > 0 {
        // SAFETY: no descriptors, so it only waits.
        unsafe { libc::poll(std::ptr::null_mut(), 0, millis_to_closing()) };
    }
}

/// Milliseconds until sockets of nf_tables may be closed.
fn millis_to_closing() -> c_int {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    let earliest = now.as_millis() + LINGER_MILLIS;
    let closing = earliest.next_multiple_of(CLOSING_MILLIS);
    c_int::try_from(closing - now.as_millis()).unwrap_or(c_int::MAX)
}

/// Kills the child before a chosen step, in builds for tests.
struct Steps {
    #[cfg(feature = "fault-injection")]
    left: std::cell::Cell<u32>,
}

impl Steps {
    #[cfg(not(feature = "fault-injection"))]
    fn of(_: &Job<'_>) -> Steps {
        Steps {}
    }

    #[cfg(not(feature = "fault-injection"))]
    fn next(&self) {}

    #[cfg(feature = "fault-injection")]
    fn of(job: &Job<'_>) -> Steps {
        Steps {
            left: std::cell::Cell::new(job.die_before),
        }
    }

    #[cfg(feature = "fault-injection")]
    fn next(&self) {
        if self.left.get() == 1 {
            // SAFETY: takes integers.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
        self.left.set(self.left.get().saturating_sub(1));
    }
}
