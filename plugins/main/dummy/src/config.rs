//! Configuration of the dummy plugin, which has no keys of its own.

use anyhow::bail;
use cni_core::Call;
use plugin_kit::link_options::LinkOptions;
use plugin_kit::single_interface;
use serde::de::IgnoredAny;

/// The configuration, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Link settings beyond upstream's.
    pub options: LinkOptions,
}

impl Config {
    /// Decodes and validates the configuration of `call`.
    ///
    /// # Errors
    /// When a key has the wrong type, or there is no IPAM plugin.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        let loaded = single_interface::load::<IgnoredAny>(call, "failed to parse network config")?;
        if call.ipam_type().is_none() {
            bail!("dummy interface requires an IPAM configuration");
        }
        Ok(Config {
            options: loaded.options,
        })
    }
}
