//! Configuration of the plugin.

use anyhow::{Context, bail};
use cni_core::args::Args;
use cni_core::cidr::{deserialize_optional_ip, parse_ip};
use cni_core::types::NetConf;
use cni_core::{Call, Cidr, Dns, IpConfig, Route, Version};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::io::Write;
use std::net::IpAddr;

/// The result of ADD.
#[derive(Debug)]
pub(crate) struct Config {
    /// The addresses, of the source with the highest precedence.
    pub(crate) ips: Vec<IpConfig>,
    /// Copied to the result.
    pub(crate) routes: Vec<Route>,
    /// Copied to the result.
    pub(crate) dns: Dns,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    ipam: Option<Ipam>,
    #[serde(default)]
    args: RawArgs,
    #[serde(default)]
    runtime_config: Ips,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ipam {
    addresses: Vec<Option<Address>>,
    routes: Vec<Route>,
    dns: Dns,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Address {
    address: String,
    /// Another field of upstream's structure, which its decoder fills and nothing reads.
    #[serde(rename = "Address")]
    _parsed: IgnoredAny,
    #[serde(deserialize_with = "deserialize_optional_ip")]
    gateway: Option<IpAddr>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawArgs {
    cni: Ips,
}

/// Addresses that the runtime requests.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Ips {
    ips: Vec<Option<String>>,
}

impl Config {
    /// Reads the configuration and everything that overrides it.
    ///
    /// # Errors
    /// When something is missing or malformed; the texts are upstream's.
    pub(crate) fn load(call: &Call) -> anyhow::Result<Config> {
        call.config::<NetConf>()?;
        let raw: Raw = call.config()?;
        let ipam = raw.ipam.context("IPAM config missing 'ipam' key")?;
        let args = match call.args.is_empty() {
            true => Args::default(),
            false => call.parse_args(&["IP", "GATEWAY"])?,
        };
        let appended = appended(args.get("IP").unwrap_or_default())?;
        let gateways = gateways(args.get("GATEWAY").unwrap_or_default())?;
        // Each of these two replaces all addresses and gateways before it, even addresses
        // that would have been refused.
        let mut replaced = None;
        for Ips { ips } in [raw.args.cni, raw.runtime_config] {
            if !ips.is_empty() {
                replaced = Some(replacement(&ips)?);
            }
        }
        let ips = match replaced {
            Some(ips) => ips,
            None => {
                let mut ips = configured(&ipam.addresses)?;
                ips.extend(appended);
                set_gateways(&mut ips, &gateways);
                ips
            }
        };
        if call.version < Version::V0_3_0 {
            let ipv4 = ips.iter().filter(|ip| ip.address.is_ipv4()).count();
            if ipv4 > 1 || ips.len() - ipv4 > 1 {
                bail!(
                    "CNI version {} does not support more than 1 address per family",
                    call.version
                );
            }
        }
        Ok(Config {
            ips,
            routes: ipam.routes,
            dns: ipam.dns,
        })
    }
}

/// `ipam.addresses`.
fn configured(addresses: &[Option<Address>]) -> anyhow::Result<Vec<IpConfig>> {
    let nothing = Address::default();
    addresses
        .iter()
        .map(|address| {
            let address = address.as_ref().unwrap_or(&nothing);
            Ok(IpConfig {
                gateway: address.gateway,
                ..ip(
                    "the 'address' field is expected to be in CIDR notation",
                    &address.address,
                )?
            })
        })
        .collect()
}

/// `IP` of `CNI_ARGS`, in addition to the configured addresses.
fn appended(items: &str) -> anyhow::Result<Vec<IpConfig>> {
    list(items)
        .map(|item| {
            ip(
                "the 'ip' field is expected to be in CIDR notation",
                item.trim(),
            )
        })
        .collect()
}

/// `GATEWAY` of `CNI_ARGS`.
fn gateways(items: &str) -> anyhow::Result<Vec<IpAddr>> {
    list(items)
        .map(|item| match parse_ip(item.trim()) {
            Ok(gateway) => Ok(gateway),
            Err(_) => bail!("invalid gateway address: {item}"),
        })
        .collect()
}

/// The items of a comma-separated list; an empty text has none.
fn list(items: &str) -> impl Iterator<Item = &str> {
    items.split(',').filter(move |_| !items.is_empty())
}

/// `args.cni.ips` and `runtimeConfig.ips`.
fn replacement(items: &[Option<String>]) -> anyhow::Result<Vec<IpConfig>> {
    let refusal = "an entry in the 'ips' field is NOT in CIDR notation";
    items
        .iter()
        .map(|item| ip(refusal, item.as_deref().unwrap_or_default()))
        .collect()
}

fn ip(refusal: &str, text: &str) -> anyhow::Result<IpConfig> {
    match text.parse::<Cidr>() {
        Ok(address) => Ok(IpConfig::new(address)),
        Err(_) => bail!("{refusal}, got: '{text}'"),
    }
}

/// Sets the gateway of each address to the one in its subnet, of several the last. A
/// configured gateway stays.
fn set_gateways(ips: &mut [IpConfig], gateways: &[IpAddr]) {
    let written: Vec<bool> = ips.iter().map(|ip| ip.gateway.is_some()).collect();
    for gateway in gateways {
        let mut used = false;
        for (ip, written) in ips.iter_mut().zip(&written) {
            if !written && ip.address.contains(*gateway) {
                ip.gateway = Some(*gateway);
                used = true;
            }
        }
        if !used {
            // A result has no place for warnings.
            let _ = writeln!(
                std::io::stderr(),
                "static: gateway {gateway} of CNI_ARGS is not used: no address without a \
                 gateway has it in its subnet"
            );
        }
    }
}
