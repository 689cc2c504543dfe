//! The gateway addresses: which they are, and putting them on the bridge.

use crate::Config;
use anyhow::{Context, anyhow, bail};
use cni_core::quote::quote;
use cni_core::{AddResult, Cidr, Code, Error, IpConfig, Route};
use plugin_kit::Undo;
use rtnl::{Address, AddressSpec, Handle, Link, LinkChange, Request};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Completes the result's addresses and routes and returns the addresses that
/// belong on the bridge.
pub(crate) fn complete(result: &mut AddResult, config: &Config) -> anyhow::Result<Vec<Cidr>> {
    let mut gateways = Vec::new();
    let mut defaults = Vec::new();
    for ip in &mut result.ips {
        ip.interface = Some(crate::CONTAINER_INTERFACE as i64);
        if !config.is_gateway {
            continue;
        }
        let gateway = match ip.gateway {
            Some(gateway) => gateway,
            None => first_of_network(ip)?,
        };
        ip.gateway = Some(gateway);
        if config.is_default_gateway {
            defaults.push(gateway);
        }
        let on_bridge = Cidr::new(gateway, ip.address.prefix()).filter(|c| c.is_ipv4() == ip.address.is_ipv4());
        let on_bridge = on_bridge.ok_or_else(|| {
            Error::new(
                Code::INVALID_NETWORK_CONFIG,
                format!("gateway {gateway} is of another family than address {}", ip.address),
            )
        })?;
        if !gateways.contains(&on_bridge) {
            gateways.push(on_bridge);
        }
    }
    for gateway in defaults {
        // A default route without a gateway of its own gets this one anyway.
        let present = result
            .routes
            .iter()
            .any(|r| r.dst.is_default() && r.dst.is_ipv4() == gateway.is_ipv4());
        if !present {
            result.routes.push(default_route(gateway));
        }
    }
    Ok(gateways)
}

fn default_route(gateway: IpAddr) -> Route {
    let any: IpAddr = match gateway {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    Route {
        // A zero prefix length is valid for both families.
        dst: Cidr::new(any, 0).unwrap_or(Cidr::host(any)),
        gw: Some(gateway),
        mtu: 0,
        advmss: 0,
        priority: 0,
        table: None,
        scope: None,
    }
}

/// The gateway of a network that names none: the network's address plus one.
fn first_of_network(ip: &IpConfig) -> anyhow::Result<IpAddr> {
    let first: IpAddr = match ip.address.network() {
        IpAddr::V4(n) => Ipv4Addr::from(u32::from(n).wrapping_add(1)).into(),
        IpAddr::V6(n) => Ipv6Addr::from(u128::from(n).wrapping_add(1)).into(),
    };
    if !ip.address.contains(first) || first == ip.address.addr() {
        return Err(Error::new(
            Code::INVALID_NETWORK_CONFIG,
            format!("network {} leaves no room for a gateway", ip.address),
        )
        .with_details("name a gateway in the ipam configuration, or set isGateway to false")
        .into());
    }
    Ok(first)
}

/// Puts `gateways` on the bridge, replacing what conflicts if that is allowed.
///
/// This comes after the container's port has joined the bridge: a failing ADD
/// of another container takes an address it added away only from a bridge that
/// nobody else is on.
pub(crate) fn assign<'a>(
    host: &'a Handle,
    bridge: &Link,
    port: &Link,
    gateways: &[Cidr],
    config: &Config,
    undo: &mut Undo<'a>,
) -> anyhow::Result<()> {
    if gateways.is_empty() {
        return Ok(());
    }
    let present = host
        .addresses(bridge.index, None)
        .context("could not get list of IP addresses")
        .context("failed to set bridge addr")?;
    let mut added = false;
    for gateway in gateways {
        added |= ensure(host, bridge, port, *gateway, &present, config, undo)
            .context("failed to set bridge addr")?;
    }
    if added {
        pin_mac(host, bridge).context("failed to set bridge addr")?;
    }
    Ok(())
}

/// Whether the address had to be added.
fn ensure<'a>(
    host: &'a Handle,
    bridge: &Link,
    port: &Link,
    gateway: Cidr,
    present: &[Address],
    config: &Config,
    undo: &mut Undo<'a>,
) -> anyhow::Result<bool> {
    for address in present {
        if address.addr == gateway.addr() && address.prefix == gateway.prefix() {
            return Ok(false);
        }
        if !conflicts(address, gateway) {
            continue;
        }
        if !config.force_address {
            bail!(
                "{} already has an IP address different from {gateway}: {}/{}; \
                 set forceAddress to replace it",
                quote(&bridge.name),
                address.addr,
                address.prefix
            );
        }
        remove(host, bridge, address, undo)?;
    }
    let mut spec = AddressSpec::new(gateway.addr(), gateway.prefix());
    // It must answer at once: nobody else can have the address of a bridge that
    // the plugin runs.
    spec.nodad = !gateway.is_ipv4();
    match host.request(Request::add_address(bridge.index, &spec)) {
        Ok(_) => {}
        // Another container of this network came first, and pins the hardware address.
        Err(e) if e.is_exists() => return Ok(false),
        Err(e) => {
            let text = format!("could not add IP address {gateway} to {}", quote(&bridge.name));
            return Err(anyhow!(e).context(text));
        }
    }
    let (bridge, port) = (bridge.index, port.index);
    undo.push("take the gateway address off the bridge", move || {
        if host.links_by_master(bridge)?.iter().any(|link| link.index != port) {
            return Ok(());
        }
        match host.request(Request::del_address(bridge, gateway.addr(), gateway.prefix())) {
            Err(e) if !e.is_not_found() => Err(e.into()),
            _ => Ok(()),
        }
    });
    Ok(true)
}

/// IPv4: a bridge has one address. IPv6: networks may stand side by side unless
/// one holds the other; the kernel's own link-local address is not in question.
fn conflicts(address: &Address, gateway: Cidr) -> bool {
    if address.addr.is_ipv4() != gateway.is_ipv4() {
        return false;
    }
    if gateway.is_ipv4() {
        return true;
    }
    let Some(present) = Cidr::new(address.addr, address.prefix) else { return false };
    present.contains(gateway.network()) || gateway.contains(present.network())
}

fn remove<'a>(
    host: &'a Handle,
    bridge: &Link,
    address: &Address,
    undo: &mut Undo<'a>,
) -> anyhow::Result<()> {
    match host.request(Request::del_address(bridge.index, address.addr, address.prefix)) {
        Err(e) if !e.is_not_found() => {
            return Err(anyhow!(e).context("could not remove IP address from bridge"));
        }
        _ => {}
    }
    let mut spec = AddressSpec::new(address.addr, address.prefix);
    spec.nodad = !address.addr.is_ipv4();
    let index = bridge.index;
    undo.push("put the replaced address back on the bridge", move || {
        match host.request(Request::add_address(index, &spec)) {
            Err(e) if !e.is_exists() => Err(e.into()),
            _ => Ok(()),
        }
    });
    Ok(())
}

/// Gives the bridge the hardware address it has: from then on it no longer
/// follows the lowest of its ports', and containers' neighbour entries stay right.
fn pin_mac(host: &Handle, bridge: &Link) -> anyhow::Result<()> {
    let change = LinkChange { mac: Some(bridge.mac.clone()), ..LinkChange::default() };
    host.request(Request::set_link(bridge.index, &change))
        .context("could not set bridge's mac")?;
    Ok(())
}
