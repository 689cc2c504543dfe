//! The debug plugin: appends its calls to a file and runs commands in the container's namespace, between the plugins of
//! a chain.

mod config;
mod hooks;
mod log;

pub use config::{Config, Hook};

use cni_core::{AddResult, Call, Plugin};

/// The plugin.
#[derive(Debug)]
pub struct Debug;

impl Plugin for Debug {
    fn name(&self) -> &'static str {
        "debug"
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        // Before anything is written: a result that cannot be passed on must not leave an entry of a successful ADD.
        let result = call.prev_result()?.unwrap_or_default();
        observe(call)?;
        Ok(result)
    }

    fn del(&self, call: &Call) -> anyhow::Result<()> {
        observe(call)
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        observe(call)
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        observe(call)
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        observe(call)
    }
}

/// Writes the call down and runs the hooks of its verb.
fn observe(call: &Call) -> anyhow::Result<()> {
    let config = Config::load(call)?;
    log::append(&config.cni_output, call)?;
    hooks::run(call, config.hooks(call.command));
    Ok(())
}
