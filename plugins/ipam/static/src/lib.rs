//! The `static` IPAM plugin: returns the addresses, routes and name servers of the
//! configuration or of the runtime.
//!
//! It keeps no state, so two containers may get the same address. The administrator has
//! to keep addresses unique.
//!
//! See `Documentation/plugins/static.md` for the configuration.

mod check;
mod config;

use cni_core::confine::Needs;
use cni_core::{AddResult, Call, Plugin};
use config::Config;

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Static;

impl Plugin for Static {
    fn name(&self) -> &'static str {
        "static"
    }

    fn needs(&self, _: &Call) -> Option<Needs> {
        Some(Needs::none())
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

    /// Nothing was allocated, so there is nothing to release, whatever the configuration.
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
