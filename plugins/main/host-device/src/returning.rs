//! The device's way back to the host.

use crate::forwards::key;
use crate::passing_netns::PassingNetns;
use crate::record::{Key, Record};
use crate::{Config, recovery};
use anyhow::{Context, anyhow, bail};
use cni_core::Call;
use cni_core::ns::Netns;
use cni_core::quote::quote;
use plugin_kit::{Container, Undo};
use rtnl::{Handle, Link, LinkChange, Request};
use std::os::fd::AsFd;

/// DEL: the device goes back from wherever it is. One that is gone is done.
pub(crate) fn del(call: &Call) -> anyhow::Result<()> {
    let key = key(call);
    let container = Container::open_for_del(call)?;
    let host = Handle::open().context("failed to talk to the host's kernel")?;
    let record = Record::read(&key);
    // What became of the configuration, or of the hardware, must not stand in the way.
    let config = Config::load(call).ok();
    match (&record, &config) {
        (Some(record), _) => {
            let device = bring_back(&host, container.as_ref(), &key, record)?;
            if let Some(device) = device.filter(|_| record.up) {
                set_up(&host, &device)?;
            }
        }
        // No record, no link of the kernel's: nothing was moved.
        (None, Some(config)) if config.dpdk.is_some() => {}
        (None, config) => unrecorded(&host, container.as_ref(), &key, config.as_ref())?,
    }
    Record::remove(&key)
}

/// GC: brings back the devices of attachments that are no more.
pub(crate) fn gc(call: &Call) -> anyhow::Result<()> {
    let Some(valid) = call.valid_attachments()? else {
        return Ok(());
    };
    let is_valid = |key: &Key| {
        valid
            .iter()
            .any(|a| a.container_id == key.container_id && a.if_name == key.if_name)
    };
    let (living, stale): (Vec<Key>, Vec<Key>) =
        Key::all_of(&call.name).into_iter().partition(is_valid);
    let held: Vec<Record> = living.iter().filter_map(Record::read).collect();
    let mut failures = Vec::new();
    for key in stale {
        if let Err(e) = collect(&key, &held) {
            failures.push(format!("{e:#}"));
        }
    }
    match failures.is_empty() {
        true => Ok(()),
        false => bail!("{}", failures.join("; ")),
    }
}

fn collect(key: &Key, held: &[Record]) -> anyhow::Result<()> {
    // A device that a living attachment has been given meanwhile is that one's.
    if let Some(record) = Record::read(key).filter(|r| held.iter().all(|h| h.name != r.name)) {
        let host = Handle::open()?;
        let container = match Netns::open(&record.netns) {
            Ok(netns) => Some(Container::of(netns)?),
            Err(_) => None,
        };
        let device = bring_back(&host, container.as_ref(), key, &record)?;
        if let Some(device) = device.filter(|_| record.up) {
            set_up(&host, &device)?;
        }
    }
    Record::remove(key)
}

/// Brings the device of `record` back to the host: from the container, or from where
/// the kernel put it when the container's namespace ended. The device under its name
/// on the host, if it was away or half away; `None` if it never left, or is gone.
pub(crate) fn bring_back(
    host: &Handle,
    container: Option<&Container>,
    key: &Key,
    record: &Record,
) -> anyhow::Result<Option<Link>> {
    if let Some(container) = container {
        for name in [&key.if_name, &record.name] {
            match container.rtnl.link_by_name(name) {
                Ok(link) if is_the_device(&link, key, record) => {
                    return give_back(host, container, &link, key, record).map(Some);
                }
                Err(e) if !e.is_not_found() => {
                    let text = format!("failed to find {} in containerNS", quote(name));
                    return Err(anyhow!(e).context(text));
                }
                _ => {}
            }
        }
    }
    recovery::recover(host, key, record)
}

/// Whether a link of the container is the device of `record`: its alias says so, or
/// somebody has changed that, and its hardware address does.
fn is_the_device(link: &Link, key: &Key, record: &Record) -> bool {
    let same_address = !record.mac.is_empty() && link.mac_string() == record.mac;
    link.alias == record.name || (link.name == key.if_name && same_address)
}

/// The same for a device that another implementation moved, or whose record is lost.
fn unrecorded(
    host: &Handle,
    container: Option<&Container>,
    key: &Key,
    config: Option<&Config>,
) -> anyhow::Result<()> {
    if let Some(container) = container {
        match container.rtnl.link_by_name(&key.if_name) {
            Ok(link) if !link.alias.is_empty() => {
                let record = Record {
                    name: link.alias.clone(),
                    ..Record::default()
                };
                return give_back(host, container, &link, key, &record).map(drop);
            }
            // It may be anybody's, and the configuration does not help to tell.
            Ok(_) if config.is_none() => return Ok(()),
            Ok(link) => bail!(
                "failed to find original ifname for {} (alias is not set); \
                 set it: ip link set dev {} alias <name on the host>",
                quote(&link.name),
                link.name
            ),
            Err(e) if e.is_not_found() => {}
            Err(e) => {
                let text = format!("failed to find {} in containerNS", quote(&key.if_name));
                return Err(anyhow!(e).context(text));
            }
        }
    }
    match config {
        Some(config) => recovery::recover_unrecorded(host, key, &config.selector),
        None => Ok(()),
    }
}

