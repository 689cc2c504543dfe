//! What may be asked of the vrf plugin.

use anyhow::{Context, bail};
use cni_core::Call;
use cni_core::skel::validate_if_name;
use rtnl::{RT_TABLE_DEFAULT, RT_TABLE_LOCAL, RT_TABLE_MAIN};
use serde::Deserialize;

/// The configuration, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The VRF's name.
    pub vrf: String,
    /// Its routing table; `None` leaves the choice to the plugin.
    pub table: Option<u32>,
}

/// The keys as they are written.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    vrfname: String,
    table: u32,
}

/// The one key that DEL looks at.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Name {
    vrfname: String,
}

impl Config {
    /// Decodes and validates the configuration of `call`.
    ///
    /// # Errors
    /// When something asked for is malformed, out of range, or the kernel's own.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        let raw: Raw = call.config().context("failed to load netconf")?;
        if raw.vrfname.is_empty() {
            bail!("configuration is expected to have a valid vrf name");
        }
        if let Err(e) = validate_if_name(&raw.vrfname) {
            bail!("configuration is expected to have a valid vrf name: {e}");
        }
        if raw.vrfname == call.if_name {
            bail!(
                "configuration is expected to have a valid vrf name: {} is the interface's",
                raw.vrfname
            );
        }
        if is_reserved(raw.table) {
            bail!(
                "invalid table {}: the kernel uses it for {}; take another one, or none for a free one",
                raw.table,
                match raw.table {
                    RT_TABLE_LOCAL => "its own addresses",
                    RT_TABLE_MAIN => "everything outside of a VRF",
                    _ => "what no other table has",
                }
            );
        }
        Ok(Config {
            vrf: raw.vrfname,
            table: (raw.table != 0).then_some(raw.table),
        })
    }
}

/// The VRF's name, if there is one: DEL needs nothing else, so nothing else can stand in
/// its way.
pub(crate) fn name(call: &Call) -> Option<String> {
    let name: Name = call.config().ok()?;
    (!name.vrfname.is_empty()).then_some(name.vrfname)
}

/// Tables that are the kernel's.
pub(crate) fn is_reserved(table: u32) -> bool {
    matches!(table, RT_TABLE_DEFAULT | RT_TABLE_MAIN | RT_TABLE_LOCAL)
}
