//! Moves the device into the container.

use crate::host_state::HostState;
use crate::record::Record;
use crate::to_host;
use anyhow::{Context, anyhow, bail};
use cni_core::Call;
use cni_core::quote::quote;
use cni_state::Owner;
use plugin_kit::state::owner;
use plugin_kit::{Container, Undo, detailed};
use rtnl::{Handle, Link, LinkChange, Request};
use std::io::Write;
use std::os::fd::AsFd;

/// Moves `device` into the container, under the name that the runtime asks for, and
/// brings it up.
///
/// Its name on the host is stored in its alias first, so that DEL can find it wherever an
/// ADD was interrupted. One request moves and renames it: udev and network managers on
/// the host see it leave, and never under another name.
pub(crate) fn move_device<'a>(
    host: &'a Handle,
    container: &'a Container,
    device: &Link,
    call: &Call,
    undo: &mut Undo<'a>,
) -> anyhow::Result<Link> {
    refuse_existing(container, device, call)?;
    let owner = owner(call);
    let record = Record {
        name: device.name.clone(),
        up: device.is_up(),
        alias: device.alias.clone(),
        mac: device.mac_string(),
        netns: call.netns.clone(),
    };
    let state = HostState::of(host, device)?;
    write_record(&record, &owner, undo);
    {
        let (owner, record) = (owner.clone(), record.clone());
        undo.push("bring the device back", move || {
            let returned = to_host::bring_back(host, Some(container), &owner, &record)?;
            returned.map_or(Ok(()), |device| state.restore(host, &device, record.up))
        });
    }
    let alias = LinkChange {
        alias: Some(device.name.clone()),
        ..LinkChange::default()
    };
    host.request(Request::set_link(device.index, &alias))
        .with_context(|| format!("failed to set alias to {}", quote(&device.name)))?;
    let leave = LinkChange {
        netns: Some(container.netns.as_fd()),
        name: Some(call.if_name.clone()),
        ..LinkChange::default()
    };
    host.request(Request::set_link(device.index, &leave))
        .with_context(|| failed_to_move(device, call))?;
    let link = container
        .rtnl
        .link_by_name(&call.if_name)
        .with_context(|| format!("failed to find {} in container NS", quote(&call.if_name)))?;
    to_host::set_up(&container.rtnl, &link)?;
    Ok(link)
}

fn failed_to_move(device: &Link, call: &Call) -> String {
    format!(
        "failed to move {} (host: {}) to container NS",
        quote(&call.if_name),
        quote(&device.name)
    )
}

fn refuse_existing(container: &Container, device: &Link, call: &Call) -> anyhow::Result<()> {
    match container.rtnl.link_by_name(&call.if_name) {
        Ok(_) => bail!(detailed(
            format!("{}: file exists", failed_to_move(device, call)),
            "the container has an interface of that name; delete that attachment first"
        )),
        Err(e) if e.is_not_found() => Ok(()),
        Err(e) => Err(anyhow!(e).context(failed_to_move(device, call))),
    }
}

/// Writes the record. A failure is logged, and the device moves all the same.
fn write_record(record: &Record, owner: &Owner, undo: &mut Undo<'_>) {
    match record.write(owner) {
        Ok(()) => {
            let owner = owner.clone();
            undo.push("remove the record", move || Record::remove(&owner));
        }
        Err(e) => {
            let _ = writeln!(
                std::io::stderr(),
                "host-device: cannot record whether {} was up: {}; it will be down after DEL",
                record.name,
                e
            );
        }
    }
}
