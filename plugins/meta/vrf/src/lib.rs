//! The vrf plugin: puts the interface into a VRF of the container, a routing domain of
//! its own, and keeps the interface's addresses and routes.

mod check;
mod config;
mod domain;
mod moving;

pub use config::Config;

use anyhow::{Context, anyhow, bail};
use cni_core::{AddResult, Call, Plugin, Version};
use domain::Domain;
use moving::Belongings;
use plugin_kit::{Container, Undo, chain};
use rtnl::{Handle, Link, RT_TABLE_MAIN};

/// The plugin.
#[derive(Debug)]
pub struct Vrf;

impl Plugin for Vrf {
    fn name(&self) -> &'static str {
        "vrf"
    }

    /// Older results are not for chains.
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
        // Where the namespace is gone, so is everything in it.
        let Some(container) = Container::open_if_there(call)? else {
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
        // Another master is somebody else's.
        let member = link.filter(|link| link.master == Some(vrf.link.index));
        let released = member.map_or(Ok(()), |link| release(&container, &link, &vrf));
        released.and(vrf.remove_if_unused(handle))
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        let result = previous(call)?;
        check::run(call, &Container::open(call)?, &config, &result)
    }

    fn gc(&self, _call: &Call) -> anyhow::Result<()> {
        // Nothing outlives the container's namespace.
        Ok(())
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        Config::load(call).map(drop)
    }
}

fn previous(call: &Call) -> anyhow::Result<AddResult> {
    call.prev_result()?
        .context("missing prevResult from earlier plugin")
}

/// Puts the interface into the VRF.
fn enslave(call: &Call, config: &Config, container: &Container) -> anyhow::Result<()> {
    let handle = &container.rtnl;
    let name = &call.if_name;
    let link = handle
        .link_by_name(name)
        .with_context(|| format!("could not get link by name {name}"))?;
    if let Some(vrf) = Domain::find(handle, &config.vrf)? {
        let vrf = vrf.suits(config)?;
        if link.master == Some(vrf.link.index) {
            // An earlier ADD has been here.
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
    let vrf = Domain::ensure(container, config, &mut undo)?;
    let before = Belongings::of(handle, &link)?;
    let after = before.moved(RT_TABLE_MAIN, vrf.table);
    let index = link.index;
    undo.push("take the interface out of the VRF", move || {
        let link = container.rtnl.link_by_index(index)?;
        before.carry(container, &link, 0, "could not reset master")
    });
    let what = format!("could not set vrf {} as master of {name}", config.vrf);
    after.carry(container, &link, vrf.link.index, &what)?;
    undo.disarm();
    Ok(())
}

/// The VRF to leave: the one in the configuration, else the one that the interface is in.
fn find_for_del(
    handle: &Handle,
    call: &Call,
    link: Option<&Link>,
) -> anyhow::Result<Option<Domain>> {
    if let Some(name) = config::name(call) {
        // Something else by this name is none of ours.
        return Ok(Domain::find(handle, &name).unwrap_or_default());
    }
    let Some(master) = link.and_then(|link| link.master) else {
        return Ok(None);
    };
    let master = handle.link_by_index(master);
    let master = Domain::of(master.context("could not get the master")?);
    // Any other one is somebody else's.
    Ok(master.filter(Domain::is_ours))
}

/// Takes the interface out of the VRF, with all that it has.
fn release(container: &Container, link: &Link, vrf: &Domain) -> anyhow::Result<()> {
    let belongings = Belongings::of(&container.rtnl, link)?.moved(vrf.table, RT_TABLE_MAIN);
    let what = format!("resetMaster: could reset master to {}", link.name);
    let carried = belongings.carry(container, link, 0, &what);
    let there = container.rtnl.link_by_index(link.index);
    match carried {
        // What it could not take along goes with it soon.
        Err(e) if there.is_ok_and(|link| link.master.is_none()) => {
            chain::note(&format!("{e:#}"));
            Ok(())
        }
        outcome => outcome,
    }
}
