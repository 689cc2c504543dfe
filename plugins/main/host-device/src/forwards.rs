//! The device's way into the container.

use crate::host_state::HostState;
use crate::record::{Key, Record};
use crate::returning;
use anyhow::{Context, anyhow, bail};
use cni_core::quote::quote;
use cni_core::{Call, errno};
use plugin_kit::{Container, Undo};
use rtnl::{Handle, Link, LinkChange, Request};
use std::io::Write;
use std::os::fd::AsFd;

/// Moves `device` into the container, under the name that the runtime wants, and
/// brings it up.
///
/// Its name on the host goes into its alias before anything else, so that it can be
/// found from wherever the work ends. Its way needs one request: whoever watches the
/// host's links sees it leave, and under no other name.
pub(crate) fn take<'a>(
    host: &'a Handle,
    container: &'a Container,
    device: &Link,
    call: &Call,
    undo: &mut Undo<'a>,
) -> anyhow::Result<Link> {
    refuse_existing(container, device, call)?;
    let key = key(call);
    let record = Record {
        name: device.name.clone(),
        up: device.is_up(),
        alias: device.alias.clone(),
        mac: device.mac_string(),
        netns: call.netns.clone(),
    };
    let state = HostState::of(host, device)?;
    remember(&record, &key, undo);
    {
        let (key, record) = (key.clone(), record.clone());
        undo.push("bring the device back", move || {
            let returned = returning::bring_back(host, Some(container), &key, &record)?;
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
        .with_context(|| moving(device, call))?;
    let link = container
        .rtnl
        .link_by_name(&call.if_name)
        .with_context(|| format!("failed to find {} in container NS", quote(&call.if_name)))?;
    let up = LinkChange {
        up: Some(true),
        ..LinkChange::default()
    };
    container
        .rtnl
        .request(Request::set_link(link.index, &up))
        .with_context(|| format!("failed to set {} up", quote(&call.if_name)))?;
    Ok(link)
}

/// Whose record it is.
pub(crate) fn key(call: &Call) -> Key {
    Key {
        network: call.name.clone(),
        container_id: call.container_id.clone(),
        if_name: call.if_name.clone(),
    }
}

fn moving(device: &Link, call: &Call) -> String {
    format!(
        "failed to move {} (host: {}) to container NS",
        quote(&call.if_name),
        quote(&device.name)
    )
}

fn refuse_existing(container: &Container, device: &Link, call: &Call) -> anyhow::Result<()> {
    match container.rtnl.link_by_name(&call.if_name) {
        Ok(_) => bail!(
            "{}: file exists: the container has an interface of that name; \
             delete that attachment first",
            moving(device, call)
        ),
        Err(e) if e.is_not_found() => Ok(()),
        Err(e) => Err(anyhow!(e).context(moving(device, call))),
    }
}

/// Keeps the record. Where that is impossible the device moves none the less.
fn remember(record: &Record, key: &Key, undo: &mut Undo<'_>) {
    match record.write(key) {
        Ok(()) => {
            let key = key.clone();
            undo.push("forget the device", move || Record::remove(&key));
        }
        Err(e) => {
            let _ = writeln!(
                std::io::stderr(),
                "host-device: cannot remember whether {} was up: {}; it will be down after DEL",
                record.name,
                errno::of(&e)
            );
        }
    }
}
