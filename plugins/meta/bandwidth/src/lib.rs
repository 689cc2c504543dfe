//! The bandwidth plugin: limits the rate of a container's traffic in each direction.
//! It runs after the plugin that creates the container's interface.

mod config;
mod host_veth;
mod ifb;
mod shaper;
mod subnets;
mod token_bucket;

pub use config::Config;
pub use subnets::Subnets;

use anyhow::Context;
use cni_core::confine::Needs;
use cni_core::{AddResult, Call, Command, Interface, Plugin, Version};
use plugin_kit::deletion;
use plugin_kit::failures::Failures;
use plugin_kit::{Container, Undo, released, status};
use rtnl::{Handle, Link, TcHandle};
use shaper::Shaper;

/// The plugin.
#[derive(Debug)]
pub struct Bandwidth;

impl Plugin for Bandwidth {
    fn name(&self) -> &'static str {
        "bandwidth"
    }

    fn needs(&self, call: &Call) -> Option<Needs> {
        // For psched. The kernel makes a new inode for each look-up below this directory.
        let needs = Needs::network().read("/proc/self/net");
        Some(match call.command {
            Command::Gc => needs.read("/run/cni"),
            _ => needs,
        })
    }

    /// The versions with plugin chains.
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
        if let Some(ifb) = shape(call, &config, &host, &veth, &mut undo)? {
            result.interfaces.push(Interface {
                mac: ifb.mac_string(),
                name: ifb.name,
                ..Interface::default()
            });
        }
        undo.disarm();
        Ok(result)
    }

    /// Needs only the network's name and the container ID.
    fn del(&self, call: &Call) -> anyhow::Result<()> {
        let host = Handle::open()?;
        let mut failures = Failures::default();
        let ifb = failures.add(ifb::find(call, &host)).flatten();
        let deletion = deletion::begin_on_host(&host, ifb.as_slice());
        let cleared = clear_veth(call, &host, ifb.unwrap_or(0));
        failures.add(cleared.or_else(unless_gone));
        failures.add(ifb::finish(deletion, call));
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
            let ifb = ifb::check(call, &host, &veth)?;
            if let Some(recorded) = result.interfaces.iter().find(|i| i.name == ifb.name) {
                plugin_kit::check::mac(recorded, &ifb)?;
            }
            shaper.check(&host, &ifb)?;
        }
        Ok(())
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        let mut failures = Failures::default();
        failures.add(ifb::collect(call));
        failures.add(released::del_each(call, |del| self.del(del)));
        failures.result()
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        if config.is_idle() {
            return Ok(());
        }
        status::trial_container()?
            .run(|| try_out(call, &config))?
            .map_err(status::not_available)
    }
}

/// Shapes the traffic of the container behind `veth`. Returns the ifb if there is one.
fn shape<'h>(
    call: &Call,
    config: &Config,
    host: &'h Handle,
    veth: &Link,
    undo: &mut Undo<'h>,
) -> anyhow::Result<Option<Link>> {
    if let Some(shaper) = Shaper::ingress(config) {
        shaper.install(host, veth, undo)?;
    }
    let Some(shaper) = Shaper::egress(config) else {
        return Ok(None);
    };
    let ifb = ifb::create(call, host, veth, queue_length(&shaper, veth), undo)?;
    shaper.install(host, &ifb, undo)?;
    ifb::set_up(host, &ifb)?;
    ifb::redirect(host, veth, &ifb, undo)?;
    Ok(Some(ifb))
}

/// STATUS: shapes the loopback interface of the calling thread's namespace, which ends
/// afterwards.
fn try_out(call: &Call, config: &Config) -> anyhow::Result<()> {
    let host = Handle::open()?;
    let link = host.link_by_name("lo")?;
    let mut undo = Undo::new();
    let shaped = shape(call, config, &host, &link, &mut undo);
    undo.disarm();
    shaped.map(drop)
}

/// The result of the previous plugins, or the error `missing`.
fn prev_result(call: &Call, missing: &'static str) -> anyhow::Result<AddResult> {
    call.prev_result()
        .context("could not parse prevResult")?
        .context(missing)
}

/// Transmit queue length of the ifb: 0, as upstream's, unless it has classes, whose
/// queues have this length.
fn queue_length(shaper: &Shaper<'_>, veth: &Link) -> u32 {
    const USUAL: u32 = 1000;
    match shaper.uses_link_queue() {
        true => veth.txqlen.max(USUAL),
        false => 0,
    }
}

/// Accepts that the veth pair vanished after it was found: its deletion, which another DEL
/// began before it was killed, may still be under way.
fn unless_gone(error: anyhow::Error) -> anyhow::Result<()> {
    let is_gone = error.downcast_ref().is_some_and(rtnl::Error::is_not_found);
    if is_gone { Ok(()) } else { Err(error) }
}

/// Deletes the qdiscs of ADD from the veth in case it is kept: its packets would be
/// redirected to a deleted link. If the container is gone, so is the veth.
fn clear_veth(call: &Call, host: &Handle, ifb: u32) -> anyhow::Result<()> {
    let Some(container) = Container::open_for_del(call)? else {
        return Ok(());
    };
    let Ok(veth) = host_veth::peer(call, &container, host) else {
        return Ok(());
    };
    if ifb::is_redirected(host, veth.index, ifb)? {
        ifb::remove_redirection(host, veth.index)?;
    }
    // With an invalid configuration, ADD cannot have succeeded.
    let config = Config::load(call).unwrap_or_default();
    if let Some(shaper) = Shaper::ingress(&config)
        && let Some(root) = host.qdisc(veth.index, TcHandle::ROOT)?
        && shaper.is_made_of(&root)
    {
        shaper::remove(host, veth.index)?;
    }
    Ok(())
}
