//! The bandwidth plugin: holds the traffic of a container to a rate, in each
//! direction. Runs behind the plugin that has made the container's interface.

mod config;
mod host_veth;
mod ifb;
mod shaper;
mod subnets;
mod token_bucket;

pub use config::Config;
pub use subnets::Subnets;

use anyhow::Context;
use cni_core::{AddResult, Call, Interface, Plugin, Version};
use plugin_kit::failures::Failures;
use plugin_kit::{Container, Undo};
use rtnl::{Handle, TcHandle};
use shaper::Shaper;

/// The plugin.
#[derive(Debug)]
pub struct Bandwidth;

impl Plugin for Bandwidth {
    fn name(&self) -> &'static str {
        "bandwidth"
    }

    /// Those that have chains.
    fn supported_versions(&self) -> &'static [Version] {
        Version::V0_3_0.starting_from()
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        let mut result = prev_result(call, "must be called as chained plugin")?;
        if config.is_idle() {
            return Ok(result);
        }
        let container = Container::open(call)?;
        let host = Handle::open()?;
        let veth = host_veth::find(call, &container, &host, &result)?;

        let mut undo = Undo::new();
        if let Some(shaper) = Shaper::ingress(&config) {
            shaper.install(&host, &veth, &mut undo)?;
        }
        if let Some(shaper) = Shaper::egress(&config) {
            let block = ifb::create(call, &host, &veth, queue_length(&shaper, &veth), &mut undo)?;
            shaper.install(&host, &block, &mut undo)?;
            ifb::open(call, &host, &block)?;
            ifb::redirect(&host, &veth, &block, &mut undo)?;
            result.interfaces.push(Interface {
                mac: block.mac_string(),
                name: block.name,
                ..Interface::default()
            });
        }
        undo.disarm();
        Ok(result)
    }

    /// Of the configuration nothing but `name` is needed, of the container its ID.
    fn del(&self, call: &Call) -> anyhow::Result<()> {
        let host = Handle::open()?;
        let deleted = ifb::delete_own(call, &host);
        let ifb = *deleted.as_ref().unwrap_or(&0);
        let mut failures = Failures::default();
        failures.add(deleted.map(drop));
        failures.add(clear_veth(call, &host, ifb));
        failures.result()
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        let result = prev_result(call, "must be called as a chained plugin")?;
        let container = Container::open(call)?;
        let host = Handle::open()?;
        let veth = host_veth::find(call, &container, &host, &result)?;
        if let Some(shaper) = Shaper::ingress(&config) {
            shaper.check(&host, &veth)?;
        }
        if let Some(shaper) = Shaper::egress(&config) {
            let block = ifb::check(call, &host, &veth)?;
            if let Some(recorded) = result.interfaces.iter().find(|i| i.name == block.name) {
                plugin_kit::check::mac(recorded, &block)?;
            }
            shaper.check(&host, &block)?;
        }
        Ok(())
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        match call.valid_attachments()? {
            Some(valid) => ifb::collect(call, &Handle::open()?, &valid),
            None => Ok(()),
        }
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        Config::load(call).map(drop)
    }
}

/// The result of the plugins in front; without one there is nothing to shape.
fn prev_result(call: &Call, missing: &'static str) -> anyhow::Result<AddResult> {
    call.prev_result()
        .context("could not parse prevResult")?
        .context(missing)
}

/// The length of the block's transmit queue: none, as upstream has it. The classes that
/// subnets need take theirs from it.
fn queue_length(shaper: &Shaper<'_>, veth: &rtnl::Link) -> u32 {
    const USUAL: u32 = 1000;
    match shaper.uses_link_queue() {
        true => veth.txqlen.max(USUAL),
        false => 0,
    }
}

/// Takes what ADD has made off the veth, in case that it lives on: packets would be
/// sent to a link that is gone. Where the container is gone, so is it.
fn clear_veth(call: &Call, host: &Handle, block: u32) -> anyhow::Result<()> {
    let Some(container) = Container::open_for_del(call)? else {
        return Ok(());
    };
    let Ok(veth) = host_veth::peer(call, &container, host) else {
        return Ok(());
    };
    if ifb::is_redirected(host, veth.index, block)? {
        ifb::remove_redirection(host, veth.index)?;
    }
    // A configuration that ADD refuses has made nothing.
    let config = Config::load(call).unwrap_or_default();
    if let Some(shaper) = Shaper::ingress(&config)
        && let Some(root) = host.qdisc(veth.index, TcHandle::ROOT)?
        && shaper.is_made_of(&root)
    {
        shaper::remove(host, veth.index)?;
    }
    Ok(())
}
