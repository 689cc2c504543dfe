//! Moves the device back to the host.

use crate::record::{self, Record};
use crate::temporary_netns::TemporaryNetns;
use crate::{Config, recovery};
use anyhow::{Context, anyhow, bail};
use cni_core::Call;
use cni_core::ns::Netns;
use cni_core::quote::quote;
use cni_state::Owner;
use plugin_kit::failures::Failures;
use plugin_kit::state::owner;
use plugin_kit::{Container, Undo, chain, detailed};
use rtnl::{Handle, Link, LinkChange, Request};
use std::os::fd::AsFd;

/// DEL: moves the device back from wherever it is. A missing device is no error.
pub(crate) fn del(call: &Call) -> anyhow::Result<()> {
    let owner = owner(call);
    let container = Container::open_for_del(call)?;
    // Of two DELs at once, the second one finds the device on the host.
    let _lock = container.as_ref().map(chain::lock).transpose()?;
    let host = Handle::open().context("failed to talk to the host's kernel")?;
    let record = Record::read(&owner);
    // Neither a broken configuration nor missing hardware may make DEL fail.
    let config = Config::load(call).ok();
    match (&record, &config) {
        (Some(record), _) => {
            bring_back(&host, container.as_ref(), &owner, record)?;
        }
        // A device without a kernel link was not moved.
        (None, Some(config)) if config.dpdk.is_some() => {}
        (None, config) => {
            bring_back_unrecorded(&host, container.as_ref(), &owner, config.as_ref())?
        }
    }
    Record::remove(&owner)
}

/// GC: moves back the devices of attachments that are not valid.
pub(crate) fn gc(call: &Call) -> anyhow::Result<()> {
    let Some(valid) = call.valid_attachments()? else {
        return Ok(());
    };
    let is_valid = |owner: &Owner| {
        valid
            .iter()
            .any(|a| a.container_id == owner.container_id && a.if_name == owner.if_name)
    };
    let (living, stale): (Vec<Owner>, Vec<Owner>) =
        record::owners(&call.name).into_iter().partition(is_valid);
    let held: Vec<Record> = living.iter().filter_map(Record::read).collect();
    let mut failures = Failures::default();
    for owner in stale {
        failures.add(collect(&owner, &held));
    }
    failures.result()
}

fn collect(owner: &Owner, held: &[Record]) -> anyhow::Result<()> {
    // What cannot be read, as a record of a later release, tells that release where the device is.
    let Some(record) = Record::read(owner) else {
        return Ok(());
    };
    // A device that a valid attachment has been given meanwhile belongs to that one.
    if held.iter().all(|other| other.name != record.name) {
        let host = Handle::open()?;
        let container = match Netns::open(&record.netns) {
            Ok(netns) => Some(Container::of(netns)?),
            Err(_) => None,
        };
        bring_back(&host, container.as_ref(), owner, &record)?;
    }
    Record::remove(owner)
}

/// Moves the device of `record` back to the host: from the container, or from where the
/// kernel put it when the container's namespace was deleted. Returns the device under its
/// name on the host; `None` if it never left, or no longer exists.
pub(crate) fn bring_back(
    host: &Handle,
    container: Option<&Container>,
    owner: &Owner,
    record: &Record,
) -> anyhow::Result<Option<Link>> {
    if let Some(container) = container {
        for name in [&owner.if_name, &record.name] {
            match container.rtnl.link_by_name(name) {
                Ok(link) if is_the_device(&link, owner, record) => {
                    return move_link(host, container, &link, owner, record).map(Some);
                }
                Err(e) if !e.is_not_found() => {
                    let text = format!("failed to find {} in containerNS", quote(name));
                    return Err(anyhow!(e).context(text));
                }
                _ => {}
            }
        }
    }
    recovery::recover(host, owner, record)
}

/// Whether a link of the container is the device of `record`, by its alias or, if that
/// was changed, by name and hardware address.
fn is_the_device(link: &Link, owner: &Owner, record: &Record) -> bool {
    let same_address = !record.mac.is_empty() && link.mac_string() == record.mac;
    link.alias == record.name || (link.name == owner.if_name && same_address)
}

/// [`bring_back`] for a device that another implementation moved, or whose record is lost.
fn bring_back_unrecorded(
    host: &Handle,
    container: Option<&Container>,
    owner: &Owner,
    config: Option<&Config>,
) -> anyhow::Result<()> {
    if let Some(container) = container {
        match container.rtnl.link_by_name(&owner.if_name) {
            Ok(link) if !link.alias.is_empty() => {
                let record = Record {
                    name: link.alias.clone(),
                    ..Record::default()
                };
                return move_link(host, container, &link, owner, &record).map(drop);
            }
            // Without a valid configuration nothing tells whether it is the device.
            Ok(_) if config.is_none() => return Ok(()),
            Ok(link) => bail!(without_alias(&link)),
            Err(e) if e.is_not_found() => {}
            Err(e) => {
                let text = format!("failed to find {} in containerNS", quote(&owner.if_name));
                return Err(anyhow!(e).context(text));
            }
        }
    }
    match config {
        Some(config) => recovery::recover_unrecorded(host, owner, &config.selector),
        None => Ok(()),
    }
}

fn without_alias(link: &Link) -> anyhow::Error {
    detailed(
        format!(
            "failed to find original ifname for {} (alias is not set)",
            quote(&link.name)
        ),
        format!(
            "set it with ip link set dev {} alias <name on the host>",
            link.name
        ),
    )
}

