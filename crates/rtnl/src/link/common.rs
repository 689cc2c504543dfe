//! Parts of link requests that several files need.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_route::link::{LinkFlags, LinkHeader};
use nix::libc::IFNAMSIZ;

use crate::wire::*;

/// The attribute that names a link in a request. Names that do not fit
/// `IFNAMSIZ`, which counts the final zero byte, are alternative names.
pub(crate) fn name_attribute(name: &str) -> u16 {
    if name.len() < IFNAMSIZ {
        IFLA_IFNAME
    } else {
        IFLA_ALT_IFNAME
    }
}

/// Attributes that requests for links and for the peer of a veth pair share.
pub(crate) struct CommonAttributes<'a> {
    pub(crate) name: &'a str,
    pub(crate) netns: Option<BorrowedFd<'a>>,
    pub(crate) mac: Option<&'a [u8]>,
    pub(crate) mtu: Option<u32>,
    pub(crate) txqlen: Option<u32>,
    pub(crate) num_tx_queues: Option<u32>,
    pub(crate) num_rx_queues: Option<u32>,
    pub(crate) gso_max_size: Option<u32>,
    pub(crate) gro_max_size: Option<u32>,
}

impl CommonAttributes<'_> {
    pub(crate) fn encode(&self, body: &mut Builder) {
        if !self.name.is_empty() {
            body.text(IFLA_IFNAME, self.name);
        }
        if let Some(netns) = self.netns {
            // A descriptor in use is never negative.
            body.u32(IFLA_NET_NS_FD, netns.as_raw_fd().cast_unsigned());
        }
        if let Some(mac) = self.mac {
            body.raw(IFLA_ADDRESS, mac);
        }
        body.opt_u32(IFLA_MTU, self.mtu);
        body.opt_u32(IFLA_TXQLEN, self.txqlen);
        body.opt_u32(IFLA_NUM_TX_QUEUES, self.num_tx_queues);
        body.opt_u32(IFLA_NUM_RX_QUEUES, self.num_rx_queues);
        body.opt_u32(IFLA_GSO_MAX_SIZE, self.gso_max_size);
        body.opt_u32(IFLA_GRO_MAX_SIZE, self.gro_max_size);
    }
}

/// A `struct ifinfomsg` for the link `index`; 0 names no link.
pub(crate) fn header(index: u32) -> LinkHeader {
    LinkHeader {
        index,
        ..LinkHeader::default()
    }
}

/// Sets a new link up if `up`. A change mask of 0 leaves it down, the kernel's
/// default.
pub(crate) fn up_flags(header: &mut LinkHeader, up: bool) {
    change_flag(header, LinkFlags::Up, up.then_some(true));
}

pub(crate) fn change_flag(header: &mut LinkHeader, flag: LinkFlags, value: Option<bool>) {
    if let Some(value) = value {
        header.change_mask |= flag;
        header.flags.set(flag, value);
    }
}
