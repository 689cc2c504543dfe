//! Common steps of plugins that create a single interface in the container.

mod check;
mod on_master;

pub use check::{InterfaceCheck, may_be_of_upstream};
pub use on_master::OnMaster;

use crate::deletion::{self, Deletion};
use crate::failures::Failures;
use crate::link_options::{self, LinkOptions};
use crate::{Container, Ipam, Side, Undo, addressing, detailed, names, sysctl};
use anyhow::{Context, anyhow, bail};
use cni_core::quote::quote;
use cni_core::types::NetConf;
use cni_core::{AddResult, Call, json};
use rtnl::{Link, LinkChange, LinkSpec, Request};
use serde::de::DeserializeOwned;
use std::os::fd::AsFd;

/// Index of the interface in the result, in which it is the only one.
const INTERFACE: usize = 0;

/// A decoded configuration.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The keys that all plugins have.
    pub common: NetConf,
    /// Link options that upstream does not have.
    pub options: LinkOptions,
    /// The plugin's own keys.
    pub own: T,
}

/// Decodes a configuration. `ipam` and `prevResult` of the wrong type are refused even if
/// they are not used, since they would count as absent.
///
/// # Errors
/// When a value has the wrong type; the text begins with `failed` and names the key.
pub fn load<T: DeserializeOwned>(call: &Call, failed: &'static str) -> anyhow::Result<Loaded<T>> {
    match json::get(&call.conf, "prevResult") {
        None => {}
        Some(previous) if previous.is_object() => {}
        Some(_) => bail!("{failed}: prevResult: expected an object"),
    }
    Ok(Loaded {
        common: decode(call, failed)?,
        options: decode(call, failed)?,
        own: decode(call, failed)?,
    })
}

fn decode<T: DeserializeOwned>(call: &Call, failed: &'static str) -> anyhow::Result<T> {
    call.config().context(failed)
}

/// Creates the container's interface from `spec`, whose master is a link of `side`, and
/// returns its state. `undo` deletes it.
///
/// The link is created in the container under its final name.
///
/// # Errors
/// When the kernel refuses.
pub fn create<'c>(
    container: &'c Container,
    side: &Side<'_>,
    mut spec: LinkSpec<'c>,
    undo: &mut Undo<'c>,
) -> anyhow::Result<Link> {
    spec.netns = Some(container.netns.as_fd());
    let kind = spec.kind.name();
    let name = spec.name.clone();
    match side.handle().request(Request::new_link(&spec)) {
        Ok(_) => delete_on_failure(container, &name, undo),
        Err(e) if e.is_exists() => {
            if container.rtnl.link_by_name(&name).is_ok() {
                let details = format!(
                    "container interface {} already exists in {}; delete the attachment first",
                    quote(&name),
                    container.netns.path().display()
                );
                let msg = format!("failed to create {kind}: {e}");
                bail!(detailed(msg, details));
            }
            create_renamed(container, side, spec, undo)?;
        }
        Err(e) => return Err(anyhow!(e).context(format!("failed to create {kind}"))),
    }
    container
        .rtnl
        .link_by_name(&name)
        .with_context(|| format!("failed to refetch {kind} {}", quote(&name)))
}

/// Creates the interface under a temporary name and renames it. Older kernels (6.1, not
/// 6.18) refuse a name that is in use in the namespace of the request, although the link
/// is created in another.
fn create_renamed<'c>(
    container: &'c Container,
    side: &Side<'_>,
    mut spec: LinkSpec<'c>,
    undo: &mut Undo<'c>,
) -> anyhow::Result<()> {
    let kind = spec.kind.name();
    let name = spec.name;
    let up = spec.up;
    spec.name = names::random_veth()?;
    // Such kernels rename only links that are down.
    spec.up = false;
    side.handle()
        .request(Request::new_link(&spec))
        .with_context(|| format!("failed to create {kind}"))?;
    delete_on_failure(container, &spec.name, undo);
    let link = container
        .rtnl
        .link_by_name(&spec.name)
        .with_context(|| format!("failed to refetch {kind} {}", quote(&spec.name)))?;
    let rename = LinkChange {
        name: Some(name.clone()),
        ..LinkChange::default()
    };
    container
        .rtnl
        .request(Request::set_link(link.index, &rename))
        .with_context(|| format!("failed to rename {kind} to {}", quote(&name)))?;
    delete_on_failure(container, &name, undo);
    if up {
        set_up(container, &Link { name, ..link })?;
    }
    Ok(())
}

