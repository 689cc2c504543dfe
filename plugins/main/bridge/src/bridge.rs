//! Look-up or creation of the bridge, and of the veth pair whose host end is its port.

use crate::bridge_changes::Changes;
use crate::{Config, vlan};
use anyhow::{Context, anyhow};
use cni_core::quote::quote;
use cni_core::{Call, Code, Error};
use plugin_kit::link_options::Mtu;
use plugin_kit::veth::{self, VethPair, VethSpec};
use plugin_kit::{Container, MacAddress, Undo, deletion, host_link, parent, state, status, sysctl};
use rtnl::{Bridge, Handle, Link, LinkKind, LinkSpec, OperState, Request};

/// How often the bridge may vanish between its look-up and the creation of a port:
/// a failing ADD of another container deletes the bridge that it created.
const ATTEMPTS: u32 = 5;

/// Creates a veth pair whose host end is a port of the bridge, and the bridge if there
/// is none. Returns the bridge and the pair.
pub(crate) fn attach<'a>(
    host: &'a Handle,
    container: &Container,
    call: &Call,
    config: &Config,
    undo: &mut Undo<'a>,
) -> anyhow::Result<(Link, VethPair)> {
    let mut attempt = 1;
    let alias = host_link::of_owner(&state::owner(call));
    loop {
        let bridge = ensure(host, config, undo)
            .with_context(|| format!("failed to create bridge {}", quote(&config.bridge)))?;
        let spec = VethSpec {
            container_name: &call.if_name,
            alias: &alias,
            mtu: pair_mtu(host, &bridge, config.mtu)?,
            mac: config.mac,
            master: Some(bridge.index),
        };
        match veth::create_with(host, container, &spec, config.link_options, undo) {
            Ok(pair) => return Ok((bridge, pair)),
            Err(_) if attempt < ATTEMPTS && is_gone(host, &bridge) => attempt += 1,
            Err(e) => return Err(e),
        }
    }
}

/// The MTU in bytes of both ends of the pair; `None` leaves it to the kernel.
fn pair_mtu(host: &Handle, bridge: &Link, mtu: Mtu) -> anyhow::Result<Option<u32>> {
    let Mtu::Auto = mtu else {
        return bridge_mtu(mtu);
    };
    let ports = host.links_by_master(bridge.index)?;
    let of_ports = ports.iter().map(|port| port.mtu).min();
    let of_egress = parent::egress_mtu(host)?;
    Ok(of_ports.into_iter().chain(of_egress).min())
}

/// The MTU in bytes of a new bridge; `None` lets it follow its ports.
fn bridge_mtu(mtu: Mtu) -> anyhow::Result<Option<u32>> {
    match mtu {
        Mtu::Bytes(0) | Mtu::Auto => Ok(None),
        Mtu::Bytes(bytes) => Ok(Some(u32::try_from(bytes)?)),
    }
}

fn is_gone(host: &Handle, bridge: &Link) -> bool {
    host.link_by_index(bridge.index)
        .is_err_and(|e| e.is_not_found())
}

/// Finds or creates the bridge, and brings it into the state that is configured.
pub(crate) fn ensure<'a>(
    host: &'a Handle,
    config: &Config,
    undo: &mut Undo<'a>,
) -> anyhow::Result<Link> {
    let name = &config.bridge;
    let (mut bridge, is_new) = match host.link_by_name(name) {
        Ok(link) => (link, false),
        Err(e) if e.is_not_found() => create(host, config, undo)?,
        Err(e) => return Err(anyhow!(e).context(format!("could not lookup {}", quote(name)))),
    };
    // Before any change: a mistyped name may be that of another interface of the host.
    require_bridge(&bridge, name)?;
    if config.vlans.is_some() {
        vlan::require_support(&bridge, Code::INTERNAL)?;
    }
    let mut changes = Changes::needed(&bridge, config);
    if is_new {
        prepare_ipv6(&bridge.name);
    } else {
        changes.vlan_filtering = config.vlans.is_some() && vlan::may_filter(host, &mut bridge)?;
        changes.refuse_ra = accepts_ra(&bridge.name);
        changes.revert_on_failure(host, &bridge, undo)?;
        // An ADD that was killed right after it had created the bridge leaves it down.
        if !bridge.is_up() {
            prepare_ipv6(&bridge.name);
        }
    }
    changes.apply(host, &mut bridge)?;
    Ok(bridge)
}

/// The message is upstream's.
fn require_bridge(link: &Link, name: &str) -> anyhow::Result<()> {
    if link.is_kind("bridge") {
        return Ok(());
    }
    let name = quote(name);
    let msg = format!("failed to create bridge {name}: {name} already exists but is not a bridge");
    let kind = link.kind.as_deref().unwrap_or("hardware");
    let details = format!("it is a link of kind {kind}; choose another name for \"bridge\"");
    Err(Error::new(Code::INTERNAL, msg).with_details(details).into())
}

/// STATUS: whether the kernel has bridges and veth pairs, and the bridge could be used, if
/// it exists.
///
/// # Errors
/// With code 50 if it could not, or would not isolate the VLANs of its containers.
pub(crate) fn probe(host: &Handle, config: &Config) -> anyhow::Result<()> {
    status::require_link_kinds(host, &["bridge", "veth"])?;
    let name = quote(&config.bridge);
    match host.link_by_name(&config.bridge) {
        Ok(link) if !link.is_kind("bridge") => {
            let msg = format!("{name} already exists but is not a bridge");
            let error = Error::new(Code::PLUGIN_NOT_AVAILABLE, msg);
            Err(error
                .with_details("choose another name for \"bridge\"")
                .into())
        }
        Ok(link) if config.vlans.is_some() => vlan::probe(host, &link),
        Err(e) if e.is_not_found() && config.vlans.is_some() => try_vlan_filtering(),
        Err(e) if !e.is_not_found() => Err(anyhow!(e).context(format!("could not lookup {name}"))),
        _ => Ok(()),
    }
}

