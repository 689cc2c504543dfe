//! tun and tap: links whose other end is a program (`IFLA_TUN_*`, if_link.h).
//! They are created by `ioctl(2)` on `/dev/net/tun`, not by netlink.

use crate::wire::Attributes;

pub(super) const KIND: &str = "tun";
const IFLA_TUN_OWNER: u16 = 1;
const IFLA_TUN_GROUP: u16 = 2;
const IFLA_TUN_TYPE: u16 = 3;
const IFLA_TUN_PERSIST: u16 = 6;
const IFLA_TUN_MULTI_QUEUE: u16 = 7;

/// `IFF_TAP` of linux/if_tun.h.
const IFF_TAP: u8 = 2;

/// State of a tun or tap link; not reported by kernels before 4.17.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TunInfo {
    /// The user who may attach a program.
    pub owner: Option<u32>,
    /// The group whose members may attach a program.
    pub group: Option<u32>,
    /// Whether it passes Ethernet frames rather than IP packets.
    pub tap: bool,
    /// Whether it is persistent.
    pub persist: bool,
    /// Whether several queues may be attached.
    pub multi_queue: bool,
}

impl TunInfo {
    pub(super) fn decode(data: Attributes<'_>) -> TunInfo {
        let mut info = TunInfo::default();
        for attribute in data {
            let flag = attribute.u8().is_some_and(|value| value != 0);
            match attribute.kind {
                IFLA_TUN_OWNER => info.owner = attribute.u32(),
                IFLA_TUN_GROUP => info.group = attribute.u32(),
                IFLA_TUN_TYPE => info.tap = attribute.u8() == Some(IFF_TAP),
                IFLA_TUN_PERSIST => info.persist = flag,
                IFLA_TUN_MULTI_QUEUE => info.multi_queue = flag,
                _ => {}
            }
        }
        info
    }
}
