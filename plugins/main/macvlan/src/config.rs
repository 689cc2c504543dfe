//! What may be asked of the macvlan plugin.

use anyhow::{anyhow, bail};
use cni_core::quote::quote;
use cni_core::{Call, Dns};
use plugin_kit::link_options::{LinkOptions, Mtu};
use plugin_kit::{MacAddress, single_interface};
use rtnl::MacvlanMode;
use serde::Deserialize;

/// The configuration, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the link to stand on; empty means that of the default route.
    pub master: String,
    /// Master and interface are both found in the container.
    pub link_in_container: bool,
    /// Who may talk to whom among the links of one master.
    pub mode: MacvlanMode,
    /// MTU of the interface.
    pub mtu: Mtu,
    /// Hardware address of the interface.
    pub mac: Option<MacAddress>,
    /// Length of the broadcast queue in packets.
    pub bc_queue_len: Option<u32>,
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
    mac: String,
    bcqueuelen: u32,
    runtime_config: RuntimeConfig,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RuntimeConfig {
    mac: String,
}

impl Config {
    /// Decodes and validates the configuration of `call`, `CNI_ARGS` included.
    ///
    /// # Errors
    /// When something asked for is malformed or unknown.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        let loaded = single_interface::load::<Raw>(call, "failed to load netconf")?;
        let raw = loaded.own;
        Ok(Config {
            mode: mode(&raw.mode)?,
            mac: mac(call, &raw)?,
            master: raw.master,
            link_in_container: raw.link_in_container,
            mtu: raw.mtu,
            bc_queue_len: (raw.bcqueuelen != 0).then_some(raw.bcqueuelen),
            keys: loaded.keys,
            dns: loaded.common.dns,
        })
    }
}

fn mode(name: &str) -> anyhow::Result<MacvlanMode> {
    Ok(match name {
        "" | "bridge" => MacvlanMode::Bridge,
        "private" => MacvlanMode::Private,
        "vepa" => MacvlanMode::Vepa,
        "passthru" => MacvlanMode::Passthru,
        _ => bail!(
            "unknown macvlan mode: {}: it must be \"bridge\", \"private\", \"vepa\" or \"passthru\"",
            quote(name)
        ),
    })
}

/// The name that [`mode`] knows a mode by.
pub(crate) fn mode_name(mode: MacvlanMode) -> &'static str {
    match mode {
        MacvlanMode::Private => "private",
        MacvlanMode::Vepa => "vepa",
        MacvlanMode::Bridge => "bridge",
        MacvlanMode::Passthru => "passthru",
        MacvlanMode::Source => "source",
    }
}

/// The runtime's word counts most, then that of `CNI_ARGS`, then the key `mac`.
fn mac(call: &Call, raw: &Raw) -> anyhow::Result<Option<MacAddress>> {
    let args = match call.args.is_empty() {
        true => None,
        false => Some(call.parse_args(&["MAC"])?),
    };
    let by_args = args.as_ref().and_then(|args| args.get("MAC"));
    let given = [
        raw.runtime_config.mac.as_str(),
        by_args.unwrap_or(""),
        &raw.mac,
    ];
    let Some(text) = given.into_iter().find(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let mac = text.parse();
    mac.map(Some)
        .map_err(|e: cni_core::Error| anyhow!("invalid args {text} for MAC addr: {e}"))
}
