//! Configuration of the plugin, which has no keys of its own.

use anyhow::Context;
use cni_core::Call;
use cni_core::types::NetConf;

/// Validates the keys that every configuration has.
///
/// # Errors
/// When one has the wrong type.
pub(crate) fn validate(call: &Call) -> anyhow::Result<()> {
    call.config::<NetConf>()
        .context("failed to parse network config")?;
    Ok(())
}
