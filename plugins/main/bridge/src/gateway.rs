//! The gateway addresses: which they are, and putting them on the bridge.

use crate::vlan_gateway::{self, VlanGateway};
use crate::{Config, uplink};
use anyhow::{Context, anyhow, bail};
use cni_core::quote::quote;
use cni_core::{AddResult, Cidr, Code, Error, IpConfig, Route};
use plugin_kit::link_options::Mtu;
use plugin_kit::{Undo, wait};
use rtnl::{
    Address, AddressSpec, Broadcast, Handle, IFA_F_NOPREFIXROUTE, Link, LinkChange, Request,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Completes the result's addresses and routes, and returns the addresses that
/// belong on the bridge.
pub(crate) fn derive(result: &mut AddResult, config: &Config) -> anyhow::Result<Vec<Cidr>> {
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
        if gateway == ip.address.addr() {
            let msg = format!("address {} is the gateway's own", ip.address);
            return Err(Error::new(Code::INVALID_NETWORK_CONFIG, msg)
                .with_details("let ipam hand out another address, or set isGateway to false")
                .into());
        }
        ip.gateway = Some(gateway);
        if config.is_default_gateway {
            defaults.push(gateway);
        }
        let on_bridge =
            Cidr::new(gateway, ip.address.prefix()).filter(|c| c.is_ipv4() == ip.address.is_ipv4());
        let on_bridge = on_bridge.ok_or_else(|| {
            Error::new(
                Code::INVALID_NETWORK_CONFIG,
                format!(
                    "gateway {gateway} is of another family than address {}",
                    ip.address
                ),
            )
        })?;
        if !gateways.contains(&on_bridge) {
            gateways.push(on_bridge);
        }
    }
    for gateway in defaults {
        // One of the main table without a gateway of its own gets this one anyway.
        let present = result.routes.iter().any(|route| {
            let is_default = route.dst.is_default() && route.dst.is_ipv4() == gateway.is_ipv4();
            is_default && (route.gw.is_some() || is_main(route.table))
        });
        if !present {
            result.routes.push(default_route(gateway));
        }
    }
    Ok(gateways)
}

/// Zero is the kernel's "unspecified", which it takes for main.
fn is_main(table: Option<i64>) -> bool {
    table.is_none_or(|table| table == 0 || table == i64::from(rtnl::RT_TABLE_MAIN))
}

fn default_route(gateway: IpAddr) -> Route {
    let any: IpAddr = match gateway {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A zero prefix length is valid for both families.
    Route {
        gw: Some(gateway),
        ..Route::to(Cidr::new(any, 0).unwrap_or(Cidr::host(any)))
    }
}

/// The gateway of a network that names none: the network's address plus one.
fn first_of_network(ip: &IpConfig) -> anyhow::Result<IpAddr> {
    let first: IpAddr = match ip.address.network() {
        IpAddr::V4(n) => Ipv4Addr::from(u32::from(n).wrapping_add(1)).into(),
        IpAddr::V6(n) => Ipv6Addr::from(u128::from(n).wrapping_add(1)).into(),
    };
    if !ip.address.contains(first) {
        return Err(Error::new(
            Code::INVALID_NETWORK_CONFIG,
            format!("network {} leaves no room for a gateway", ip.address),
        )
        .with_details("name a gateway in the ipam configuration, or set isGateway to false")
        .into());
    }
    Ok(first)
}

/// Puts `gateways` on the bridge, or with `vlan` on the host's interface in that VLAN,
/// which is returned. Replaces what conflicts if that is allowed.
///
/// This comes when the container's port has joined the bridge, and before it is up:
/// by that a failing ADD of another container knows whether an address it added is
/// in use by now.
pub(crate) fn assign<'a>(
    host: &'a Handle,
    bridge: &Link,
    port: &Link,
    gateways: &[Cidr],
    config: &Config,
    undo: &mut Undo<'a>,
) -> anyhow::Result<Option<VlanGateway>> {
    if gateways.is_empty() {
        return Ok(None);
    }
    let vlan_gateway = vlan_gateway(host, bridge, port, config, undo)
        .context("failed to create vlan interface")?;
    let carrier = vlan_gateway.as_ref().map_or(bridge, |found| &found.link);
    let mut ports = vec![port.index];
    let of_vlan = vlan_gateway.as_ref().and_then(|found| found.port.as_ref());
    ports.extend(of_vlan.map(|port| port.index));
    let failed = || match vlan_gateway {
        None => "failed to set bridge addr",
        Some(_) => "failed to set vlan interface for bridge with addr",
    };
    let present = host
        .addresses(carrier.index, None)
        .context("could not get list of IP addresses")
        .with_context(failed)?;
    let task = Task {
        host,
        bridge,
        carrier,
        ports,
        gateways,
        present,
        force: config.force_address,
    };
    let mut added = false;
    for gateway in gateways {
        added |= task.ensure(*gateway, undo).with_context(failed)?;
    }
    if added && vlan_gateway.is_none() {
        pin_mac(host, bridge).with_context(failed)?;
    }
    let fresh = gateways.iter().filter(|gateway| !task.has(**gateway));
    wait::until_reachable(host, fresh.map(Cidr::addr)).with_context(failed)?;
    Ok(vlan_gateway)
}