/// Moves a link of the container to the host, with the name, the alias and the state that
/// it had there. It arrives down, under its final name. If that fails, it stays in the
/// container unchanged.
///
/// The alias that tells a later DEL whose device it is stays until the last request: this
/// process may be killed before any of them.
fn move_link(
    host: &Handle,
    container: &Container,
    link: &Link,
    owner: &Owner,
    record: &Record,
) -> anyhow::Result<Link> {
    let name = &record.name;
    let failed = || format!("failed to move {} to hostNS", quote(name));
    match host.link_by_name(name) {
        Ok(_) => bail!(detailed(
            format!("{}: file exists", failed()),
            "the host has an interface of that name; rename or remove it"
        )),
        Err(e) if e.is_not_found() => {}
        Err(e) => return Err(anyhow!(e).context(failed())),
    }
    let home = Netns::current()?;
    match container.rtnl.link_by_name(name) {
        Ok(other) if other.index != link.index => {
            move_renamed_on_the_way(container, &home, link, owner, record)?;
        }
        Err(e) if !e.is_not_found() => return Err(anyhow!(e).context(failed())),
        _ => rename_and_move(container, &home, link, record)?,
    }
    let link = host.link_by_name(name).with_context(failed)?;
    recovery::restore(host, &link, record)?;
    Ok(link)
}

/// Renames the link in the container, and moves it. Faster than
/// [`move_renamed_on_the_way`], since a move between namespaces is what takes the kernel
/// time.
fn rename_and_move(
    container: &Container,
    home: &Netns,
    link: &Link,
    record: &Record,
) -> anyhow::Result<()> {
    let name = &record.name;
    let mut undo = Undo::new();
    undo.push("restore the device in the container", || {
        let change = LinkChange {
            name: Some(link.name.clone()),
            alias: Some(link.alias.clone()),
            ..LinkChange::default()
        };
        container
            .rtnl
            .request(Request::set_link(link.index, &change))?;
        match link.is_up() {
            true => set_up(&container.rtnl, link),
            false => Ok(()),
        }
    });
    // Older kernels rename a link only while it is down.
    let down = LinkChange {
        up: Some(false),
        ..LinkChange::default()
    };
    // Whoever changed the alias must not prevent a later DEL from finding the device.
    let rename = LinkChange {
        name: Some(name.clone()),
        alias: Some(name.clone()),
        ..LinkChange::default()
    };
    let changes = [down, rename].map(|change| Request::set_link(link.index, &change));
    for reply in container.rtnl.batch(changes.into()) {
        reply.with_context(|| {
            format!("failed to rename {} to {}", quote(&link.name), quote(name))
        })?;
    }
    let arrive = LinkChange {
        netns: Some(home.as_fd()),
        ..LinkChange::default()
    };
    container
        .rtnl
        .request(Request::set_link(link.index, &arrive))
        .with_context(|| format!("failed to move {} to hostNS", quote(name)))?;
    undo.disarm();
    Ok(())
}

/// Moves the link through a temporary namespace and renames it there, for a name that is
/// taken in the container.
fn move_renamed_on_the_way(
    container: &Container,
    home: &Netns,
    link: &Link,
    owner: &Owner,
    record: &Record,
) -> anyhow::Result<()> {
    let name = &record.name;
    let temporary = TemporaryNetns::new()?;
    let mut undo = Undo::new();
    undo.push("put the device back into the container", || {
        put_back(container, &temporary, link, owner, record)
    });
    let leave = LinkChange {
        netns: Some(temporary.as_fd()),
        name: Some(name.clone()),
        ..LinkChange::default()
    };
    container
        .rtnl
        .request(Request::set_link(link.index, &leave))
        .with_context(|| format!("failed to move {} to tempNS", quote(&link.name)))?;
    let here = temporary
        .rtnl
        .link_by_name(name)
        .with_context(|| format!("failed to find {} in tempNS", quote(name)))?;
    let arrive = LinkChange {
        netns: Some(home.as_fd()),
        ..LinkChange::default()
    };
    temporary
        .rtnl
        .request(Request::set_link(here.index, &arrive))
        .with_context(|| format!("failed to move {} to hostNS", quote(name)))?;
    undo.disarm();
    Ok(())
}

/// Undoes [`move_renamed_on_the_way`] after any of its steps.
fn put_back(
    container: &Container,
    temporary: &TemporaryNetns,
    link: &Link,
    owner: &Owner,
    record: &Record,
) -> anyhow::Result<()> {
    let mut name = &record.name;
    let found = match temporary.rtnl.link_by_name(name) {
        Err(e) if e.is_not_found() => {
            // The first step failed, or moved the link without renaming it.
            name = &link.name;
            temporary.rtnl.link_by_name(name)
        }
        found => found,
    };
    match found {
        Ok(here) => {
            let change = LinkChange {
                netns: Some(container.netns.as_fd()),
                name: Some(owner.if_name.clone()),
                alias: Some(record.name.clone()),
                ..LinkChange::default()
            };
            temporary
                .rtnl
                .request(Request::set_link(here.index, &change))?;
        }
        Err(e) if e.is_not_found() => return Ok(()),
        Err(e) => return Err(e.into()),
    }
    if link.is_up() {
        let back = container.rtnl.link_by_name(&owner.if_name)?;
        set_up(&container.rtnl, &back)?;
    }
    Ok(())
}

/// Brings a link up.
pub(crate) fn set_up(handle: &Handle, link: &Link) -> anyhow::Result<()> {
    let up = LinkChange {
        up: Some(true),
        ..LinkChange::default()
    };
    handle
        .request(Request::set_link(link.index, &up))
        .with_context(|| format!("failed to set {} up", quote(&link.name)))?;
    Ok(())
}
