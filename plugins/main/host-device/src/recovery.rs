//! Restores devices that the kernel has moved back to the host.
//!
//! When a namespace is deleted, the kernel moves its physical devices to the initial
//! namespace: down, with their alias, under the name they had in the container or, if
//! that is taken, `dev` and the index.

use crate::Selector;
use crate::record::Record;
use anyhow::Context;
use cni_core::quote::quote;
use cni_core::skel::validate_if_name;
use cni_state::Owner;
use rtnl::{Handle, Link, LinkChange, Request};

/// Restores name, alias and state of the device of `record`. Returns the device if there was
/// anything to restore.
pub(crate) fn recover(
    host: &Handle,
    owner: &Owner,
    record: &Record,
) -> anyhow::Result<Option<Link>> {
    match by_name(host, &record.name)? {
        // It has not been moved yet, or lacks only its former alias.
        Some(link) if link.alias == record.name => {
            restore(host, &link, record)?;
            return Ok(Some(link));
        }
        Some(_) => return Ok(None),
        None => {}
    }
    let links = host.links().context("failed to list node links")?;
    let found = links.into_iter().find(|link| {
        link.alias == record.name
            && (link.mac_string() == record.mac || has_fallback_name(link, owner))
    });
    let Some(mut link) = found else {
        return Ok(None);
    };
    restore(host, &link, record)?;
    link.name.clone_from(&record.name);
    Ok(Some(link))
}

/// [`recover`] without a record: restores the device that `selector` names, if it looks
/// as the kernel leaves such devices.
pub(crate) fn recover_unrecorded(
    host: &Handle,
    owner: &Owner,
    selector: &Selector,
) -> anyhow::Result<()> {
    let device = match selector {
        Selector::Device(name) => {
            if by_name(host, name)?.is_some() {
                return Ok(());
            }
            let links = host.links().context("failed to list node links")?;
            links.into_iter().find(|link| link.alias == *name)
        }
        // Without the name there is no alias to search for.
        selector => selector.find(host).ok(),
    };
    let Some(device) = device else {
        return Ok(());
    };
    let alias = device.alias.clone();
    let left_behind = !device.is_up()
        && has_fallback_name(&device, owner)
        && validate_if_name(&alias).is_ok()
        && by_name(host, &alias)?.is_none();
    if !left_behind {
        return Ok(());
    }
    let record = Record {
        name: alias,
        ..Record::default()
    };
    restore(host, &device, &record)
}

/// Whether the name is one that the kernel gives a device whose namespace was deleted.
fn has_fallback_name(link: &Link, owner: &Owner) -> bool {
    link.name == owner.if_name || link.name == format!("dev{}", link.index)
}

fn by_name(host: &Handle, name: &str) -> anyhow::Result<Option<Link>> {
    match host.link_by_name(name) {
        Ok(link) => Ok(Some(link)),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(anyhow::Error::new(e).context(format!("failed to lookup {}", quote(name)))),
    }
}

/// Sets name and alias to those of `record`, and brings the device up if it was. One request
/// does it all, so that a device that has its alias again is complete.
pub(crate) fn restore(host: &Handle, link: &Link, record: &Record) -> anyhow::Result<()> {
    let change = LinkChange {
        name: (link.name != record.name).then(|| record.name.clone()),
        alias: Some(record.alias.clone()),
        up: record.up.then_some(true),
        ..LinkChange::default()
    };
    host.request(Request::set_link(link.index, &change))
        .with_context(|| match link.name == record.name {
            true => format!("failed to restore the state of {}", quote(&link.name)),
            false => format!(
                "failed to rename device {} to {}",
                quote(&link.name),
                quote(&record.name)
            ),
        })?;
    Ok(())
}