fn delete_on_failure<'c>(container: &'c Container, name: &str, undo: &mut Undo<'c>) {
    let name = name.to_owned();
    undo.push("delete the interface", move || {
        deletion::delete(container, &name)
    });
}

/// Brings a link of the container up.
///
/// # Errors
/// When the kernel refuses.
pub fn set_up(container: &Container, link: &Link) -> anyhow::Result<()> {
    let up = LinkChange {
        up: Some(true),
        ..LinkChange::default()
    };
    container
        .rtnl
        .request(Request::set_link(link.index, &up))
        .with_context(|| format!("failed to set {} UP", quote(&link.name)))?;
    Ok(())
}

/// Sets `link` as the only interface of `result`, and its index in all addresses.
pub fn set_interface(call: &Call, link: &Link, result: &mut AddResult) {
    result.interfaces = vec![link_options::interface(call, link, call.sandbox())];
    for ip in &mut result.ips {
        ip.interface = Some(INTERFACE as i64);
    }
}

/// Makes the kernel announce the interface's addresses by gratuitous ARP and unsolicited
/// neighbour advertisements when it comes up. To be called before that. Errors are ignored,
/// since a kernel without IPv6 lacks one of the two sysctls.
///
/// # Errors
/// When the namespace cannot be entered.
pub fn announce(container: &Container, name: &str) -> anyhow::Result<()> {
    container.run(|| {
        let _ = sysctl::ensure(&format!("net/ipv4/conf/{name}/arp_notify"), "1");
        let _ = sysctl::ensure(&format!("net/ipv6/conf/{name}/ndisc_notify"), "1");
    })?;
    Ok(())
}

/// Adds the addresses and routes of `result`, see [`set_interface`], to `link`, and brings
/// it up.
///
/// # Errors
/// The first request that the kernel refuses.
pub fn configure(container: &Container, link: &Link, result: &AddResult) -> anyhow::Result<()> {
    // The network segment has other hosts, so detect duplicate addresses.
    addressing::apply(container, link, result, INTERFACE, true)
}

/// DEL: releases the addresses and deletes the interface. Each step is tried even if the
/// other fails. Of the configuration only `ipam` is read.
///
/// # Errors
/// Those of both steps.
pub fn del(call: &Call) -> anyhow::Result<()> {
    del_while(call, |_| Ok(()))
}

/// Like [`del`], and runs `other` meanwhile, which gets the container if its namespace is known
/// and exists.
///
/// # Errors
/// Those of all steps.
pub fn del_while(
    call: &Call,
    other: impl FnOnce(Option<&Container>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let ipam = Ipam::of(call);
    let mut failures = Failures::default();
    let container = failures.add(Container::open_for_del(call)).flatten();
    let (before, meanwhile) = match ipam {
        Some(ipam) if ipam.needs_interface() => (Some(ipam), None),
        ipam => (None, ipam),
    };
    failures.add(before.map_or(Ok(()), |ipam| ipam.del()));
    let begin = |container| Deletion::begin(container, &call.if_name);
    let deletion = failures.add(container.as_ref().map(begin).transpose());
    failures.add(other(container.as_ref()));
    failures.add(meanwhile.map_or(Ok(()), |ipam| ipam.del()));
    if let Some(deletion) = deletion.flatten() {
        failures.add(deletion.finish());
    }
    failures.result()
}

/// GC: delegates to the IPAM plugin. The kernel deletes an interface with its namespace.
///
/// # Errors
/// The IPAM plugin's own.
pub fn gc(call: &Call) -> anyhow::Result<()> {
    Ipam::of(call).map_or(Ok(()), |ipam| ipam.gc())
}
