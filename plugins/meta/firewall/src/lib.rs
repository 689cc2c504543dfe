//! The firewall plugin: accepts a container's traffic in the host's packet filter, and
//! isolates containers of different bridges from each other.

mod attachment;
mod backend;
mod config;
mod iptables;
mod nftables;
mod record;
mod teardown;

pub use config::{Backend, Config, Policy};

use attachment::{Attachment, required_result};
use backend::Chosen;
use cni_core::confine::Needs;
use cni_core::{AddResult, Call, Plugin, Version};
use cni_state::Lock;
use plugin_kit::failures::Failures;
use plugin_kit::released;
use plugin_kit::status::not_available_unless;

/// The plugin.
#[derive(Debug)]
pub struct Firewall;

impl Plugin for Firewall {
    fn name(&self) -> &'static str {
        "firewall"
    }

    fn needs(&self, call: &Call) -> Option<Needs> {
        Some(backend::needs(call))
    }

    fn supported_versions(&self) -> &'static [Version] {
        Version::V0_4_0.starting_from()
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        let result = required_result(call)?;
        let attachment = Attachment::of(call, &config, &result)?;
        // Without addresses there is nothing to accept or to isolate.
        if !attachment.addresses.is_empty() {
            backend::add(&config, &attachment)?;
        }
        Ok(result)
    }

    fn del(&self, call: &Call) -> anyhow::Result<()> {
        let outcome = teardown::del(call);
        // An ADD that was killed leaves locks of addresses that are on no record.
        Lock::sweep();
        outcome
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        let result = required_result(call)?;
        let attachment = Attachment::of(call, &config, &result)?;
        if attachment.addresses.is_empty() {
            return Ok(());
        }
        Chosen::for_check(&config, &attachment)?.check(&config, &attachment)
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        let mut failures = Failures::default();
        failures.add(teardown::gc(call));
        failures.add(released::del_each(call, teardown::del));
        Lock::sweep();
        failures.result()
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        let way_out = "install iptables, load the kernel module nf_tables, or start firewalld, \
                       as \"backend\" demands";
        backend::status(&config, call).map_err(|e| not_available_unless(e, way_out))
    }
}
