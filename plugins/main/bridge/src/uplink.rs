//! The bridge and the container's place on it.

use crate::Config;
use anyhow::{Context, anyhow, bail};
use cni_core::Call;
use cni_core::quote::quote;
use plugin_kit::veth::{self, VethPair, VethSpec};
use plugin_kit::{Container, Undo, sysctl};
use rtnl::{Bridge, Handle, Link, LinkChange, LinkKind, LinkSpec, Request};

/// How often a bridge may vanish between being looked up and being joined:
/// a failing ADD of another container takes the bridge it made away again.
const ATTEMPTS: u32 = 5;

/// Makes sure of the bridge and plugs a new veth pair into it.
pub(crate) fn plug_in<'a>(
    host: &'a Handle,
    container: &Container,
    call: &Call,
    config: &Config,
    undo: &mut Undo<'a>,
) -> anyhow::Result<(Link, VethPair)> {
    let mut attempt = 1;
    loop {
        let bridge = ensure(host, config, undo)
            .with_context(|| format!("failed to create bridge {}", quote(&config.bridge)))?;
        let spec = VethSpec {
            container_name: &call.if_name,
            mtu: config.mtu,
            mac: config.mac,
            master: Some(bridge.index),
        };
        match veth::create(host, container, &spec, undo) {
            Ok(pair) => return Ok((bridge, pair)),
            Err(_) if attempt < ATTEMPTS && is_gone(host, &bridge) => attempt += 1,
            Err(e) => return Err(e),
        }
    }
}

fn is_gone(host: &Handle, bridge: &Link) -> bool {
    host.link_by_index(bridge.index).is_err_and(|e| e.is_not_found())
}

/// Finds or creates the bridge, and brings it into the state asked for.
fn ensure<'a>(host: &'a Handle, config: &Config, undo: &mut Undo<'a>) -> anyhow::Result<Link> {
    let name = &config.bridge;
    let bridge = match host.link_by_name(name) {
        Ok(link) => link,
        Err(e) if e.is_not_found() => create(host, config, undo)?,
        Err(e) => return Err(anyhow!(e).context(format!("could not lookup {}", quote(name)))),
    };
    // Before anything of it is changed: a mistyped name may be a host's interface.
    if !bridge.is_kind("bridge") {
        let kind = bridge.kind.as_deref().unwrap_or("hardware");
        bail!("{} already exists but is not a bridge (it is of kind {kind})", quote(name));
    }
    // No router advertisement from a container may configure the host. Absent
    // without IPv6.
    let _ = sysctl::ensure(&format!("net/ipv6/conf/{name}/accept_ra"), "0");
    let mut change = LinkChange::default();
    let mut back = LinkChange::default();
    if config.promisc_mode && bridge.flags & rtnl::IFF_PROMISC == 0 {
        (change.promisc, back.promisc) = (Some(true), Some(false));
    }
    if !bridge.is_up() {
        (change.up, back.up) = (Some(true), Some(false));
    }
    if change.promisc.is_none() && change.up.is_none() {
        return Ok(bridge);
    }
    host.request(Request::set_link(bridge.index, &change))
        .with_context(|| format!("could not set {} up", quote(name)))?;
    let index = bridge.index;
    undo.push("put the bridge back into its state", move || {
        match host.request(Request::set_link(index, &back)) {
            Err(e) if !e.is_not_found() => Err(e.into()),
            _ => Ok(()),
        }
    });
    Ok(bridge)
}

fn create<'a>(host: &'a Handle, config: &Config, undo: &mut Undo<'a>) -> anyhow::Result<Link> {
    let name = &config.bridge;
    let mut spec = LinkSpec::new(name.clone(), LinkKind::Bridge(Bridge::default()));
    // Only on request: a given MTU keeps the kernel from following the ports'.
    spec.mtu = config.mtu;
    let find = || host.link_by_name(name).with_context(|| format!("could not lookup {}", quote(name)));
    match host.request(Request::new_link(&spec)) {
        Ok(reply) => {
            let link = reply.link.map_or_else(find, Ok)?;
            let index = link.index;
            undo.push("delete the bridge", move || remove_if_unused(host, index));
            Ok(link)
        }
        // Somebody else was faster: theirs will do.
        Err(e) if e.is_exists() => find(),
        Err(e) => Err(anyhow!(e).context(format!("could not add {}", quote(name)))),
    }
}

/// Removes a bridge this ADD made, unless others have joined it meanwhile.
fn remove_if_unused(host: &Handle, index: u32) -> anyhow::Result<()> {
    if !host.links_by_master(index)?.is_empty() {
        return Ok(());
    }
    match host.request(Request::del_link(index)) {
        Err(e) if !e.is_not_found() => Err(e.into()),
        _ => Ok(()),
    }
}

/// Looks again: the bridge, if the host's end is still its port.
pub(crate) fn verify(host: &Handle, bridge: &Link, port: &Link) -> anyhow::Result<Link> {
    let port = host
        .link_by_index(port.index)
        .with_context(|| format!("failed to lookup {}", quote(&port.name)))?;
    if port.master != Some(bridge.index) {
        bail!("{} is no longer a port of bridge {}", quote(&port.name), quote(&bridge.name));
    }
    host.link_by_index(bridge.index)
        .with_context(|| format!("failed to lookup {}", quote(&bridge.name)))
}
