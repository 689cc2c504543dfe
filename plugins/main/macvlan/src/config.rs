//! Configuration of the macvlan plugin.

use anyhow::bail;
use cni_core::quote::quote;
use cni_core::{Call, Error};
use plugin_kit::single_interface::OnMaster;
use plugin_kit::{MacAddress, detailed};
use rtnl::{LinkKind, MacvlanMode};
use serde::Deserialize;

/// The configuration, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Master, MTU and DNS.
    pub link: OnMaster,
    /// Which of the links on one master may talk to each other.
    pub mode: MacvlanMode,
    /// Hardware address of the interface.
    pub mac: Option<MacAddress>,
    /// Length of the broadcast queue in packets.
    pub bc_queue_len: Option<u32>,
}

/// The plugin's own keys as they are written.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Raw {
    mode: String,
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
    /// Decodes and validates the configuration of `call`, including `CNI_ARGS`.
    ///
    /// # Errors
    /// When a value is malformed or unknown.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        let (link, raw) = OnMaster::load::<Raw>(call)?;
        Ok(Config {
            link,
            mode: mode(&raw.mode)?,
            mac: mac(call, &raw)?,
            bc_queue_len: (raw.bcqueuelen != 0).then_some(raw.bcqueuelen),
        })
    }

    pub(crate) fn kind(&self) -> LinkKind<'static> {
        LinkKind::Macvlan(rtnl::Macvlan {
            mode: Some(self.mode),
            bc_queue_len: self.bc_queue_len,
            ..rtnl::Macvlan::default()
        })
    }
}

fn mode(name: &str) -> anyhow::Result<MacvlanMode> {
    Ok(match name {
        "" | "bridge" => MacvlanMode::Bridge,
        "private" => MacvlanMode::Private,
        "vepa" => MacvlanMode::Vepa,
        "passthru" => MacvlanMode::Passthru,
        _ => {
            bail!(detailed(
                format!("unknown macvlan mode: {}", quote(name)),
                "use \"bridge\", \"private\", \"vepa\" or \"passthru\""
            ))
        }
    })
}

/// The name of a mode in configurations, see [`mode`].
pub(crate) fn mode_name(mode: MacvlanMode) -> &'static str {
    match mode {
        MacvlanMode::Private => "private",
        MacvlanMode::Vepa => "vepa",
        MacvlanMode::Bridge => "bridge",
        MacvlanMode::Passthru => "passthru",
        MacvlanMode::Source => "source",
    }
}

/// The hardware address: `runtimeConfig` has precedence over `CNI_ARGS`, and both over
/// the key `mac`.
fn mac(call: &Call, raw: &Raw) -> anyhow::Result<Option<MacAddress>> {
    let args = match call.args.is_empty() {
        true => None,
        false => Some(call.parse_args(&["MAC"])?),
    };
    let given = [
        raw.runtime_config.mac.as_str(),
        args.as_ref().and_then(|args| args.get("MAC")).unwrap_or(""),
        &raw.mac,
    ];
    let Some(text) = given.into_iter().find(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let mac = text.parse().map_err(|e: Error| {
        let msg = format!("invalid args {text} for MAC addr: {}", e.msg);
        Error::new(e.code, msg).with_details(e.details)
    })?;
    Ok(Some(mac))
}
