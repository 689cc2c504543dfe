//! Port mappings of the runtime.

use cni_core::quote::quote;
use cni_core::{cidr, json};
use netfilter::nft;
use plugin_kit::detailed;
use serde::Deserialize;
use serde_json::Value;
use std::net::IpAddr;

/// A port of the host that is mapped to a port of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mapping {
    /// The port on the host, 1 at least.
    pub host_port: u16,
    /// The port in the container, 1 at least.
    pub container_port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// The address of the host; an unspecified one stands for all of its family,
    /// `None` for all of both.
    pub host_ip: Option<IpAddr>,
}

/// A protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Stream Control Transmission Protocol.
    Sctp,
    /// Transmission Control Protocol.
    Tcp,
    /// User Datagram Protocol.
    Udp,
}

impl Protocol {
    /// All of them, in the order of their names.
    pub const ALL: [Protocol; 3] = [Protocol::Sctp, Protocol::Tcp, Protocol::Udp];

    /// Returns the name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Protocol::Sctp => "sctp",
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }

    pub(crate) const fn nft(self) -> nft::Protocol {
        match self {
            Protocol::Sctp => nft::Protocol::Sctp,
            Protocol::Tcp => nft::Protocol::Tcp,
            Protocol::Udp => nft::Protocol::Udp,
        }
    }

    fn from_name(name: &str) -> Option<Protocol> {
        Protocol::ALL
            .into_iter()
            .find(|protocol| protocol.as_str().eq_ignore_ascii_case(name))
    }
}

impl Mapping {
    /// Returns whether it applies to container addresses of this family.
    #[must_use]
    pub fn is_for(&self, ipv4: bool) -> bool {
        self.host_ip.is_none_or(|host| host.is_ipv4() == ipv4)
    }

    /// Returns the host address if it is a single one.
    #[must_use]
    pub fn destination(&self) -> Option<IpAddr> {
        self.host_ip.filter(|host| !host.is_unspecified())
    }
}

/// A mapping as it is decoded.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawMapping {
    #[serde(rename = "hostPort")]
    host_port: i64,
    #[serde(rename = "containerPort")]
    container_port: i64,
    protocol: String,
    #[serde(rename = "hostIP")]
    host_ip: String,
}

/// Validates the mapping of this number.
pub(crate) fn validate(number: usize, raw: &RawMapping) -> anyhow::Result<Mapping> {
    let key = |name: &str| format!("runtimeConfig.portMappings[{number}].{name}");
    let port = |value: i64, what: &str, name: &str| match u16::try_from(value) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(detailed(
            format!("Invalid {what} port number: {value}"),
            format!("{} must be 1 to 65535", key(name)),
        )),
    };
    let container_port = port(raw.container_port, "container", "containerPort")?;
    let host_port = port(raw.host_port, "host", "hostPort")?;
    let protocol = Protocol::from_name(&raw.protocol).ok_or_else(|| {
        detailed(
            format!("Invalid protocol: {}", quote(&raw.protocol)),
            format!("{} must be \"tcp\", \"udp\" or \"sctp\"", key("protocol")),
        )
    })?;
    let host_ip = match raw.host_ip.as_str() {
        "" => None,
        text => Some(cidr::parse_ip(text).map_err(|_| {
            detailed(
                format!("Invalid host IP: {}", quote(text)),
                format!("{} must be an IP address", key("hostIP")),
            )
        })?),
    };
    Ok(Mapping {
        host_port,
        container_port,
        protocol,
        host_ip,
    })
}

/// Returns the valid mappings, for DEL, which an invalid configuration must not stop.
/// `None` if there are no mappings at all.
pub(crate) fn mappings_to_delete(conf: &Value) -> Option<Vec<Mapping>> {
    let list = json::get(json::get(conf, "runtimeConfig")?, "portMappings")?.as_array()?;
    if list.is_empty() {
        return None;
    }
    let read = list.iter().enumerate().filter_map(|(number, entry)| {
        let raw: RawMapping = json::decode(entry).ok()?;
        validate(number, &raw).ok()
    });
    Some(read.collect())
}
