//! Configuration of the ipvlan plugin.

use anyhow::bail;
use cni_core::quote::quote;
use cni_core::{AddResult, Call};
use plugin_kit::detailed;
use plugin_kit::single_interface::OnMaster;
use rtnl::{IpvlanFlag, IpvlanMode, LinkKind};
use serde::Deserialize;

/// The configuration, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Master, MTU and DNS. Where the master's name is empty, see `master_after`.
    pub link: OnMaster,
    /// The layer on which the master forwards between its ipvlan links.
    pub mode: IpvlanMode,
}

/// The plugin's own keys as they are written.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    mode: String,
}

impl Config {
    /// Decodes and validates the configuration of `call`.
    ///
    /// # Errors
    /// When a value is malformed or unknown.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        let (mut link, raw) = OnMaster::load::<Raw>(call)?;
        // Unlike macvlan and vlan, upstream's ipvlan ignores a negative MTU.
        link.mtu = link.mtu.non_negative();
        Ok(Config {
            link,
            mode: mode(&raw.mode)?,
        })
    }

    pub(crate) fn kind(&self) -> LinkKind<'static> {
        LinkKind::Ipvlan(rtnl::Ipvlan {
            mode: Some(self.mode),
            flag: Some(IpvlanFlag::Bridge),
        })
    }

    /// The master's name: the configured one, else that of the only interface of the
    /// plugin before this one. Empty, which means the link of the default route, if this
    /// plugin is the first of its chain.
    ///
    /// # Errors
    /// When `previous` has no interface, an unnamed one, or several.
    pub(crate) fn master_after<'s>(
        &'s self,
        previous: Option<&'s AddResult>,
    ) -> anyhow::Result<&'s str> {
        let Some(previous) = previous.filter(|_| self.link.master.is_empty()) else {
            return Ok(&self.link.master);
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
        _ => bail!(detailed(
            format!("unknown ipvlan mode: {}", quote(name)),
            "use \"l2\", \"l3\" or \"l3s\""
        )),
    })
}

/// The name of a mode in configurations, see [`mode`].
pub(crate) fn mode_name(mode: IpvlanMode) -> &'static str {
    match mode {
        IpvlanMode::L2 => "l2",
        IpvlanMode::L3 => "l3",
        IpvlanMode::L3s => "l3s",
    }
}
