//! What may be asked of the vlan plugin.

use anyhow::bail;
use cni_core::{Call, Dns};
use plugin_kit::link_options::{LinkOptions, Mtu};
use plugin_kit::single_interface;
use serde::Deserialize;

/// The largest VLAN ID; 4095 is reserved (IEEE 802.1Q, table 9-2).
const LAST_ID: u16 = 4094;

/// The configuration, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the link to stand on.
    pub master: String,
    /// VLAN ID, 0 to 4094. Frames with 0 belong to no VLAN and carry but a priority.
    pub id: u16,
    /// Master and interface are both found in the container.
    pub link_in_container: bool,
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
    vlan_id: i64,
    link_in_container: bool,
    mtu: Mtu,
}

impl Config {
    /// Decodes and validates the configuration of `call`.
    ///
    /// # Errors
    /// When something asked for is malformed, or a necessary key is missing.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        let loaded = single_interface::load::<Raw>(call, "failed to load netconf")?;
        let raw = loaded.own;
        if raw.master.is_empty() {
            bail!(
                "\"master\" field is required. It specifies the host interface name to create the VLAN for"
            );
        }
        let Some(id) = u16::try_from(raw.vlan_id).ok().filter(|id| *id <= LAST_ID) else {
            bail!(
                "invalid VLAN ID {} (must be between 0 and {LAST_ID} inclusive)",
                raw.vlan_id
            );
        };
        if call.ipam_type().is_none() {
            bail!("no plugin name provided: a vlan needs \"ipam\" with a \"type\"");
        }
        Ok(Config {
            master: raw.master,
            id,
            link_in_container: raw.link_in_container,
            mtu: raw.mtu,
            keys: loaded.keys,
            dns: loaded.common.dns,
        })
    }
}
