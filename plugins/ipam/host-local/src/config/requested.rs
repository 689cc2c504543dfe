//! Requested addresses.

use std::fmt;
use std::net::IpAddr;

use anyhow::{Context as _, anyhow};
use cni_core::Cidr;
use cni_core::cidr::parse_ip;
use serde::de::{Deserialize, Deserializer, Error as _};

/// Merges the requested addresses of all three sources.
pub(super) fn merge(sources: [(&str, Vec<Option<RequestedIp>>); 3]) -> anyhow::Result<Vec<IpAddr>> {
    let mut all = Vec::new();
    for (source, ips) in sources {
        for (i, ip) in ips.into_iter().enumerate() {
            let ip = ip.ok_or_else(|| anyhow!("{source}[{i}]: null is no IP address"))?;
            let ip =
                ip.0.context("cannot understand ip: IP <nil> not v4 nor v6")?;
            if !all.contains(&ip) {
                all.push(ip);
            }
        }
    }
    Ok(all)
}

/// A requested address, given as an address or as a CIDR, whose prefix length is ignored.
/// An empty string means none.
pub(super) struct RequestedIp(pub(super) Option<IpAddr>);

impl RequestedIp {
    pub(super) fn parse(text: &str) -> Result<RequestedIp, BadRequest> {
        let ip = match text {
            "" => return Ok(RequestedIp(None)),
            cidr if cidr.contains('/') => cidr.parse::<Cidr>().ok().map(|cidr| cidr.addr()),
            ip => parse_ip(ip).ok(),
        };
        ip.map(|ip| RequestedIp(Some(ip)))
            .ok_or_else(|| BadRequest(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for RequestedIp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        RequestedIp::parse(&text).map_err(D::Error::custom)
    }
}

/// A malformed requested address. Unlike other texts of upstream, this one has no colon.
#[derive(Debug)]
pub(super) struct BadRequest(String);

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid IP address {}", self.0)
    }
}

impl std::error::Error for BadRequest {}
