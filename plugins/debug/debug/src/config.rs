//! The configuration of the debug plugin.

use std::path::PathBuf;

use cni_core::{Call, Command};
use serde::Deserialize;

/// The configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Config {
    /// The file to which calls are appended; empty for none.
    pub cni_output: PathBuf,
    /// Commands that ADD runs in the container's namespace.
    pub add_hooks: Vec<Hook>,
    /// Those of DEL.
    pub del_hooks: Vec<Hook>,
    /// Those of CHECK.
    pub check_hooks: Vec<Hook>,
}

/// A program and its arguments.
pub type Hook = Vec<String>;

impl Config {
    /// Decodes the configuration of `call`.
    ///
    /// # Errors
    /// When a value has the wrong type.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        Ok(call.config()?)
    }

    /// Returns the hooks of a verb.
    pub fn hooks(&self, command: Command) -> &[Hook] {
        match command {
            Command::Add => &self.add_hooks,
            Command::Del => &self.del_hooks,
            Command::Check => &self.check_hooks,
            Command::Gc | Command::Status | Command::Version => &[],
        }
    }
}
