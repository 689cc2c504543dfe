//! The `static` IPAM plugin: answers with the addresses, routes and name servers that
//! are written in the configuration or asked for by the runtime.
//!
//! It keeps no state, so two containers may be given one address: who writes
//! addresses down also sees to it that they differ.
//!
//! See `Documentation/plugins/static.md` for the configuration.

mod check;
mod config;

use cni_core::{AddResult, Call, Plugin};
use config::Config;

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Static;

impl Plugin for Static {
    fn name(&self) -> &'static str {
        "static"
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        Ok(AddResult {
            ips: config.ips,
            routes: config.routes,
            dns: config.dns,
            ..AddResult::default()
        })
    }

    /// Nothing was allocated, so nothing is released, and no configuration is too
    /// broken for that.
    fn del(&self, _: &Call) -> anyhow::Result<()> {
        Ok(())
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        check::run(call, &Config::load(call)?)
    }

    fn gc(&self, _: &Call) -> anyhow::Result<()> {
        Ok(())
    }

    /// Ready unless the configuration would be refused by ADD.
    fn status(&self, call: &Call) -> anyhow::Result<()> {
        Config::load(call).map(drop)
    }
}
