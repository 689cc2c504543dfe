//! rtnetlink: links, addresses, routes and neighbours of the Linux kernel, in
//! few messages.
//!
//! A [`Handle`] is a socket in one network namespace. Reading is done by its
//! methods; changes are [`Request`]s, built without a socket and handed to
//! [`Handle::request`] or, several in one system call, [`Handle::batch`].
//!
//! Replies are read attribute by attribute, and only the attributes that a
//! caller can ask for. See `rtnetlink(7)` and the kernel's headers
//! (`linux/rtnetlink.h`, `if_link.h`, `if_addr.h`), whose names are used.
#![cfg(target_os = "linux")]

mod address;
#[cfg(test)]
mod encode_tests;
mod errno;
mod error;
mod events;
#[cfg(feature = "fault-injection")]
mod fault;
mod handle;
mod link;
mod neighbour;
pub mod netlink;
mod request;
mod route;
mod route_list;
mod socket;
mod wire;

pub use address::{
    Address, AddressSpec, Broadcast, Family, IFA_F_DADFAILED, IFA_F_DEPRECATED,
    IFA_F_MANAGETEMPADDR, IFA_F_NODAD, IFA_F_NOPREFIXROUTE, IFA_F_PERMANENT, IFA_F_TENTATIVE,
    Scope,
};
pub use error::Error;
pub use events::{AddressEvents, LinkEvents, Waited};
pub use handle::Handle;
pub use link::*;
pub use neighbour::{NUD_PERMANENT, NUD_REACHABLE, Neighbour};
pub use request::{Reply, Request};
pub use route::{
    Exclusivity, RT_TABLE_LOCAL, RT_TABLE_MAIN, RTN_BLACKHOLE, RTN_UNICAST, RTN_UNREACHABLE,
    RTPROT_BOOT, RTPROT_KERNEL, RTPROT_STATIC, RouteSpec,
};
pub use route_list::{NextHop, Route, RouteFilter};