/// Moves a link of the container to the host, under the name and with the alias that
/// it had there. It arrives down, and with its final name. If it cannot arrive, it
/// stays where it was, as it was.
fn give_back(
    host: &Handle,
    container: &Container,
    link: &Link,
    key: &Key,
    record: &Record,
) -> anyhow::Result<Link> {
    let name = &record.name;
    let arriving = || format!("failed to move {} to hostNS", quote(name));
    match host.link_by_name(name) {
        Ok(_) => bail!(
            "{}: file exists: the host has an interface of that name; rename or remove it",
            arriving()
        ),
        Err(e) if e.is_not_found() => {}
        Err(e) => return Err(anyhow!(e).context(arriving())),
    }
    let home = Netns::current()?;
    match container.rtnl.link_by_name(name) {
        Ok(other) if other.index != link.index => {
            through_another(container, &home, link, key, record)?;
        }
        Err(e) if !e.is_not_found() => return Err(anyhow!(e).context(arriving())),
        _ => directly(container, &home, link, record)?,
    }
    host.link_by_name(name).with_context(arriving)
}

/// Renames the link where it is, and moves it. Of the two ways the shorter one: what
/// takes the kernel its time is a move.
fn directly(
    container: &Container,
    home: &Netns,
    link: &Link,
    record: &Record,
) -> anyhow::Result<()> {
    let name = &record.name;
    let mut undo = Undo::new();
    undo.push("put the device back into its state", || {
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
    // Not all kernels rename a link that is up.
    let down = LinkChange {
        up: Some(false),
        ..LinkChange::default()
    };
    let rename = LinkChange {
        name: Some(name.clone()),
        alias: Some(record.alias.clone()),
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

/// The way by a namespace of its own, for a name that the container has in use.
fn through_another(
    container: &Container,
    home: &Netns,
    link: &Link,
    key: &Key,
    record: &Record,
) -> anyhow::Result<()> {
    let name = &record.name;
    let between = PassingNetns::new()?;
    let mut undo = Undo::new();
    undo.push("put the device back into the container", || {
        put_back(container, &between, link, key, record)
    });
    let leave = LinkChange {
        netns: Some(between.as_fd()),
        name: Some(name.clone()),
        ..LinkChange::default()
    };
    container
        .rtnl
        .request(Request::set_link(link.index, &leave))
        .with_context(|| format!("failed to move {} to tempNS", quote(&link.name)))?;
    let here = between
        .rtnl
        .link_by_name(name)
        .with_context(|| format!("failed to find {} in tempNS", quote(name)))?;
    let alias = LinkChange {
        alias: Some(record.alias.clone()),
        ..LinkChange::default()
    };
    between
        .rtnl
        .request(Request::set_link(here.index, &alias))
        .with_context(|| format!("failed to unset alias of {}", quote(name)))?;
    let arrive = LinkChange {
        netns: Some(home.as_fd()),
        ..LinkChange::default()
    };
    between
        .rtnl
        .request(Request::set_link(here.index, &arrive))
        .with_context(|| format!("failed to move {} to hostNS", quote(name)))?;
    undo.disarm();
    Ok(())
}

/// Undoes a return that failed on its way, from wherever that was.
fn put_back(
    container: &Container,
    between: &PassingNetns,
    link: &Link,
    key: &Key,
    record: &Record,
) -> anyhow::Result<()> {
    let mut name = &record.name;
    let found = match between.rtnl.link_by_name(name) {
        Err(e) if e.is_not_found() => {
            // Not even the first step was taken, or its second half was not.
            name = &link.name;
            between.rtnl.link_by_name(name)
        }
        found => found,
    };
    match found {
        Ok(here) => {
            let change = LinkChange {
                netns: Some(container.netns.as_fd()),
                name: Some(key.if_name.clone()),
                alias: Some(record.name.clone()),
                ..LinkChange::default()
            };
            between
                .rtnl
                .request(Request::set_link(here.index, &change))?;
        }
        Err(e) if e.is_not_found() => return Ok(()),
        Err(e) => return Err(e.into()),
    }
    if link.is_up() {
        let back = container.rtnl.link_by_name(&key.if_name)?;
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
