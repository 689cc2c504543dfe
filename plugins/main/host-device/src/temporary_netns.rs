//! A temporary network namespace to rename a device in.
//!
//! The device must arrive on the host under its final name: udev and network managers
//! act on every name that appears there. If that name is taken in the container, the
//! device is renamed in this namespace.

use anyhow::Context;
use cni_core::ns::Netns;
use rtnl::Handle;
use std::os::fd::{AsFd, BorrowedFd};

/// The namespace, with a netlink socket in it. It is deleted with this value; the kernel
/// moves a physical device that is still in it to the initial namespace.
pub(crate) struct TemporaryNetns {
    netns: Netns,
    /// A socket in the namespace.
    pub(crate) rtnl: Handle,
}

impl TemporaryNetns {
    pub(crate) fn new() -> anyhow::Result<TemporaryNetns> {
        let create = || -> anyhow::Result<_> {
            let netns = Netns::unnamed()?;
            let rtnl = netns.run(Handle::open)??;
            Ok(TemporaryNetns { netns, rtnl })
        };
        create().context("failed to create tempNS")
    }
}

impl AsFd for TemporaryNetns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netns.as_fd()
    }
}
