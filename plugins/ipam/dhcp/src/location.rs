//! The location of an attachment: a network namespace and an interface in it, found again by
//! their identity.
//!
//! Nothing keeps the namespace open between two calls, so that the runtime can delete it.

use crate::client::Mac;
use crate::sys;
use anyhow::{Context, anyhow};
use cni_core::ns::Netns;
use cni_core::quote::quote;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::fstat;
use rtnl::{Handle, KindInfo, Link, LinkChange, Request};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The location of an attachment, also as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Location {
    /// The path of the namespace, as the daemon sees it.
    pub(crate) netns: PathBuf,
    identity: Identity,
    /// Name of the interface.
    pub(crate) if_name: String,
    /// Index of the interface.
    pub(crate) index: u32,
    /// `ARPHRD_*` of linux/if_arp.h.
    pub(crate) hardware_type: u16,
    /// Hardware address, if it is an Ethernet address.
    pub(crate) mac: Option<Mac>,
    /// Whether other interfaces have the same hardware address, so that a packet for an
    /// address that is not configured yet does not arrive: those of ipvlan.
    pub(crate) shares_mac: bool,
    /// The link of the host that leads to the same segment: the bridge or the parent.
    host_link: Option<HostLink>,
}

/// The error that another namespace is at the path.
#[derive(Debug)]
pub(crate) struct Replaced(PathBuf);

impl fmt::Display for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "another namespace is at {}", self.0.display())
    }
}

impl std::error::Error for Replaced {}

/// The identity of a namespace. Inode numbers are used again, cookies never are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    device: u64,
    inode: u64,
    cookie: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct HostLink {
    index: u32,
    name: String,
}

impl Identity {
    /// Returns the identity of an open namespace in which the calling thread is.
    fn here(netns: &Netns) -> anyhow::Result<Identity> {
        let stat = fstat(netns)?;
        let probe = socket(
            AddressFamily::Inet,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        );
        Ok(Identity {
            device: stat.st_dev,
            inode: stat.st_ino,
            cookie: probe.ok().and_then(sys::netns_cookie),
        })
    }
}

impl Location {
    /// Finds an interface, and brings it up. `home` is the daemon's own namespace.
    ///
    /// # Errors
    /// When there is no such namespace or interface; the texts are upstream's.
    pub(crate) fn find(netns: &Path, if_name: &str, home: &Netns) -> anyhow::Result<Location> {
        let opened = Netns::open(netns)?;
        let (identity, handle) = opened.run_from(home, || {
            anyhow::Ok((Identity::here(&opened)?, Handle::open()?))
        })??;
        let link = handle.link_by_name(if_name).map_err(|error| {
            let name = quote(if_name);
            match error.is_not_found() {
                true => anyhow!("error looking up {name}: Link not found"),
                false => anyhow!(error).context(format!("error looking up {name}")),
            }
        })?;
        if !link.is_up() {
            let up = LinkChange {
                up: Some(true),
                ..LinkChange::default()
            };
            handle
                .request(Request::set_link(link.index, &up))
                .with_context(|| format!("error setting {} up", quote(if_name)))?;
        }
        Ok(Location {
            netns: netns.to_owned(),
            identity,
            if_name: if_name.to_owned(),
            index: link.index,
            hardware_type: link.layer,
            mac: link.mac.as_slice().try_into().ok(),
            shares_mac: matches!(link.info, KindInfo::Ipvlan(_)),
            host_link: host_link(&link),
        })
    }

    /// Returns whether the namespace and the interface are those at another path.
    pub(crate) fn is_same(&self, other: &Location) -> bool {
        self.identity == other.identity && self.index == other.index
    }

    /// Returns whether the namespace is still at its path, without entering it.
    pub(crate) fn is_there(&self) -> bool {
        std::fs::metadata(&self.netns).is_ok_and(|found| {
            (found.dev(), found.ino()) == (self.identity.device, self.identity.inode)
        })
    }

    /// Runs `f` in the namespace.
    ///
    /// # Errors
    /// When the namespace is gone, or another one is at its path.
    pub(crate) fn enter<T>(&self, home: &Netns, f: impl FnOnce() -> T) -> anyhow::Result<T> {
        let netns = Netns::open(&self.netns)?;
        netns.run_from(home, || match Identity::here(&netns)? {
            identity if identity == self.identity => Ok(f()),
            _ => Err(Replaced(self.netns.clone()).into()),
        })?
    }

    /// Returns index and name of the host's link to the same segment, if it is still there.
    pub(crate) fn on_host(&self) -> Option<(u32, &str)> {
        let link = self.host_link.as_ref()?;
        let found = Handle::open().ok()?.link_by_index(link.index).ok()?;
        (found.name == link.name).then_some((link.index, link.name.as_str()))
    }
}

/// Returns the link of the host behind which the segment of `link` is: the bridge of the
/// other end of a veth pair, or the parent of any other kind.
fn host_link(link: &Link) -> Option<HostLink> {
    let handle = Handle::open().ok()?;
    let other = handle.link_by_index(link.link?).ok()?;
    let found = match link.is_kind("veth") {
        true if other.link == Some(link.index) => handle.link_by_index(other.master?).ok()?,
        true => return None,
        false => other,
    };
    Some(HostLink {
        index: found.index,
        name: found.name,
    })
}
