//! Repair: puts back what is missing on the host, with the steps of ADD. The container is not touched.

use crate::check::ips_of;
use crate::filters::{self, Teardown};
use crate::{Config, bridge, gateway, gateway_address, port};
use anyhow::{Context, anyhow, bail};
use cni_core::quote::quote;
use cni_core::{AddResult, Call, IpConfig};
use plugin_kit::check::{container_interface, is_pair_of_upstream, required_prev_result};
use plugin_kit::masquerade::Plan;
use plugin_kit::veth::VethPair;
use plugin_kit::{Container, MacAddress, Undo, forwarding};
use rtnl::{Handle, Link, LinkChange, Request};

/// Puts back the bridge, its port and its gateway addresses, filters and forwarding. What exists is left alone.
pub(crate) fn run(call: &Call, config: &Config) -> anyhow::Result<()> {
    let container = Container::open(call)?;
    let result = required_prev_result(call)?;
    let (number, recorded) = container_interface(call, &result)?;
    let host = Handle::open()?;
    let inside = container
        .rtnl
        .link_by_name(&recorded.name)
        .with_context(|| format!("failed to lookup {}", quote(&recorded.name)))?;
    let pair = VethPair {
        host: host_end(&host, &result, &inside)?,
        container: inside,
    };
    let ips: Vec<IpConfig> = ips_of(&result, number).into_iter().cloned().collect();

    let mut undo = Undo::new();
    let is_new = !exists(&host, &config.bridge)?;
    let mut bridge = bridge::ensure(&host, config, &mut undo)
        .with_context(|| format!("failed to create bridge {}", quote(&config.bridge)))?;
    if is_new && config.is_gateway {
        bridge = with_recorded_mac(&host, bridge, &result)?;
    }
    enslave(&host, &bridge, &pair.host)?;
    port::configure(&host, &bridge, &pair.host, config)?;
    if config.is_gateway {
        add_gateways(&host, config, &bridge, &pair.host, &result, &ips, &mut undo)?;
        forwarding::enable(&ips)?;
    }
    add_filters(call, config, &bridge, &pair, &ips, &mut undo)?;
    undo.disarm();
    Ok(())
}

/// The recorded veth whose peer is the container's end.
fn host_end(host: &Handle, result: &AddResult, inside: &Link) -> anyhow::Result<Link> {
    let link = host.link_by_index(inside.link.unwrap_or_default());
    let link = link.with_context(|| format!("the host's end of {} was not found", inside.name))?;
    let is_recorded = |link: &Link| {
        let mut interfaces = result.interfaces.iter();
        interfaces.any(|i| i.sandbox.is_empty() && i.name == link.name)
    };
    if !link.is_kind("veth") || link.link != Some(inside.index) || !is_recorded(&link) {
        bail!("the host's end of {} was not found", inside.name);
    }
    Ok(link)
}

fn exists(host: &Handle, name: &str) -> anyhow::Result<bool> {
    match host.link_by_name(name) {
        Ok(_) => Ok(true),
        Err(e) if e.is_not_found() => Ok(false),
        Err(e) => Err(anyhow!(e).context(format!("could not lookup {}", quote(name)))),
    }
}

/// Gives a link that was created again the MAC address that ADD returned, which containers have in their neighbour
/// tables. Returns the link as it is then.
fn with_recorded_mac(host: &Handle, link: Link, result: &AddResult) -> anyhow::Result<Link> {
    let mut recorded = result.interfaces.iter();
    let recorded = recorded.find(|i| i.sandbox.is_empty() && i.name == link.name);
    let Some(mac) = recorded.and_then(|i| i.mac.parse::<MacAddress>().ok()) else {
        return Ok(link);
    };
    let change = LinkChange {
        mac: Some(mac.0.to_vec()),
        ..LinkChange::default()
    };
    host.request(Request::set_link(link.index, &change))
        .with_context(|| format!("failed to set the MAC address of {}", quote(&link.name)))?;
    Ok(host.link_by_index(link.index)?)
}

/// Makes the host's end a port of the bridge, and sets it up.
fn enslave(host: &Handle, bridge: &Link, port: &Link) -> anyhow::Result<()> {
    if port.master == Some(bridge.index) && port.is_up() {
        return Ok(());
    }
    let change = LinkChange {
        master: Some(bridge.index),
        up: Some(true),
        ..LinkChange::default()
    };
    host.request(Request::set_link(port.index, &change))
        .with_context(|| {
            let (port, bridge) = (quote(&port.name), quote(&bridge.name));
            format!("failed to connect {port} to bridge {bridge}")
        })?;
    Ok(())
}

/// Adds the gateway addresses to the bridge, or to the host's interface in the container's VLAN.
fn add_gateways<'a>(
    host: &'a Handle,
    config: &Config,
    bridge: &Link,
    port: &Link,
    result: &AddResult,
    ips: &[IpConfig],
    undo: &mut Undo<'a>,
) -> anyhow::Result<()> {
    let mut own = AddResult {
        ips: ips.to_vec(),
        ..AddResult::default()
    };
    let gateways = gateway::derive(&mut own, config)?;
    let name = config
        .vlans
        .as_ref()
        .and_then(|vlans| vlans.gateway_name(&bridge.name));
    let is_new = match name {
        Some(name) => !exists(host, &name)?,
        None => false,
    };
    let in_vlan = gateway_address::assign(host, bridge, port, &gateways, config, undo)?;
    if let Some(gateway) = in_vlan.filter(|_| is_new) {
        with_recorded_mac(host, gateway.link, result)?;
    }
    Ok(())
}

/// Creates the filters again unless they are complete.
fn add_filters<'u>(
    call: &'u Call,
    config: &Config,
    bridge: &Link,
    pair: &VethPair,
    ips: &[IpConfig],
    undo: &mut Undo<'u>,
) -> anyhow::Result<()> {
    let of_upstream = is_pair_of_upstream(&pair.host);
    let own: Vec<&IpConfig> = ips.iter().collect();
    if filters::check(call, config, &own, &pair.host, &pair.container, of_upstream).is_ok() {
        return Ok(());
    }
    let ready = filters::require(call, config, !ips.is_empty())?;
    // Some of them may be left.
    Teardown::of(call).map_or(Ok(()), Teardown::delete)?;
    let record = filters::create(call, config, bridge, pair, undo)?;
    let masquerade = config.masquerade.as_ref();
    let plan = masquerade.and_then(|m| m.plan(call, ips, ready, record, undo));
    plan.map_or(Ok(()), Plan::create)
}
