//! CHECK: is the attachment still as ADD made it?

use crate::Config;
use anyhow::{Context, anyhow, bail};
use cni_core::quote::quote;
use cni_core::{AddResult, Call, Interface};
use plugin_kit::{Container, Ipam, check};
use rtnl::{Handle, Link};

/// Compares prevResult with the kernel's state, part by part.
pub(crate) fn run(call: &Call) -> anyhow::Result<()> {
    let config = Config::load(call)?;
    let container = Container::open(call)?;
    if let Some(ipam) = Ipam::of(call) {
        ipam.check()?;
    }
    let result = check::required_prev_result(call)?;
    let host = Handle::open()?;
    let bridge = bridge(&host, &result, &config)?;
    let (number, recorded) = check::container_interface(call, &result)?;
    let inside = container_end(&container, recorded, &config)?;
    host_end(&host, &result, recorded, &inside, &bridge, &config)?;
    check::addresses_and_routes(&container, &inside, &result, number)?;
    gateways(&host, &result, number, &bridge, &config)
}

fn bridge(host: &Handle, result: &AddResult, config: &Config) -> anyhow::Result<Link> {
    let link = lookup(host, &config.bridge)?;
    if !link.is_kind("bridge") {
        bail!("Interface {} does not have link type of bridge", link.name);
    }
    let recorded = result
        .interfaces
        .iter()
        .find(|i| i.name == link.name)
        .with_context(|| {
            format!(
                "CNI created bridge {} in host namespace was not found",
                link.name
            )
        })?;
    if !recorded.sandbox.is_empty() {
        bail!("Interface {} should not be in sandbox", recorded.name);
    }
    // Without gateway addresses a bridge takes its address from its ports, and may do so.
    let actual = link.mac_string();
    let differs = !recorded.mac.is_empty() && !recorded.mac.eq_ignore_ascii_case(&actual);
    if config.is_gateway && differs {
        bail!(
            "Bridge interface {} Mac doesn't match: {} was recorded, it has {actual}",
            link.name,
            recorded.mac
        );
    }
    if !link.is_up() {
        bail!("Bridge interface {} is down", link.name);
    }
    // Somebody capturing packets makes it promiscuous too: only the lack is wrong.
    if config.promisc_mode && link.promiscuity == 0 {
        bail!(
            "Bridge interface {} configured Promisc Mode true doesn't match current state: false",
            link.name
        );
    }
    Ok(link)
}

fn container_end(
    container: &Container,
    recorded: &Interface,
    config: &Config,
) -> anyhow::Result<Link> {
    let link = lookup(&container.rtnl, &recorded.name)?;
    if !link.is_kind("veth") {
        bail!("Error: Container interface {} not of type veth", link.name);
    }
    check::mac(recorded, &link)?;
    if !config.disable_container_interface && !link.is_up() {
        bail!("Interface {} is down", link.name);
    }
    mtu(&link, config)?;
    Ok(link)
}

fn mtu(link: &Link, config: &Config) -> anyhow::Result<()> {
    if let Some(mtu) = config.mtu
        && link.mtu != mtu
    {
        bail!(
            "Interface {} has MTU {}, configured is {mtu}",
            link.name,
            link.mtu
        );
    }
    Ok(())
}

/// The host's end is the recorded veth whose peer is the container's end.
fn host_end(
    host: &Handle,
    result: &AddResult,
    container: &Interface,
    inside: &Link,
    bridge: &Link,
    config: &Config,
) -> anyhow::Result<()> {
    let recorded: Vec<&Interface> = result
        .interfaces
        .iter()
        .filter(|i| i.sandbox.is_empty() && i.name != bridge.name && i.name != container.name)
        .collect();
    for interface in &recorded {
        let link = lookup(host, &interface.name)?;
        let is_peer = link.is_kind("veth")
            && link.link == Some(inside.index)
            && inside.link == Some(link.index);
        if !is_peer {
            continue;
        }
        check::mac(interface, &link)?;
        mtu(&link, config)?;
        if !link.is_up() {
            bail!("Interface {} is down", link.name);
        }
        if link.master != Some(bridge.index) {
            bail!(
                "CNI veth created for bridge {} was not found: {} is not its port",
                bridge.name,
                link.name
            );
        }
        if let Some(port) = &link.port
            && port.hairpin != config.hairpin_mode
        {
            bail!(
                "Interface {} has hairpin mode {}, configured is {}",
                link.name,
                port.hairpin,
                config.hairpin_mode
            );
        }
        return Ok(());
    }
    bail!("CNI veth created for bridge {} was not found", bridge.name)
}

fn gateways(
    host: &Handle,
    result: &AddResult,
    number: usize,
    bridge: &Link,
    config: &Config,
) -> anyhow::Result<()> {
    if !config.is_gateway {
        return Ok(());
    }
    let present = host
        .addresses(bridge.index, None)
        .context("could not get list of IP addresses")?;
    for ip in result
        .ips
        .iter()
        .filter(|ip| ip.interface == i64::try_from(number).ok())
    {
        let Some(gateway) = ip.gateway else { continue };
        let found = present
            .iter()
            .any(|a| a.addr == gateway && a.prefix == ip.address.prefix());
        if !found {
            bail!(
                "gateway address {gateway}/{} is not on bridge {}",
                ip.address.prefix(),
                bridge.name
            );
        }
    }
    Ok(())
}

fn lookup(handle: &Handle, name: &str) -> anyhow::Result<Link> {
    handle
        .link_by_name(name)
        .map_err(|e| match e.is_not_found() {
            true => anyhow!("Interface name {name} not found"),
            false => anyhow!(e).context(format!("failed to lookup {}", quote(name))),
        })
}
