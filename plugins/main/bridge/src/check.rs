//! CHECK: is the attachment still as ADD made it?

use crate::vlan::{self, PortVlans};
use crate::{Config, spoof_check, vlan_gateway};
use anyhow::{Context, anyhow, bail};
use cni_core::quote::quote;
use cni_core::{AddResult, Call, Interface, IpConfig};
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
    let port = host_end(&host, &result, recorded, &inside, &bridge, &config)?;
    check::addresses_and_routes(&container, &inside, &result, number)?;
    if config.is_gateway {
        let carrier = gateway_carrier(&host, &result, number, &bridge, &config)?;
        gateways(&host, &result, number, carrier.as_ref().unwrap_or(&bridge))?;
    }
    if let Some(masquerade) = &config.masquerade {
        masquerade.check(call, own_ips(&result, number))?;
    }
    if config.mac_spoof_check {
        spoof_check::check(call, &port, &inside)?;
    }
    if config.guard.is_wanted() {
        config.guard.check(&port)?;
    }
    Ok(())
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
    let in_vlan = config
        .vlans
        .as_ref()
        .and_then(|v| v.gateway_name(&link.name));
    if config.is_gateway && in_vlan.is_none() && differs {
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
    config.mtu.check(recorded, &link)?;
    config.link_keys.check(&link)?;
    Ok(link)
}

/// The host's end is the recorded veth whose peer is the container's end.
fn host_end(
    host: &Handle,
    result: &AddResult,
    container: &Interface,
    inside: &Link,
    bridge: &Link,
    config: &Config,
) -> anyhow::Result<Link> {
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
        config.mtu.check(interface, &link)?;
        config.link_keys.check(&link)?;
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
        port(&link, config)?;
        if let Some(wanted) = &config.vlans {
            vlans(host, bridge, &link, wanted)?;
        }
        return Ok(link);
    }
    bail!("CNI veth created for bridge {} was not found", bridge.name)
}

/// The options of the port.
fn port(link: &Link, config: &Config) -> anyhow::Result<()> {
    let Some(port) = &link.port else {
        return Ok(());
    };
    // Kernels that do not tell have no isolation.
    let isolated = port.isolated.unwrap_or(false);
    for (what, present, wanted) in [
        ("hairpin mode", port.hairpin, config.hairpin_mode),
        ("port isolation", isolated, config.port_isolation),
    ] {
        if present != wanted {
            bail!(
                "Interface {} has {what} {present}, configured is {wanted}",
                link.name
            );
        }
    }
    Ok(())
}

/// The VLANs of a port, and whether the bridge heeds them.
fn vlans(host: &Handle, bridge: &Link, port: &Link, wanted: &PortVlans) -> anyhow::Result<()> {
    if !vlan::is_filtering(bridge) {
        bail!("Bridge interface {} does not filter by vlan", bridge.name);
    }
    let present = host
        .bridge_vlans(port.index)
        .with_context(|| format!("failed to list the vlans of {}", quote(&port.name)))?;
    match wanted.difference(bridge, &present) {
        Some(difference) => bail!("Interface {} {difference}", port.name),
        None => Ok(()),
    }
}

/// The host's interface in the container's VLAN; `None` where it is the bridge itself.
fn gateway_carrier(
    host: &Handle,
    result: &AddResult,
    number: usize,
    bridge: &Link,
    config: &Config,
) -> anyhow::Result<Option<Link>> {
    let Some(wanted) = &config.vlans else {
        return Ok(None);
    };
    let Some(name) = wanted.gateway_name(&bridge.name) else {
        return Ok(None);
    };
    // Without addresses of the container there is none.
    if own_ips(result, number).next().is_none() {
        return Ok(None);
    }
    let link = lookup(host, &name)?;
    let recorded = result.interfaces.iter();
    if let Some(recorded) = recorded
        .clone()
        .find(|i| i.sandbox.is_empty() && i.name == name)
    {
        check::mac(recorded, &link)?;
    }
    if !link.is_up() {
        bail!("Interface {name} is down");
    }
    if let Some(port) = vlan_gateway::other_end(host, &link)? {
        if port.master != Some(bridge.index) {
            bail!(
                "Interface {name} does not lead to bridge {}: {} is not its port",
                bridge.name,
                port.name
            );
        }
        if !port.is_up() {
            bail!("Interface {} is down", port.name);
        }
        vlans(host, bridge, &port, &wanted.of_gateway())?;
    }
    Ok(Some(link))
}

fn own_ips(result: &AddResult, number: usize) -> impl Iterator<Item = &IpConfig> {
    let number = i64::try_from(number).ok();
    result.ips.iter().filter(move |ip| ip.interface == number)
}

fn gateways(
    host: &Handle,
    result: &AddResult,
    number: usize,
    carrier: &Link,
) -> anyhow::Result<()> {
    let present = host
        .addresses(carrier.index, None)
        .context("could not get list of IP addresses")?;
    for ip in own_ips(result, number) {
        let Some(gateway) = ip.gateway else { continue };
        let found = present
            .iter()
            .any(|a| a.addr == gateway && a.prefix == ip.address.prefix());
        if !found {
            bail!(
                "gateway address {gateway}/{} is not on {} {}",
                ip.address.prefix(),
                match carrier.is_kind("bridge") {
                    true => "bridge",
                    false => "vlan interface",
                },
                carrier.name
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
