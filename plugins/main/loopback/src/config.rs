//! What may be asked of the loopback plugin: nothing of its own.

use anyhow::Context;
use cni_core::Call;
use cni_core::types::NetConf;

/// Tests the form of the keys that every configuration has.
///
/// # Errors
/// When one has the wrong type.
pub(crate) fn validate(call: &Call) -> anyhow::Result<()> {
    call.config::<NetConf>()
        .context("failed to parse network config")?;
    Ok(())
}