/// Tests in a namespace of its own whether a new bridge can filter by VLAN.
///
/// # Errors
/// With code 50 if it cannot.
fn try_vlan_filtering() -> anyhow::Result<()> {
    const NAME: &str = "trial";
    let trial = status::trial_container()?;
    let kind = Bridge {
        vlan_filtering: Some(true),
        ..Bridge::default()
    };
    let spec = LinkSpec::new(NAME, LinkKind::Bridge(kind));
    match trial.rtnl.request(Request::new_link(&spec)) {
        Ok(_) => {}
        Err(e) if e.is_unsupported() => {
            return Err(vlan::unsupported(Code::PLUGIN_NOT_AVAILABLE).into());
        }
        Err(e) => return Err(status::not_available(e)),
    }
    let bridge = trial.rtnl.link_by_name(NAME)?;
    Ok(vlan::require_support(&bridge, Code::PLUGIN_NOT_AVAILABLE)?)
}

/// Sets the IPv6 sysctls of a new interface of the host while it is down: the bridge, or
/// the one in a VLAN. Missing ones are no error: the kernel may have no IPv6.
pub(crate) fn prepare_ipv6(name: &str) {
    refuse_ra(name);
    // The kernel sends neighbour solicitations for forwarded packets only from a
    // link-local address that has passed duplicate address detection. No other node can
    // have the address of an interface that was just created.
    let _ = sysctl::ensure(&ipv6_key(name, "accept_dad"), "0");
}

/// Keeps containers from configuring the host with router advertisements.
pub(crate) fn refuse_ra(name: &str) {
    let _ = sysctl::ensure(&ipv6_key(name, "accept_ra"), "0");
}

fn accepts_ra(name: &str) -> bool {
    sysctl::get(&ipv6_key(name, "accept_ra")).is_ok_and(|value| value != "0")
}

/// The IPv6 sysctl `key` of the interface `name`.
pub(crate) fn ipv6_key(name: &str, key: &str) -> String {
    format!("net/ipv6/conf/{name}/{key}")
}

/// Creates the bridge. Returns it, and `false` if a concurrent ADD created it first.
fn create<'a>(
    host: &'a Handle,
    config: &Config,
    undo: &mut Undo<'a>,
) -> anyhow::Result<(Link, bool)> {
    let name = &config.bridge;
    let kind = Bridge {
        vlan_filtering: config.vlans.is_some().then_some(true),
        ..Bridge::default()
    };
    let mut spec = LinkSpec::new(name.clone(), LinkKind::Bridge(kind));
    spec.mtu = bridge_mtu(config.mtu)?;
    if config.is_gateway {
        // The MAC address of a bridge follows its ports unless it was set, and containers
        // would lose their gateway. Set at creation, it is the same in all results.
        spec.mac = Some(MacAddress::random()?.0.to_vec());
    }
    let find = || {
        host.link_by_name(name)
            .with_context(|| format!("could not lookup {}", quote(name)))
    };
    match host.request(Request::new_link(&spec)) {
        Ok(reply) => {
            let found = reply.link.map_or_else(find, Ok);
            let link = found.inspect_err(|_| {
                // The look-up's error is the one to report.
                let _ = deletion::delete_on_host_by_name(host, name);
            })?;
            let index = link.index;
            undo.push("delete the bridge", move || delete_unused(host, index));
            Ok((link, true))
        }
        Err(e) if e.is_exists() => Ok((find()?, false)),
        Err(e) if e.is_unsupported() && config.vlans.is_some() => {
            Err(vlan::unsupported(Code::INTERNAL).into())
        }
        Err(e) => Err(anyhow!(e).context(format!("could not add {}", quote(name)))),
    }
}

/// Deletes a bridge that this ADD created, unless it has got other ports.
fn delete_unused(host: &Handle, index: u32) -> anyhow::Result<()> {
    if !host.links_by_master(index)?.is_empty() {
        return Ok(());
    }
    Ok(deletion::delete_on_host(host, index)?)
}

/// The ports that may lead to containers: the ends of veth pairs.
pub(crate) fn container_ports(host: &Handle, bridge: u32) -> anyhow::Result<Vec<Link>> {
    let mut ports = host.links_by_master(bridge)?;
    ports.retain(|port| port.is_kind("veth"));
    Ok(ports)
}

/// Indexes of the ports whose ADD has added its gateway addresses: those with both ends up.
pub(crate) fn complete_ports(host: &Handle, bridge: u32) -> anyhow::Result<Vec<u32>> {
    let ports = container_ports(host, bridge)?;
    let complete = ports.iter().filter(|port| port.operstate == OperState::Up);
    Ok(complete.map(|port| port.index).collect())
}

/// Whether the bridge has container ports besides the `known` ones. A failing ADD then
/// keeps what it added: the containers of these ports may rely on it.
pub(crate) fn has_new_ports(host: &Handle, bridge: u32, known: &[u32]) -> anyhow::Result<bool> {
    let ports = container_ports(host, bridge)?;
    Ok(ports.iter().any(|port| !known.contains(&port.index)))
}
