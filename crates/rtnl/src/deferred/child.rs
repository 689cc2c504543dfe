//! The child process and the pair of sockets to it.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::sys::{Job, fork};

/// A child process. It exits when this value is dropped.
#[derive(Debug)]
pub(super) struct Child {
    pair: OwnedFd,
    pid: Pid,
}

impl Child {
    /// Starts a child that sends the datagrams by the socket.
    pub(super) fn start(requests: Option<(BorrowedFd<'_>, &[Vec<u8>])>) -> nix::Result<Child> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (near, far) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?;
        let pid = fork(&Job {
            requests,
            pair: far.as_fd(),
            #[cfg(feature = "fault-injection")]
            die_before: crate::fault::number_of("RTNL_KILL_CHILD_AT"),
        })?;
        Ok(Child { pair: near, pid })
    }

    /// The descriptor that becomes readable when all datagrams were sent, or the child has
    /// died.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.pair.as_fd()
    }

    /// Passes a reference to a file. The child never receives it: the reference is dropped
    /// with the child's end of the pair.
    pub(super) fn pass(&self, file: RawFd) -> nix::Result<()> {
        let files = [file];
        let message = [ControlMessage::ScmRights(&files)];
        let body = [IoSlice::new(&[0])];
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        sendmsg::<()>(self.pair.as_raw_fd(), &body, &message, flags, None).map(drop)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It has ended already if it died, or if this process runs on for long.
        let _ = waitpid(self.pid, Some(WaitPidFlag::WNOHANG));
    }
}
