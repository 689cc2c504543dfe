//! Traffic control: qdiscs, their classes and filters (`tc(8)`, `rtnetlink.h`,
//! `pkt_sched.h`, `pkt_cls.h`).

mod class;
#[cfg(test)]
mod encode_tests;
mod filter;
mod qdisc;
mod rate;

pub use class::{Class, HtbClass};
pub use filter::{Filter, U32Filter, U32Key};
pub use qdisc::{Htb, Qdisc, QdiscInfo, QdiscKind, QdiscSpec, Tbf};

use std::fmt;

use netlink_packet_route::tc::{TcHandle as WireHandle, TcHeader};

use crate::wire::Builder;
use crate::wire::attr::u32_at;

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTCLASS: u16 = 40;
const RTM_GETTCLASS: u16 = 42;
const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;

/// `sizeof(struct tcmsg)`.
const TCMSG_LEN: usize = 20;

/// Handle of a qdisc or class, or a parent (`TC_H_*`, `pkt_sched.h`): major and minor
/// number of 16 bits each, which `tc` writes with a colon in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcHandle(pub u32);

impl TcHandle {
    /// No handle (`TC_H_UNSPEC`); that of qdiscs that the kernel created by default.
    pub const NONE: TcHandle = TcHandle(0);
    /// Parent of a link's root qdisc (`TC_H_ROOT`).
    pub const ROOT: TcHandle = TcHandle(0xffff_ffff);
    /// Parent of the `ingress` qdisc (`TC_H_INGRESS`).
    pub const INGRESS: TcHandle = TcHandle(0xffff_fff1);
    /// Handle of the `ingress` qdisc, `ffff:`.
    pub const INGRESS_QDISC: TcHandle = TcHandle(0xffff_0000);

    /// The handle `major:minor`.
    #[must_use]
    pub const fn new(major: u16, minor: u16) -> TcHandle {
        TcHandle((major as u32) << 16 | minor as u32)
    }
}

/// As `tc` writes it: `1:30`, both numbers hexadecimal.
impl fmt::Display for TcHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == TcHandle::ROOT {
            return f.write_str("root");
        }
        write!(f, "{:x}:", self.0 >> 16)?;
        match self.0 & 0xffff {
            0 => Ok(()),
            minor => write!(f, "{minor:x}"),
        }
    }
}

/// A `struct tcmsg`.
fn body(index: u32, handle: TcHandle, parent: TcHandle, info: u32) -> Builder {
    Builder::new(&TcHeader {
        index: index.cast_signed(),
        handle: WireHandle::from(handle.0),
        parent: WireHandle::from(parent.0),
        info,
        ..TcHeader::default()
    })
}

/// A received `struct tcmsg`.
struct Header {
    index: u32,
    handle: TcHandle,
    parent: TcHandle,
    info: u32,
}

impl Header {
    fn decode(body: &[u8]) -> Option<Header> {
        Some(Header {
            index: u32_at(body, 4)?,
            handle: TcHandle(u32_at(body, 8)?),
            parent: TcHandle(u32_at(body, 12)?),
            info: u32_at(body, 16)?,
        })
    }
}
