//! rtnetlink client: links, addresses, routes, rules, neighbours and traffic control.
//!
//! A [`Handle`] is a socket in one network namespace. Its methods read; changes are
//! [`Request`]s, which are built without a socket and sent by [`Handle::request`] or,
//! several in one system call, by [`Handle::batch`].
//!
//! Replies are decoded attribute by attribute, and only the attributes that callers
//! use. Names are those of `rtnetlink(7)` and the kernel's headers
//! (`linux/rtnetlink.h`, `if_link.h`, `if_addr.h`).
#![cfg(target_os = "linux")]

mod address;
pub mod deferred;
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
mod rule;
mod socket;
mod sys;
mod tc;
mod wire;

pub use address::{
    Address, AddressSpec, Broadcast, Family, IFA_F_MANAGETEMPADDR, IFA_F_NOPREFIXROUTE, Scope,
};
pub use error::Error;
pub use events::{AddressEvents, LinkEvents, WaitOutcome};
pub use handle::Handle;
pub use link::*;
pub use neighbour::{NUD_PERMANENT, Neighbour};
pub use request::{Reply, Request};
pub use route::{
    Exclusivity, NextHop, RT_TABLE_DEFAULT, RT_TABLE_LOCAL, RT_TABLE_MAIN, RTN_LOCAL, RTN_UNICAST,
    RTPROT_BOOT, RTPROT_KERNEL, RawRoute, Route, RouteFilter, RouteSpec,
};
pub use rule::{Rule, RuleFilter, RuleSpec};
pub use tc::*;
