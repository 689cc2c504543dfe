//! The host's interface in the VLAN of a port: `<bridge>.<vlan>`, one end of a veth pair
//! whose other end is a port of the bridge in that VLAN. It has the gateway addresses. DEL
//! does not delete it.

use crate::bridge::{complete_ports, has_new_ports, prepare_ipv6};
use crate::port;
use crate::vlan::PortVlans;
use anyhow::{Context, anyhow, bail};
use cni_core::quote::quote;
use plugin_kit::{Undo, deletion, names};
use rtnl::{Handle, Link, LinkChange, LinkKind, LinkSpec, PeerSpec, Request, Veth};

/// How many random names are tried.
const NAME_ATTEMPTS: u32 = 10;

/// The interface and its other end.
#[derive(Debug)]
pub(crate) struct VlanGateway {
    /// `<bridge>.<vlan>`.
    pub link: Link,
    /// The bridge's port that it leads to; `None` if an administrator has created the
    /// interface in another way, such as a VLAN interface on top of the bridge.
    pub port: Option<Link>,
}

impl VlanGateway {
    /// The links that must pass frames.
    pub(crate) fn ends(&self) -> impl Iterator<Item = &Link> {
        std::iter::once(&self.link).chain(&self.port)
    }
}

/// The properties of the interface.
pub(crate) struct GatewaySpec<'a> {
    /// Its bridge.
    pub bridge: &'a Link,
    /// The VLANs of the container's port, and so the VLAN of the interface.
    pub vlans: &'a PortVlans,
    /// Its MTU in bytes if it has to be created.
    pub mtu: u32,
}

impl GatewaySpec<'_> {
    /// Finds or creates the interface `name` for the container behind `port`, and sets it
    /// up.
    ///
    /// # Errors
    /// When the kernel refuses, or an interface of that name leads to another bridge.
    pub(crate) fn ensure<'a>(
        &self,
        host: &'a Handle,
        name: &str,
        port: &Link,
        undo: &mut Undo<'a>,
    ) -> anyhow::Result<VlanGateway> {
        // A port that is not among these when this ADD fails belongs to a container that
        // relies on the interface.
        let mut known_ports = complete_ports(host, self.bridge.index)?;
        known_ports.push(port.index);
        let link = match find(host, name)? {
            Some(link) => link,
            None => self.create(host, name, &known_ports, undo)?,
        };
        let port = other_end(host, &link)?;
        self.refuse_another_bridge(&link, port.as_ref())?;
        // It is set up last: one that is down may be the unfinished work of an ADD that is
        // running, or was killed. One whose port has no master has lost its bridge.
        if !link.is_up() || port.as_ref().is_some_and(|port| port.master.is_none()) {
            known_ports.extend(port.iter().map(|port| port.index));
            self.finish(host, &link, port.as_ref(), known_ports, undo)?;
        }
        Ok(VlanGateway { link, port })
    }

    /// Refuses the interface of another bridge whose shortened name is the same.
    fn refuse_another_bridge(&self, link: &Link, port: Option<&Link>) -> anyhow::Result<()> {
        let bridge = self.bridge;
        if let Some(port) = port.filter(|_| !link.name.starts_with(&bridge.name))
            && port.master.is_some_and(|master| master != bridge.index)
        {
            bail!(
                "{} leads to another bridge than {}; rename one of the two bridges",
                quote(&link.name),
                quote(&bridge.name)
            );
        }
        Ok(())
    }

    /// Creates the pair. Returns the interface, possibly that of a concurrent ADD.
    fn create<'a>(
        &self,
        host: &'a Handle,
        name: &str,
        known_ports: &[u32],
        undo: &mut Undo<'a>,
    ) -> anyhow::Result<Link> {
        let failed = || format!("failed to create vlan gateway {}", quote(name));
        for attempt in 1.. {
            let port_name = names::random_veth()?;
            match host.request(self.new_pair(name, &port_name)) {
                Ok(_) => {
                    let (bridge, mut known) = (self.bridge.index, known_ports.to_vec());
                    undo.push("delete the vlan gateway", move || {
                        let Some(port) = find(host, &port_name)? else {
                            return Ok(());
                        };
                        known.push(port.index);
                        unless_needed(host, bridge, &known, || {
                            deletion::delete_on_host(host, port.index)
                        })
                    });
                    break;
                }
                // `name` exists if a concurrent ADD created it. Otherwise `port_name` does.
                Err(e) if e.is_exists() => match find(host, name)? {
                    Some(link) => return Ok(link),
                    None if attempt < NAME_ATTEMPTS => {}
                    None => return Err(anyhow!(e).context(failed())),
                },
                Err(e) => return Err(anyhow!(e).context(failed())),
            }
        }
        host.link_by_name(name)
            .with_context(|| format!("failed to lookup {}", quote(name)))
    }

    /// The pair: a port of the bridge called `port_name`, up, whose peer is `name`.
    fn new_pair(&self, name: &str, port_name: &str) -> Request<'static> {
        let peer = PeerSpec {
            name: name.into(),
            mtu: Some(self.mtu),
            ..PeerSpec::default()
        };
        let mut spec = LinkSpec::new(port_name, LinkKind::Veth(Veth { peer }));
        spec.mtu = Some(self.mtu);
        spec.master = Some(self.bridge.index);
        spec.up = true;
        Request::new_link(&spec)
    }

    /// Completes a pair, found or just created.
    fn finish<'a>(
        &self,
        host: &'a Handle,
        link: &Link,
        port: Option<&Link>,
        known_ports: Vec<u32>,
        undo: &mut Undo<'a>,
    ) -> anyhow::Result<()> {
        let bridge = self.bridge;
        let mut undo_by = |request: Request<'static>| {
            let (bridge, known) = (bridge.index, known_ports.clone());
            undo.push("restore the vlan gateway", move || {
                unless_needed(host, bridge, &known, || host.request(request).map(drop))
            });
        };
        // The port of another bridge is left alone.
        let is_own = |port: &&Link| port.master.is_none_or(|master| master == bridge.index);
        if let Some(port) = port.filter(is_own) {
            if port.master.is_none() {
                host.request(set_master(port.index, bridge.index))
                    .with_context(|| {
                        let (port, bridge) = (quote(&port.name), quote(&bridge.name));
                        format!("failed to connect {port} to bridge {bridge}")
                    })?;
                undo_by(set_master(port.index, 0));
            }
            port::apply(host, port, self.vlans.of_gateway().requests(bridge, port))?;
        }
        if !link.is_up() {
            prepare_ipv6(&link.name);
            host.request(set_up(link.index, true))
                .with_context(|| format!("failed to up {}", quote(&link.name)))?;
            undo_by(set_up(link.index, false));
        }
        Ok(())
    }
}

