//! What may be asked of the ptp plugin.

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
    /// Further properties of both veth ends.
    pub link_options: LinkOptions,
    /// What containers send beyond their networks gets an address of the host's.
    pub masquerade: Option<Masquerade>,
    /// Replaces the IPAM result's name service when a member is given, an empty
    /// list included.
    pub dns: Option<Dns>,
}

/// The keys as they are written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    mtu: Mtu,
    #[serde(default)]
    dns: OwnDns,
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
        })
    }
}
