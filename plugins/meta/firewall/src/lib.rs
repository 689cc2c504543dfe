//! The firewall plugin: lets the traffic of a container through the host's packet
//! filter, and keeps containers of other bridges away from it if asked to.

mod attachment;
mod cleaning;
mod config;
mod iptables;
mod nftables;
mod record;
mod serving;

pub use config::{Backend, Config, Policy};

use attachment::{Attachment, required_result};
use cni_core::{AddResult, Call, Plugin, Version};
use plugin_kit::single_interface::not_available;
use serving::Server;

/// The plugin.
#[derive(Debug)]
pub struct Firewall;

impl Plugin for Firewall {
    fn name(&self) -> &'static str {
        "firewall"
    }

    fn supported_versions(&self) -> &'static [Version] {
        Version::V0_4_0.starting_from()
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        let result = required_result(call)?;
        let attachment = Attachment::of(call, &config, &result)?;
        // Without an address there is nothing to let through, or to keep out.
        if !attachment.addresses.is_empty() {
            serving::serve(&config, &attachment)?;
        }
        Ok(result)
    }

    fn del(&self, call: &Call) -> anyhow::Result<()> {
        cleaning::del(call)
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        let result = required_result(call)?;
        let attachment = Attachment::of(call, &config, &result)?;
        if attachment.addresses.is_empty() {
            return Ok(());
        }
        Server::of_existing(&config, &attachment)?.check(&config, &attachment)
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        cleaning::gc(call)
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        serving::status(&config, call).map_err(not_available)
    }
}