fn find(host: &Handle, name: &str) -> anyhow::Result<Option<Link>> {
    match host.link_by_name(name) {
        Ok(link) => Ok(Some(link)),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(anyhow!(e).context(format!("failed to find interface {}", quote(name)))),
    }
}

/// The port that a veth of the host's own leads to.
pub(crate) fn other_end(host: &Handle, link: &Link) -> anyhow::Result<Option<Link>> {
    match link.link {
        Some(index) if link.is_kind("veth") && link.link_netnsid.is_none() => {
            let port = host.link_by_index(index);
            let text = || format!("failed to lookup the other end of {}", quote(&link.name));
            port.map(Some).with_context(text)
        }
        _ => Ok(None),
    }
}

/// Runs `undo`, which undoes a step, unless the bridge has new container ports:
/// their containers may rely on the step.
fn unless_needed(
    host: &Handle,
    bridge: u32,
    known_ports: &[u32],
    undo: impl FnOnce() -> Result<(), rtnl::Error>,
) -> anyhow::Result<()> {
    if has_new_ports(host, bridge, known_ports)? {
        return Ok(());
    }
    match undo() {
        Err(e) if !e.is_not_found() => Err(e.into()),
        _ => Ok(()),
    }
}

fn set_master(index: u32, master: u32) -> Request<'static> {
    let change = LinkChange {
        master: Some(master),
        ..LinkChange::default()
    };
    Request::set_link(index, &change)
}

fn set_up(index: u32, up: bool) -> Request<'static> {
    let change = LinkChange {
        up: Some(up),
        ..LinkChange::default()
    };
    Request::set_link(index, &change)
}
