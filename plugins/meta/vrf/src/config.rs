//! Configuration of the vrf plugin.

use anyhow::{Context, bail};
use cni_core::Call;
use cni_core::skel::validate_if_name;
use plugin_kit::detailed;
use rtnl::{RT_TABLE_DEFAULT, RT_TABLE_LOCAL, RT_TABLE_MAIN};
use serde::Deserialize;

/// The configuration, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The VRF's name.
    pub vrf: String,
    /// The VRF's routing table; `None` means a free one.
    pub table: Option<u32>,
}

/// The keys as they are written.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    vrfname: String,
    table: u32,
}

/// The only key that DEL reads.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Name {
    vrfname: String,
}

impl Config {
    /// Decodes and validates the configuration of `call`.
    ///
    /// # Errors
    /// When a value is malformed or out of range, or names a table of the kernel.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        let raw: Raw = call.config().context("failed to load netconf")?;
        validate_name(&raw.vrfname, &call.if_name)?;
        if is_reserved(raw.table) {
            bail!(
                "invalid table {}: the kernel uses it for {}; set another one, or none for a free one",
                raw.table,
                match raw.table {
                    RT_TABLE_LOCAL => "local addresses",
                    RT_TABLE_MAIN => "routes outside of VRFs",
                    _ => "default routes",
                }
            );
        }
        Ok(Config {
            vrf: raw.vrfname,
            table: (raw.table != 0).then_some(raw.table),
        })
    }
}

fn validate_name(name: &str, if_name: &str) -> anyhow::Result<()> {
    let details = match validate_if_name(name) {
        _ if name.is_empty() => String::new(),
        _ if name == if_name => format!("{name} is the interface's name"),
        Ok(()) => return Ok(()),
        Err(e) => e.to_string(),
    };
    bail!(detailed(
        "configuration is expected to have a valid vrf name",
        details
    ))
}

/// The VRF's name, if there is one. DEL reads nothing else, so that no other malformed
/// key makes it fail.
pub(crate) fn name(call: &Call) -> Option<String> {
    let name: Name = call.config().ok()?;
    (!name.vrfname.is_empty()).then_some(name.vrfname)
}

/// Whether the kernel uses the table itself.
pub(crate) fn is_reserved(table: u32) -> bool {
    matches!(table, RT_TABLE_DEFAULT | RT_TABLE_MAIN | RT_TABLE_LOCAL)
}
