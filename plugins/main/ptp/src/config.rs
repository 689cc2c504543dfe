//! The configuration of the ptp plugin.

use cni_core::{Call, Dns};
use plugin_kit::dns::OwnDns;
use plugin_kit::link_options::{LinkOptions, Mtu};
use plugin_kit::{Masquerade, single_interface};
use serde::Deserialize;

/// The configuration, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// MTU of both veth ends. Upstream takes a negative one for none.
    pub mtu: Mtu,
    /// Further options of both veth ends.
    pub link_options: LinkOptions,
    /// Packets of containers to other networks get an address of the host as their source.
    pub masquerade: Option<Masquerade>,
    /// Replaces the DNS settings of the IPAM result if one of its members is given, be it an
    /// empty list.
    pub dns: Option<Dns>,
    /// CHECK puts back what is missing on the host before it compares.
    pub repair: bool,
}

/// The keys, before validation.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    mtu: Mtu,
    #[serde(default)]
    dns: OwnDns,
    #[serde(default)]
    repair: bool,
}

impl Config {
    /// Decodes and validates the configuration of `call`.
    ///
    /// # Errors
    /// When something asked for is malformed.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        let loaded = single_interface::load::<Raw>(call, "failed to load netconf")?;
        let raw = loaded.own;
        Ok(Config {
            mtu: raw.mtu.non_negative().in_range()?,
            link_options: loaded.options,
            masquerade: Masquerade::load(call, "failed to load netconf")?,
            dns: raw.dns.given(),
            repair: raw.repair,
        })
    }
}
