//! The configuration of the sample plugin.

use anyhow::Context;
use cni_core::{Call, Code, Error};
use serde::Deserialize;

/// The configuration, validated.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Config {
    /// An optional switch.
    pub my_awesome_flag: bool,
    /// An argument that must not be empty.
    pub another_awesome_arg: String,
    /// Values of capabilities.
    pub runtime_config: RuntimeConfig,
}

/// What the runtime passes for each attachment, if the configuration asks for it by `"capabilities": {"sample": true}`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RuntimeConfig {
    /// The value of the capability `sample`.
    pub sample: std::collections::BTreeMap<String, String>,
}

impl Config {
    /// Decodes and validates the configuration of `call`.
    ///
    /// # Errors
    /// When a value has the wrong type, or the mandatory argument is missing.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        let config: Config = call
            .config()
            .context("failed to parse network configuration")?;
        if config.another_awesome_arg.is_empty() {
            return Err(Error::new(
                Code::INVALID_NETWORK_CONFIG,
                "anotherAwesomeArg must be specified",
            )
            .into());
        }
        Ok(config)
    }
}
