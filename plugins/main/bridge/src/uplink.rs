//! The bridge and the container's place on it.

use crate::{Config, vlan};
use anyhow::{Context, anyhow, bail};
use cni_core::quote::quote;
use cni_core::{Call, Code};
use plugin_kit::link_options::Mtu;
use plugin_kit::veth::{self, VethPair, VethSpec};
use plugin_kit::{Container, MacAddress, Undo, parent, sysctl};
use rtnl::{
    Bridge, Handle, IFF_PROMISC, IFF_UP, Link, LinkChange, LinkKind, LinkSpec, OperState, Request,
};

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
            mtu: mtu(host, &bridge, config.mtu)?,
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
fn mtu(host: &Handle, bridge: &Link, mtu: Mtu) -> anyhow::Result<Option<u32>> {
    let Mtu::Auto = mtu else {
        return fixed(mtu);
    };
    let ports = host.links_by_master(bridge.index)?;
    let of_ports = ports.iter().map(|port| port.mtu).min();
    let of_egress = parent::egress_mtu(host)?;
    Ok(of_ports.into_iter().chain(of_egress).min())
}

/// The same for the bridge, which follows its ports unless it is given one.
fn fixed(mtu: Mtu) -> anyhow::Result<Option<u32>> {
    match mtu {
        Mtu::Bytes(0) | Mtu::Auto => Ok(None),
        Mtu::Bytes(bytes) => Ok(Some(u32::try_from(bytes)?)),
    }
}

fn is_gone(host: &Handle, bridge: &Link) -> bool {
    host.link_by_index(bridge.index)
        .is_err_and(|e| e.is_not_found())
}

/// Finds or creates the bridge, and brings it into the state asked for.
fn ensure<'a>(host: &'a Handle, config: &Config, undo: &mut Undo<'a>) -> anyhow::Result<Link> {
    let name = &config.bridge;
    let (bridge, is_new) = match host.link_by_name(name) {
        Ok(link) => (link, false),
        Err(e) if e.is_not_found() => create(host, config, undo)?,
        Err(e) => return Err(anyhow!(e).context(format!("could not lookup {}", quote(name)))),
    };
    // Before anything of it is changed: a mistyped name may be a host's interface.
    if !bridge.is_kind("bridge") {
        let kind = bridge.kind.as_deref().unwrap_or("hardware");
        bail!(
            "{} already exists but is not a bridge (it is of kind {kind})",
            quote(name)
        );
    }
    if config.vlans.is_some() {
        vlan::require_support(&bridge, Code::INTERNAL)?;
        vlan::warn_unless_filtering(&bridge);
    }
    let lacks_promisc = config.promisc_mode && bridge.flags & IFF_PROMISC == 0;
    if is_new {
        prepare_ipv6(&bridge.name);
    } else {
        let before = Before::of(host, &bridge, lacks_promisc)?;
        if before.accepts_ra() {
            refuse_ra(&bridge.name);
        }
        undo.push("put the bridge back into its state", move || {
            before.restore(host)
        });
    }
    if lacks_promisc || !bridge.is_up() {
        let change = LinkChange {
            up: Some(true),
            promisc: lacks_promisc.then_some(true),
            ..LinkChange::default()
        };
        host.request(Request::set_link(bridge.index, &change))
            .with_context(|| format!("could not set {} up", quote(name)))?;
    }
    Ok(bridge)
}

/// Sysctls of a new bridge, or of an interface in a VLAN of it, before it comes up. Missing ones are no error, the kernel
/// may be built without IPv6.
pub(crate) fn prepare_ipv6(name: &str) {
    refuse_ra(name);
    // The kernel looks for a container on behalf of others only from a link-local
    // address that has passed duplicate address detection. Nobody else can have
    // the one of a bridge that has just been made.
    let _ = sysctl::ensure(&ipv6_key(name, "accept_dad"), "0");
}

/// No router advertisement from a container may configure the host.
fn refuse_ra(name: &str) {
    let _ = sysctl::ensure(&ipv6_key(name, "accept_ra"), "0");
}

fn ipv6_key(name: &str, key: &str) -> String {
    format!("net/ipv6/conf/{name}/{key}")
}

