//! What may be asked of the ipvlan plugin.

use anyhow::bail;
use cni_core::quote::quote;
use cni_core::{AddResult, Call, Dns};
use plugin_kit::link_options::{LinkOptions, Mtu};
use plugin_kit::single_interface;
use rtnl::IpvlanMode;
use serde::Deserialize;

/// The configuration, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the link to stand on; empty means another's, see
    /// `master_after`.
    pub master: String,
    /// Master and interface are both found in the container.
    pub link_in_container: bool,
    /// On which layer the master switches between its ipvlan links.
    pub mode: IpvlanMode,
    /// MTU of the interface.
    pub mtu: Mtu,
    /// Settings of the link beyond upstream's.
    pub keys: LinkOptions,
    /// Name service of the result, whatever IPAM says.
    pub dns: Dns,
}

/// The keys as they are written.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Raw {
    master: String,
    link_in_container: bool,
    mode: String,
    mtu: Mtu,
}

impl Config {
    /// Decodes and validates the configuration of `call`.
    ///
    /// # Errors
    /// When something asked for is malformed or unknown.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        let loaded = single_interface::load::<Raw>(call, "failed to load netconf")?;
        let raw = loaded.own;
        Ok(Config {
            mode: mode(&raw.mode)?,
            master: raw.master,
            link_in_container: raw.link_in_container,
            // Unlike its siblings it takes a negative number for none.
            mtu: match raw.mtu {
                Mtu::Bytes(bytes) => Mtu::Bytes(bytes.max(0)),
                Mtu::Auto => Mtu::Auto,
            },
            keys: loaded.keys,
            dns: loaded.common.dns,
        })
    }

    /// The name of the link to stand on: the configured one, else the only
    /// interface of the plugin before this one. Empty, the default route's, if this
    /// is the first of its chain.
    ///
    /// # Errors
    /// When `previous` has no interface, an unnamed one, or several.
    pub(crate) fn master_after<'s>(
        &'s self,
        previous: Option<&'s AddResult>,
    ) -> anyhow::Result<&'s str> {
        let Some(previous) = previous.filter(|_| self.master.is_empty()) else {
            return Ok(&self.master);
        };
        match previous.interfaces.as_slice() {
            [only] if !only.name.is_empty() => Ok(&only.name),
            _ => bail!("chained master failure. PrevResult lacks a single named interface"),
        }
    }
}

fn mode(name: &str) -> anyhow::Result<IpvlanMode> {
    Ok(match name {
        "" | "l2" => IpvlanMode::L2,
        "l3" => IpvlanMode::L3,
        "l3s" => IpvlanMode::L3s,
        _ => bail!(
            "unknown ipvlan mode: {}: it must be \"l2\", \"l3\" or \"l3s\"",
            quote(name)
        ),
    })
}

/// The name that [`mode`] knows a mode by.
pub(crate) fn mode_name(mode: IpvlanMode) -> &'static str {
    match mode {
        IpvlanMode::L2 => "l2",
        IpvlanMode::L3 => "l3",
        IpvlanMode::L3s => "l3s",
    }
}
