//! The host's end as a port of the bridge.

use crate::Config;
use crate::vlan_gateway::VlanGateway;
use anyhow::{Context, anyhow, bail};
use cni_core::quote::quote;
use plugin_kit::veth::VethPair;
use plugin_kit::{Container, sysctl, wait};
use rtnl::{Handle, Link, LinkChange, OperState, PortChange, Request};
use std::time::{Duration, Instant};

/// How long a port may take to pass frames after both of its ends are up. The
/// kernel settles carrier changes in the background, at worst once a second.
const DEADLINE: Duration = Duration::from_millis(2550);

/// Sets what differs from a new port's defaults. The container's end is still
/// down, so that no frame passes before.
pub(crate) fn configure(
    host: &Handle,
    bridge: &Link,
    port: &Link,
    config: &Config,
) -> anyhow::Result<()> {
    let mut requests = Vec::new();
    if config.hairpin_mode {
        let change = PortChange {
            hairpin: Some(true),
            ..PortChange::default()
        };
        requests.push((
            format!("failed to setup hairpin mode for {}", port.name),
            Request::set_bridge_port(port.index, &change),
        ));
    }
    if config.port_isolation {
        let change = PortChange {
            isolated: Some(true),
            ..PortChange::default()
        };
        requests.push((
            format!("failed to set isolated on for {}", port.name),
            Request::set_bridge_port(port.index, &change),
        ));
    }
    if let Some(vlans) = &config.vlans {
        requests.extend(vlans.requests(bridge, port));
    }
    apply(host, port, requests)
}

/// Carries out requests for a new port, each with the text that its failure is
/// reported by.
pub(crate) fn apply(
    host: &Handle,
    port: &Link,
    requests: Vec<(String, Request<'static>)>,
) -> anyhow::Result<()> {
    // As on the bridge; absent without IPv6.
    let _ = sysctl::ensure(&format!("net/ipv6/conf/{}/accept_ra", port.name), "0");
    let (texts, requests): (Vec<String>, Vec<Request<'_>>) = requests.into_iter().unzip();
    for (text, reply) in texts.into_iter().zip(host.batch(requests)) {
        reply.map_err(|e| anyhow!(e).context(text))?;
    }
    Ok(())
}

/// Brings the container's end up, without addresses.
pub(crate) fn set_up(container: &Container, link: &Link) -> anyhow::Result<()> {
    let up = LinkChange {
        up: Some(true),
        ..LinkChange::default()
    };
    container
        .rtnl
        .request(Request::set_link(link.index, &up))
        .with_context(|| format!("failed to set {} up", quote(&link.name)))?;
    Ok(())
}

/// Tells the neighbours of the container's addresses.
///
/// The kernel does so when the link comes up, but then the port may not pass frames
/// yet, and nobody hears it. Being told its hardware address, be it the one it has,
/// it does so again.
pub(crate) fn announce(container: &Container, link: &Link) -> anyhow::Result<()> {
    let same = LinkChange {
        mac: Some(link.mac.clone()),
        ..LinkChange::default()
    };
    container
        .rtnl
        .request(Request::set_link(link.index, &same))
        .with_context(|| format!("failed to announce the addresses of {}", quote(&link.name)))?;
    Ok(())
}

/// Waits until frames pass between the container and the bridge, and between the
/// bridge and the host if it is a gateway, by way of `vlan_gateway` if there is one.
/// Returns the bridge as it is then.
pub(crate) fn wait_until_forwarding(
    host: &Handle,
    bridge: &Link,
    pair: &VethPair,
    container: &Container,
    config: &Config,
    vlan_gateway: Option<&VlanGateway>,
) -> anyhow::Result<Link> {
    let until = Instant::now() + DEADLINE;
    let on_host = || Ok(Handle::subscribe_links()?);
    let port = wait::until_operational(host, &pair.host, until, on_host)?;
    if port.operstate != OperState::Up {
        bail!(
            "bridge port in error state: {} ({} of bridge {})",
            port.operstate.as_str(),
            quote(&port.name),
            quote(&bridge.name)
        );
    }
    wait::until_operational(&container.rtnl, &pair.container, until, || {
        Ok(container.run(Handle::subscribe_links)??)
    })?;
    for end in vlan_gateway.iter().flat_map(|gateway| gateway.ends()) {
        wait::until_operational(host, end, until, on_host)?;
    }
    // With its first working port a bridge comes up itself; until then the kernel drops
    // what the host sends by it. Where the spanning tree protocol runs this takes half
    // a minute, which is the administrator's wish.
    let bridge = match config.is_gateway {
        true => wait::until_operational(host, bridge, until, on_host)?,
        false => lookup(host, bridge)?,
    };
    require(&port, &bridge)?;
    Ok(bridge)
}

/// The bridge as it is now, if `port` still belongs to it.
pub(crate) fn verify(host: &Handle, bridge: &Link, port: &Link) -> anyhow::Result<Link> {
    require(&lookup(host, port)?, bridge)?;
    lookup(host, bridge)
}

/// A failing ADD of another container may have taken the bridge away that it made.
fn require(port: &Link, bridge: &Link) -> anyhow::Result<()> {
    if port.master != Some(bridge.index) {
        bail!(
            "{} is no longer a port of bridge {}",
            quote(&port.name),
            quote(&bridge.name)
        );
    }
    Ok(())
}

fn lookup(host: &Handle, link: &Link) -> anyhow::Result<Link> {
    host.link_by_index(link.index)
        .with_context(|| format!("failed to lookup {}", quote(&link.name)))
}
