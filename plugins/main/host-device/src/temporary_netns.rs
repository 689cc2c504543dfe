//! A temporary network namespace to rename a device in.
//!
//! The device must arrive on the host under its final name: udev and network managers
//! act on every name that appears there. If that name is taken in the container, the
//! device is renamed in this namespace.

use anyhow::{Context, anyhow};
use cni_core::errno;
use cni_core::ns::Netns;
use nix::sched::{CloneFlags, unshare};
use rtnl::Handle;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;

/// The namespace, with a netlink socket in it. It is deleted with this value; the kernel
/// moves a physical device that is still in it to the initial namespace.
pub(crate) struct TemporaryNetns {
    netns: Netns,
    /// A socket in the namespace.
    pub(crate) rtnl: Handle,
}

impl TemporaryNetns {
    pub(crate) fn new() -> anyhow::Result<TemporaryNetns> {
        let (netns, rtnl) = create().context("failed to create tempNS")?;
        Ok(TemporaryNetns { netns, rtnl })
    }
}

impl AsFd for TemporaryNetns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netns.as_fd()
    }
}

/// Creates the namespace on a thread of its own; the calling thread stays in its own.
fn create() -> anyhow::Result<(Netns, Handle)> {
    let inside = || -> anyhow::Result<_> {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|e| anyhow!("{}", errno::text(e as i32)))?;
        Ok((Netns::current()?, Handle::open()?))
    };
    thread::scope(|scope| match scope.spawn(inside).join() {
        Ok(created) => created,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