/// Whether the bridge is new comes with it: somebody else may have been faster.
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
    spec.mtu = fixed(config.mtu)?;
    if config.is_gateway {
        // A gateway must not change its address with its ports, as bridges do that were
        // not given one. Given from the start, it is the same in all results.
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
                // The error on its way says more than one of this attempt would.
                let _ = host.request(Request::del_link_by_name(name));
            })?;
            let index = link.index;
            undo.push("delete the bridge", move || remove_if_unused(host, index));
            Ok((link, true))
        }
        Err(e) if e.is_exists() => Ok((find()?, false)),
        Err(e) if e.is_unsupported() && config.vlans.is_some() => {
            Err(vlan::unsupported(Code::INTERNAL).into())
        }
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

/// What a bridge that this ADD found was like.
struct Before {
    link: Link,
    /// When this ADD is going to change it.
    changed: Option<Changed>,
}

struct Changed {
    /// The sysctl, unless it was zero already.
    accept_ra: Option<String>,
    /// Indexes of the ports that led to containers.
    containers: Vec<u32>,
}

impl Before {
    fn of(host: &Handle, link: &Link, lacks_promisc: bool) -> anyhow::Result<Self> {
        let accept_ra = sysctl::get(&ipv6_key(&link.name, "accept_ra")).ok();
        let accept_ra = accept_ra.filter(|value| value != "0");
        let mut changed = None;
        if lacks_promisc || !link.is_up() || accept_ra.is_some() {
            let ports = container_ports(host, link.index)?;
            let containers = ports.iter().map(|port| port.index).collect();
            changed = Some(Changed {
                accept_ra,
                containers,
            });
        }
        Ok(Before {
            link: link.clone(),
            changed,
        })
    }

    fn accepts_ra(&self) -> bool {
        self.changed
            .as_ref()
            .is_some_and(|changed| changed.accept_ra.is_some())
    }

    /// Makes it so again, except for what containers that came meanwhile may have come
    /// to rely on.
    fn restore(self, host: &Handle) -> anyhow::Result<()> {
        let now = match host.link_by_index(self.link.index) {
            Err(e) if e.is_not_found() => return Ok(()),
            found => found?,
        };
        let mut back = LinkChange::default();
        if let Some(changed) = self.changed
            && container_ports(host, now.index)?
                .iter()
                .all(|port| changed.containers.contains(&port.index))
        {
            let set_now = now.flags & !self.link.flags;
            back.up = (set_now & IFF_UP != 0).then_some(false);
            back.promisc = (set_now & IFF_PROMISC != 0).then_some(false);
            if let Some(accept_ra) = changed.accept_ra {
                sysctl::ensure(&ipv6_key(&now.name, "accept_ra"), &accept_ra)?;
            }
        }
        // The kernel clears the address of a bridge that loses its last port.
        if now.mac.iter().all(|octet| *octet == 0) && now.mac != self.link.mac {
            back.mac = Some(self.link.mac);
        }
        if back.up.is_none() && back.promisc.is_none() && back.mac.is_none() {
            return Ok(());
        }
        // Its IPv6 addresses would go with "up".
        let keep = ipv6_key(&now.name, "keep_addr_on_down");
        let kept = sysctl::get(&keep);
        let _ = sysctl::ensure(&keep, "1");
        let restored = host.request(Request::set_link(now.index, &back));
        if let Ok(kept) = kept {
            sysctl::ensure(&keep, &kept)?;
        }
        restored?;
        Ok(())
    }
}

/// The ports of containers that are complete, and so have all gateways they want:
/// their ends are up.
pub(crate) fn complete(host: &Handle, bridge: u32) -> anyhow::Result<Vec<u32>> {
    let ports = container_ports(host, bridge)?;
    let complete = ports.iter().filter(|port| port.operstate == OperState::Up);
    Ok(complete.map(|port| port.index).collect())
}

/// The ports that lead to containers, as far as can be told: to the other end of a
/// veth pair.
pub(crate) fn container_ports(host: &Handle, bridge: u32) -> anyhow::Result<Vec<Link>> {
    let mut ports = host.links_by_master(bridge)?;
    ports.retain(|port| port.is_kind("veth"));
    Ok(ports)
}
