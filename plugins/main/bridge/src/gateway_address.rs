//! Gateway addresses of the bridge, or of the host's interface in a VLAN.

use crate::Config;
use crate::bridge::{complete_ports, has_new_ports};
use crate::vlan_gateway::{GatewaySpec, VlanGateway};
use anyhow::{Context, anyhow};
use cni_core::quote::quote;
use cni_core::{Cidr, Code, Error};
use plugin_kit::link_options::Mtu;
use plugin_kit::{Undo, addressing, wait};
use rtnl::{Address, AddressSpec, Handle, Link, LinkChange, Request};
use std::net::IpAddr;

/// Adds `gateways` to the bridge, or with `vlan` to the host's interface in that VLAN,
/// which is returned. Replaces addresses that conflict if that is configured.
///
/// It is called while the container's port is in the bridge and not yet up, so that a
/// failing ADD of another container can tell whether an address that it added is in use.
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
    let failed = || match vlan_gateway {
        None => "failed to set bridge addr",
        Some(_) => "failed to set vlan interface for bridge with addr",
    };
    let carrier = vlan_gateway.as_ref().map_or(bridge, |found| &found.link);
    for gateway in gateways {
        addressing::require_ipv6_mtu(*gateway, carrier)?;
    }
    let mut known_ports = vec![port.index];
    let of_vlan = vlan_gateway.as_ref().and_then(|found| found.port.as_ref());
    known_ports.extend(of_vlan.map(|port| port.index));
    let present = host
        .addresses(carrier.index, None)
        .context("could not get list of IP addresses")
        .with_context(failed)?;
    let assignment = Assignment {
        host,
        bridge,
        carrier,
        known_ports,
        gateways,
        present,
        force: config.force_address,
    };
    let mut added = false;
    for gateway in gateways {
        added |= assignment.ensure(*gateway, undo).with_context(failed)?;
    }
    if added && vlan_gateway.is_none() {
        pin_mac(host, bridge).with_context(failed)?;
    }
    let new = gateways.iter().filter(|gateway| !assignment.has(**gateway));
    wait::until_reachable(host, new.map(Cidr::addr)).with_context(failed)?;
    Ok(vlan_gateway)
}

/// The host's interface in the VLAN of the container; `None` without one.
fn vlan_gateway<'a>(
    host: &'a Handle,
    bridge: &Link,
    port: &Link,
    config: &Config,
    undo: &mut Undo<'a>,
) -> anyhow::Result<Option<VlanGateway>> {
    let Some(vlans) = &config.vlans else {
        return Ok(None);
    };
    let Some(name) = vlans.gateway_name(&bridge.name) else {
        return Ok(None);
    };
    let mtu = match config.mtu {
        Mtu::Auto => port.mtu,
        Mtu::Bytes(_) => bridge.mtu,
    };
    let spec = GatewaySpec { bridge, vlans, mtu };
    spec.ensure(host, &name, port, undo).map(Some)
}

/// Gateway addresses, and the link that gets them.
struct Assignment<'a, 't> {
    host: &'a Handle,
    bridge: &'t Link,
    /// The bridge, or an interface in a VLAN of it.
    carrier: &'t Link,
    /// Indexes of the ports that this ADD has created, or that lead to no container.
    known_ports: Vec<u32>,
    gateways: &'t [Cidr],
    /// The addresses that the carrier had before.
    present: Vec<Address>,
    force: bool,
}

impl<'a> Assignment<'a, '_> {
    fn has(&self, gateway: Cidr) -> bool {
        self.present.iter().any(|address| is(address, gateway))
    }

    /// Adds `gateway` unless the link has it. Returns whether it was added.
    fn ensure(&self, gateway: Cidr, undo: &mut Undo<'a>) -> anyhow::Result<bool> {
        let conflicting = self.conflicting(gateway);
        if let Some(first) = conflicting.first()
            && !self.force
        {
            return Err(self.conflict(gateway, first).into());
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

    /// Returns the addresses before `gateway` that conflict with it. As in upstream, those
    /// after it are left alone.
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

    /// The message is upstream's.
    fn conflict(&self, gateway: Cidr, present: &Address) -> Error {
        let what = match self.carrier.index == self.bridge.index {
            true => "failed to set bridge addr",
            false => "failed to set vlan interface for bridge with addr",
        };
        let name = quote(&self.carrier.name);
        let msg = format!("{what}: {name} already has an IP address different from {gateway}");
        let details = format!(
            "it has {}/{}; set forceAddress to replace it",
            present.addr, present.prefix
        );
        Error::new(Code::INTERNAL, msg).with_details(details)
    }

    /// Adds `gateway`. Returns `false` if a concurrent ADD added it first.
    fn add(&self, gateway: Cidr, undo: &mut Undo<'a>) -> anyhow::Result<bool> {
        let (host, bridge, carrier) = (self.host, self.bridge.index, self.carrier.index);
        let mut known_ports = complete_ports(host, bridge)?;
        known_ports.extend(&self.known_ports);
        let mut spec = AddressSpec::new(gateway.addr(), gateway.prefix());
        // It must answer at once: no other node can have the address of a bridge that the
        // plugin runs.
        spec.nodad = !gateway.is_ipv4();
        match host.request(Request::add_address(carrier, &spec)) {
            Ok(_) => {}
            // The ADD of another container of this network, which also pins the MAC address.
            Err(e) if e.is_exists() => return Ok(false),
            Err(e) => {
                let name = quote(&self.carrier.name);
                let text = format!("could not add IP address {gateway} to {name}");
                return Err(anyhow!(e).context(text));
            }
        }
        undo.push("delete the gateway address", move || {
            // Containers that were attached since may rely on it.
            if has_new_ports(host, bridge, &known_ports)? {
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
        let spec = addressing::again(address);
        undo.push("restore the replaced address", move || {
            match host.request(Request::add_address(carrier, &spec)) {
                Err(e) if !e.is_exists() => Err(e.into()),
                _ => Ok(()),
            }
        });
        Ok(())
    }
}

fn is(address: &Address, cidr: Cidr) -> bool {
    address.addr == cidr.addr() && address.prefix == cidr.prefix()
}

/// Whether `address` conflicts with `gateway` on one link. A bridge has the addresses
/// of one IPv4 network. It may have those of several IPv6 networks unless one contains
/// another; link-local addresses, such as the kernel's own, never conflict.
fn conflicts(address: &Address, gateway: Cidr) -> bool {
    match address.addr {
        IpAddr::V4(_) => gateway.is_ipv4(),
        IpAddr::V6(addr) if gateway.is_ipv4() || addr.is_unicast_link_local() => false,
        IpAddr::V6(_) => Cidr::new(address.addr, address.prefix).is_some_and(|present| {
            present.contains(gateway.network()) || gateway.contains(present.network())
        }),
    }
}

/// Sets the bridge's MAC address to the one that it had before the port joined. It then no
/// longer follows its ports, and neighbour entries of containers stay valid. A bridge that
/// lost its last port has none, and keeps the new port's.
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
