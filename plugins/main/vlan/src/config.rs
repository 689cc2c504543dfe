//! Configuration of the vlan plugin.

use anyhow::bail;
use cni_core::Call;
use plugin_kit::single_interface::OnMaster;
use plugin_kit::{Ipam, detailed};
use rtnl::LinkKind;
use serde::Deserialize;

/// The largest VLAN ID; 4095 is reserved (IEEE 802.1Q, table 9-2).
const LAST_ID: u16 = 4094;

/// The configuration, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Master, MTU and DNS.
    pub link: OnMaster,
    /// VLAN ID, 0 to 4094. A tag with ID 0 carries a priority only.
    pub id: u16,
}

/// The plugin's own keys as they are written.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Raw {
    vlan_id: i64,
}

impl Config {
    /// Decodes and validates the configuration of `call`.
    ///
    /// # Errors
    /// When a value is malformed, or a required key is missing.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        let (link, raw) = OnMaster::load::<Raw>(call)?;
        if link.master.is_empty() {
            bail!(
                "\"master\" field is required. It specifies the host interface name to create the VLAN for"
            );
        }
        let id = id(raw.vlan_id)?;
        Ipam::required(call)?;
        Ok(Config { link, id })
    }

    pub(crate) fn kind(&self) -> LinkKind<'static> {
        LinkKind::Vlan(rtnl::Vlan {
            id: self.id,
            protocol: None,
        })
    }
}

fn id(number: i64) -> anyhow::Result<u16> {
    let id = u16::try_from(number).ok().filter(|id| *id <= LAST_ID);
    id.ok_or_else(|| {
        // Upstream's text, though it refuses 4095 as well.
        detailed(
            format!("invalid VLAN ID {number} (must be between 0 and 4095 inclusive)"),
            format!("the largest VLAN ID is {LAST_ID}; 4095 is reserved (IEEE 802.1Q)"),
        )
    })
}
