//! Closing sockets of nf_tables without waiting.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
};

/// Has the kernel close a socket in its own time: when what is returned is closed,
/// which must come after the socket itself.
///
/// What anybody removes is freed by a worker of the kernel after all processors have
/// been seen to use it no more (`synchronize_rcu`), which takes 8 to 20 ms. Whoever
/// closes a socket of nf_tables before waits for that (`nft_rcv_nl_event`), though
/// the changes have been in force for long. So the last reference is given into a
/// queue of a local socket that is reachable from nowhere but from itself, which the
/// collector of such sockets (`unix_gc`) cleans up behind us. Where anything about
/// this fails, the socket is closed as any other.
pub(crate) fn leave(socket: BorrowedFd<'_>) -> Option<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let pair = socketpair(AddressFamily::Unix, SockType::Datagram, None, flags);
    let (near, far) = pair.ok()?;
    let files = [socket.as_raw_fd(), far.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&files)];
    let body = [IoSlice::new(&[0])];
    let sent = sendmsg::<()>(near.as_raw_fd(), &body, &message, MsgFlags::empty(), None);
    if let Err(errno) = sent {
        log::debug!("cannot leave a socket to the kernel: {errno}");
    }
    Some((near, far))
}

/// Sockets that another process is about to close, held so that it need not wait.
#[derive(Default)]
pub(crate) struct Held(pub(crate) Vec<OwnedFd>);

impl Drop for Held {
    fn drop(&mut self) {
        for socket in self.0.drain(..) {
            let parting = leave(socket.as_fd());
            drop(socket);
            drop(parting);
        }
    }
}
