//! What may be asked of the dummy plugin: nothing of its own.

use anyhow::bail;
use cni_core::Call;
use plugin_kit::link_options::LinkOptions;
use plugin_kit::single_interface;
use serde::Deserialize;

/// The configuration, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Settings of the link beyond upstream's.
    pub keys: LinkOptions,
}

/// The keys as they are written.
#[derive(Deserialize)]
struct Raw {}

impl Config {
    /// Decodes and validates the configuration of `call`.
    ///
    /// # Errors
    /// When a key has the wrong type, or there is no IPAM plugin: an interface that
    /// leads nowhere is of use for its addresses only.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        let loaded = single_interface::load::<Raw>(call, "failed to parse network config")?;
        if call.ipam_type().is_none() {
            bail!("dummy interface requires an IPAM configuration");
        }
        Ok(Config { keys: loaded.keys })
    }
}