/// The host's interface in the VLAN of the container, if there is to be one.
fn vlan_gateway<'a>(
    host: &'a Handle,
    bridge: &Link,
    port: &Link,
    config: &Config,
    undo: &mut Undo<'a>,
) -> anyhow::Result<Option<VlanGateway>> {
    let (Some(vlans), Some(name)) = (&config.vlans, config.vlan_gateway_name()) else {
        return Ok(None);
    };
    let mtu = match config.mtu {
        Mtu::Auto => port.mtu,
        Mtu::Bytes(_) => bridge.mtu,
    };
    vlan_gateway::ensure(host, bridge, port, &name, vlans, mtu, undo).map(Some)
}

/// What is to be done, and what it is done to.
struct Task<'a, 't> {
    host: &'a Handle,
    bridge: &'t Link,
    /// What has the gateway addresses: the bridge, or an interface in a VLAN of it.
    carrier: &'t Link,
    /// Indexes of the ports that this ADD has made, or knows to be nobody's.
    ports: Vec<u32>,
    gateways: &'t [Cidr],
    /// The addresses that the carrier had before.
    present: Vec<Address>,
    force: bool,
}

impl<'a> Task<'a, '_> {
    fn has(&self, gateway: Cidr) -> bool {
        self.present.iter().any(|address| is(address, gateway))
    }

    /// Whether the address had to be added.
    fn ensure(&self, gateway: Cidr, undo: &mut Undo<'a>) -> anyhow::Result<bool> {
        let conflicting = self.conflicting(gateway);
        if let Some(first) = conflicting.first()
            && !self.force
        {
            bail!(
                "{} already has an IP address different from {gateway}: {}/{}; \
                 set forceAddress to replace it",
                quote(&self.carrier.name),
                first.addr,
                first.prefix
            );
        }
        if conflicting.is_empty() && self.has(gateway) {
            return Ok(false);
        }
        // Backwards, so that undoing it restores their order.
        for address in conflicting.iter().rev() {
            self.remove(address, undo)?;
        }
        self.add(gateway, undo)
    }

    /// As upstream has it: what comes after the wanted address is left alone.
    fn conflicting(&self, gateway: Cidr) -> Vec<&Address> {
        let before = self
            .present
            .iter()
            .take_while(|address| !is(address, gateway));
        let own = |address: &Address| self.gateways.iter().any(|own| is(address, *own));
        before
            .filter(|address| conflicts(address, gateway) && !own(address))
            .collect()
    }

    fn add(&self, gateway: Cidr, undo: &mut Undo<'a>) -> anyhow::Result<bool> {
        let (host, bridge, carrier) = (self.host, self.bridge.index, self.carrier.index);
        let mut indifferent = uplink::complete(host, bridge)?;
        indifferent.extend(&self.ports);
        let mut spec = AddressSpec::new(gateway.addr(), gateway.prefix());
        // It must answer at once: nobody else can have the address of a bridge that
        // the plugin runs.
        spec.nodad = !gateway.is_ipv4();
        match host.request(Request::add_address(carrier, &spec)) {
            Ok(_) => {}
            // Another container of this network came first, and pins the hardware address.
            Err(e) if e.is_exists() => return Ok(false),
            Err(e) => {
                let name = quote(&self.carrier.name);
                let text = format!("could not add IP address {gateway} to {name}");
                return Err(anyhow!(e).context(text));
            }
        }
        undo.push("take the gateway address off the bridge", move || {
            // Containers that came meanwhile may have come to rely on it.
            let ports = uplink::container_ports(host, bridge)?;
            if ports.iter().any(|port| !indifferent.contains(&port.index)) {
                return Ok(());
            }
            let del = Request::del_address(carrier, gateway.addr(), gateway.prefix());
            match host.request(del) {
                Err(e) if !e.is_not_found() => Err(e.into()),
                _ => Ok(()),
            }
        });
        Ok(true)
    }

    fn remove(&self, address: &Address, undo: &mut Undo<'a>) -> anyhow::Result<()> {
        let (host, carrier) = (self.host, self.carrier.index);
        match host.request(Request::del_address(carrier, address.addr, address.prefix)) {
            Err(e) if !e.is_not_found() => {
                return Err(anyhow!(e).context("could not remove IP address from bridge"));
            }
            _ => {}
        }
        let spec = AddressSpec {
            peer: address.peer,
            nodad: !address.addr.is_ipv4(),
            flags: address.flags & IFA_F_NOPREFIXROUTE,
            broadcast: match address.broadcast {
                Some(IpAddr::V4(broadcast)) => Broadcast::Address(broadcast),
                _ => Broadcast::None,
            },
            scope: address.scope,
            ..AddressSpec::new(address.addr, address.prefix)
        };
        undo.push(
            "put the replaced address back on the bridge",
            move || match host.request(Request::add_address(carrier, &spec)) {
                Err(e) if !e.is_exists() => Err(e.into()),
                _ => Ok(()),
            },
        );
        Ok(())
    }
}

