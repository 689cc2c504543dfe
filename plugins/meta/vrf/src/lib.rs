//! The vrf plugin: makes the interface a member of a VRF of the container, and preserves
//! its addresses and routes.

mod check;
mod config;
mod enslave;
mod vrf_link;

pub use config::Config;

use anyhow::{Context, anyhow, bail};
use cni_core::confine::Needs;
use cni_core::{AddResult, Call, Plugin, Version};
use enslave::InterfaceState;
use plugin_kit::{Container, Undo, chain, status};
use rtnl::{Handle, Link, RT_TABLE_MAIN};
use vrf_link::VrfLink;

/// The plugin.
#[derive(Debug)]
pub struct Vrf;

impl Plugin for Vrf {
    fn name(&self) -> &'static str {
        "vrf"
    }

    fn needs(&self, _: &Call) -> Option<Needs> {
        Some(Needs::network())
    }

    /// Older results cannot be passed along a chain.
    fn supported_versions(&self) -> &'static [Version] {
        Version::V0_3_1.starting_from()
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        let result = previous(call)?;
        let container = Container::open(call)?;
        let _lock = chain::lock(&container)?;
        enslave(call, &config, &container).context("cmdAdd failed")?;
        Ok(result)
    }

    fn del(&self, call: &Call) -> anyhow::Result<()> {
        // Everything is deleted with the namespace.
        let Some(container) = Container::open_for_del(call)? else {
            return Ok(());
        };
        let _lock = chain::lock(&container)?;
        let handle = &container.rtnl;
        let link = match handle.link_by_name(&call.if_name) {
            Ok(link) => Some(link),
            Err(e) if e.is_not_found() => None,
            Err(e) => return Err(anyhow!(e).context("could not get the interface")),
        };
        let Some(vrf) = find_for_del(handle, call, link.as_ref())? else {
            return Ok(());
        };
        // Another master was not set by this plugin.
        let member = link.filter(|link| link.master == Some(vrf.link.index));
        let released = member.map_or(Ok(()), |link| release(&container, &link, &vrf));
        released.and(vrf.delete_if_unused(&container))
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        let result = previous(call)?;
        check::run(call, &Container::open(call)?, &config, &result)
    }

    fn gc(&self, _call: &Call) -> anyhow::Result<()> {
        // Everything is deleted with the container's namespace.
        Ok(())
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        Config::load(call)?;
        status::require_link_kinds(&Handle::open()?, &["vrf"])
    }
}

fn previous(call: &Call) -> anyhow::Result<AddResult> {
    call.prev_result()?
        .context("missing prevResult from earlier plugin")
}

/// Makes the interface a member of the VRF.
fn enslave(call: &Call, config: &Config, container: &Container) -> anyhow::Result<()> {
    let handle = &container.rtnl;
    let name = &call.if_name;
    let link = handle
        .link_by_name(name)
        .with_context(|| format!("could not get link by name {name}"))?;
    if let Some(vrf) = VrfLink::find(handle, &config.vrf)? {
        let vrf = vrf.require_table(config)?;
        if link.master == Some(vrf.link.index) {
            // An earlier ADD did it.
            return Ok(());
        }
    }
    if let Some(master) = link.master {
        let master = handle.link_by_index(master).map(|master| master.name);
        bail!(
            "interface {name} has already a master set: {}",
            master.unwrap_or_default()
        );
    }
    let mut undo = Undo::new();
    let vrf = VrfLink::ensure(container, config, &mut undo)?;
    let before = InterfaceState::of(handle, &link)?;
    let after = before.with_routes_moved(RT_TABLE_MAIN, vrf.table);
    let index = link.index;
    undo.push("take the interface out of the VRF", move || {
        let link = container.rtnl.link_by_index(index)?;
        before.change_master(container, &link, 0, "could not reset master")
    });
    let what = format!("could not set vrf {} as master of {name}", config.vrf);
    after.change_master(container, &link, vrf.link.index, &what)?;
    undo.disarm();
    Ok(())
}

/// The VRF that DEL takes the interface out of: the configured one, else its master.
fn find_for_del(
    handle: &Handle,
    call: &Call,
    link: Option<&Link>,
) -> anyhow::Result<Option<VrfLink>> {
    if let Some(name) = config::name(call) {
        // A link of another kind with this name is not the plugin's.
        return Ok(VrfLink::find(handle, &name).unwrap_or_default());
    }
    let Some(master) = link.and_then(|link| link.master) else {
        return Ok(None);
    };
    let master = handle.link_by_index(master);
    let master = VrfLink::of(master.context("could not get the master")?);
    // The plugin did not create any other one.
    Ok(master.filter(VrfLink::is_ours))
}

/// Takes the interface out of the VRF, and restores its state.
fn release(container: &Container, link: &Link, vrf: &VrfLink) -> anyhow::Result<()> {
    let state =
        InterfaceState::of(&container.rtnl, link)?.with_routes_moved(vrf.table, RT_TABLE_MAIN);
    let what = format!("resetMaster: could reset master to {}", link.name);
    let released = state.change_master(container, link, 0, &what);
    let there = container.rtnl.link_by_index(link.index);
    match released {
        // State that could not be restored is deleted with the interface soon.
        Err(e) if there.is_ok_and(|link| link.master.is_none()) => {
            chain::note(&format!("{e:#}"));
            Ok(())
        }
        outcome => outcome,
    }
}
