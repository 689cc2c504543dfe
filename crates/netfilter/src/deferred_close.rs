//! Closing nf_tables sockets without waiting for the kernel.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
};

/// Lets the kernel close a socket asynchronously. The returned pair must be dropped
/// after the socket.
///
/// After any process in the namespace has deleted rules, closing an nf_tables socket
/// waits until a kernel worker has freed them (`nft_rcv_nl_event`), which takes an RCU
/// grace period, 8 to 20 ms. The changes are in force before. Here the last reference
/// to the socket goes into the queue of a Unix socket that only references itself, and
/// the kernel's garbage collector for such sockets (`unix_gc`) closes it. If anything
/// fails, the socket is closed as usual.
pub(crate) fn defer_close(socket: BorrowedFd<'_>) -> Option<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let pair = socketpair(AddressFamily::Unix, SockType::Datagram, None, flags);
    let (near, far) = pair.ok()?;
    let files = [socket.as_raw_fd(), far.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&files)];
    let body = [IoSlice::new(&[0])];
    let sent = sendmsg::<()>(near.as_raw_fd(), &body, &message, MsgFlags::empty(), None);
    if let Err(errno) = sent {
        log::debug!("cannot defer closing a socket: {errno}");
    }
    Some((near, far))
}
