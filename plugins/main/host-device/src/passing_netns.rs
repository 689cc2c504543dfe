//! A namespace for a device on its way.
//!
//! It arrives on the host under its final name only if it is renamed before, and in
//! the container that name may be taken; then it is renamed here. A name that is
//! taken for a moment only, on the host, would bring udev and network managers into
//! action.

use anyhow::{Context, anyhow};
use cni_core::errno;
use cni_core::ns::Netns;
use nix::sched::{CloneFlags, unshare};
use rtnl::Handle;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;

/// The namespace, with a netlink socket in it. It lives as long as this value, and a
/// device that is in it then goes to the machine's first namespace.
pub(crate) struct PassingNetns {
    netns: Netns,
    /// A socket in it.
    pub(crate) rtnl: Handle,
}

impl PassingNetns {
    pub(crate) fn new() -> anyhow::Result<PassingNetns> {
        let (netns, rtnl) = make().context("failed to create tempNS")?;
        Ok(PassingNetns { netns, rtnl })
    }
}

impl AsFd for PassingNetns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netns.as_fd()
    }
}

/// On a thread of its own, which ends there: the calling one stays where it is.
fn make() -> anyhow::Result<(Netns, Handle)> {
    let inside = || -> anyhow::Result<_> {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|e| anyhow!("{}", errno::text(e as i32)))?;
        Ok((Netns::current()?, Handle::open()?))
    };
    thread::scope(|scope| match scope.spawn(inside).join() {
        Ok(made) => made,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
