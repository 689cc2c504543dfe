//! The configuration of the sbr plugin.

use anyhow::{Context, bail};
use cni_core::Call;
use cni_core::cidr::parse_ip;
use rtnl::Family;
use serde::Deserialize;
use std::net::IpAddr;

/// The configuration, validated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The table for all addresses, which others fill.
    pub table: Option<u32>,
    /// Gateways that replace those of the result, at most one per family.
    pub gateways: Vec<IpAddr>,
    /// Whether connected networks stay in the main table with a preferred source.
    pub add_source_hints: bool,
}

/// The JSON keys.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Raw {
    table: Option<i64>,
    gateways: Vec<String>,
    add_source_hints: bool,
}

impl Config {
    /// Decodes and validates the configuration of `call`.
    ///
    /// # Errors
    /// When a value is malformed or out of range.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        let raw: Raw = call
            .config()
            .context("failed to parse network configuration")?;
        Ok(Config {
            table: raw.table.map(table).transpose()?,
            gateways: gateways(&raw.gateways)?,
            add_source_hints: raw.add_source_hints,
        })
    }
}

fn table(number: i64) -> anyhow::Result<u32> {
    match u32::try_from(number) {
        // The kernel reads 0 as unspecified.
        Ok(0) | Err(_) => bail!("invalid table {number}, must be [1, {}]", u32::MAX),
        Ok(table) => Ok(table),
    }
}

fn gateways(texts: &[String]) -> anyhow::Result<Vec<IpAddr>> {
    if texts.len() > 2 {
        bail!("gateways list cannot contain more than 2 entries (one IPv4, one IPv6)");
    }
    let mut gateways: Vec<IpAddr> = Vec::new();
    for text in texts {
        let Ok(gateway) = parse_ip(text) else {
            bail!("invalid static gateway IP address: {text}");
        };
        let family = Family::of(gateway);
        if let Some(other) = gateways.iter().find(|other| Family::of(**other) == family) {
            let name = if gateway.is_ipv4() { "IPv4" } else { "IPv6" };
            bail!("gateways list contains multiple {name} addresses: {other} and {gateway}");
        }
        gateways.push(gateway);
    }
    Ok(gateways)
}
