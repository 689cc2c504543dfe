//! The types of the specification, in its newest version.
//!
//! Results are converted from older versions when they are decoded
//! ([`AddResult::decode`]) and to older ones when they are encoded
//! ([`AddResult::to_json`]). All other code knows a single format.

mod conf;
mod decode;
mod encode;
mod error;
mod family;
mod route;
#[cfg(test)]
mod tests;

pub use conf::{Attachment, IpamRef, NetConf, valid_attachments};
pub(crate) use decode::prev_result;
pub use error::ResultError;

use crate::Cidr;
use crate::cidr::deserialize_optional_ip;
use serde::Deserialize;
use std::net::IpAddr;

/// The result of ADD in the format of the newest version of the specification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddResult {
    /// Interfaces that the chain created or moved.
    pub interfaces: Vec<Interface>,
    /// Addresses of the container.
    pub ips: Vec<IpConfig>,
    /// Routes of the container.
    pub routes: Vec<Route>,
    /// DNS configuration.
    pub dns: Dns,
}

/// One interface of a result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// Name of the interface.
    pub name: String,
    /// Hardware address, lower-case colon form; empty when unknown.
    pub mac: String,
    /// MTU in bytes; 0 when unknown.
    pub mtu: i64,
    /// Path of its namespace (`CNI_NETNS`); empty on the host.
    pub sandbox: String,
    /// Path of the interface's socket (vhost-user); empty if there is none.
    #[serde(rename = "socketPath")]
    pub socket_path: String,
    /// PCI address of the device; empty if there is none.
    #[serde(rename = "pciID")]
    pub pci_id: String,
}

/// One address of a result.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct IpConfig {
    /// Index into [`AddResult::interfaces`]. Some plugins write -1.
    #[serde(default)]
    pub interface: Option<i64>,
    /// The address with its prefix length.
    pub address: Cidr,
    /// The gateway of the address's subnet.
    #[serde(default, deserialize_with = "deserialize_optional_ip")]
    pub gateway: Option<IpAddr>,
}

/// One route of a result or of an IPAM configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Route {
    /// Destination; host bits are kept as written.
    pub dst: Cidr,
    /// Next hop.
    #[serde(default, deserialize_with = "deserialize_optional_ip")]
    pub gw: Option<IpAddr>,
    /// Path MTU in bytes; 0 when unset.
    #[serde(default)]
    pub mtu: i64,
    /// Advertised TCP maximum segment size in bytes; 0 when unset.
    #[serde(default)]
    pub advmss: i64,
    /// Metric; 0 when unset.
    #[serde(default)]
    pub priority: i64,
    /// Routing table; `None` is the main table.
    #[serde(default)]
    pub table: Option<i64>,
    /// Scope, `RT_SCOPE_*` of linux/rtnetlink.h; `None` is universe.
    #[serde(default)]
    pub scope: Option<i64>,
}

/// DNS configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Name servers in order of preference.
    pub nameservers: Vec<String>,
    /// Local domain.
    pub domain: String,
    /// Search list.
    pub search: Vec<String>,
    /// Resolver options.
    pub options: Vec<String>,
}

impl IpConfig {
    /// Returns an address without interface index and gateway.
    pub fn new(address: Cidr) -> Self {
        IpConfig {
            interface: None,
            address,
            gateway: None,
        }
    }
}

impl Route {
    /// Returns a route to `dst` without other attributes.
    pub fn to(dst: Cidr) -> Self {
        Route {
            dst,
            gw: None,
            mtu: 0,
            advmss: 0,
            priority: 0,
            table: None,
            scope: None,
        }
    }
}

impl Dns {
    /// Returns whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.nameservers.is_empty()
            && self.domain.is_empty()
            && self.search.is_empty()
            && self.options.is_empty()
    }
}