fn is(address: &Address, cidr: Cidr) -> bool {
    address.addr == cidr.addr() && address.prefix == cidr.prefix()
}

/// IPv4: a bridge has the addresses of one network. IPv6: networks may stand side by side unless
/// one holds the other; link-local addresses, such as the kernel's own, always.
fn conflicts(address: &Address, gateway: Cidr) -> bool {
    match address.addr {
        IpAddr::V4(_) => gateway.is_ipv4(),
        IpAddr::V6(addr) if gateway.is_ipv4() || addr.is_unicast_link_local() => false,
        IpAddr::V6(_) => Cidr::new(address.addr, address.prefix).is_some_and(|present| {
            present.contains(gateway.network()) || gateway.contains(present.network())
        }),
    }
}

/// Gives the bridge the hardware address it had before the port came: from then on
/// it no longer follows the lowest of its ports', and containers' neighbour entries
/// stay right. A bridge that lost its last port has none left, and keeps the port's.
fn pin_mac(host: &Handle, bridge: &Link) -> anyhow::Result<()> {
    let mac = match bridge.mac.iter().all(|octet| *octet == 0) {
        true => host.link_by_index(bridge.index)?.mac,
        false => bridge.mac.clone(),
    };
    let change = LinkChange {
        mac: Some(mac),
        ..LinkChange::default()
    };
    host.request(Request::set_link(bridge.index, &change))
        .context("could not set bridge's mac")?;
    Ok(())
}
