//! The host's interface in the VLAN of a port: `<bridge>.<vlan>`, one end of a veth
//! pair whose other end is a port of the bridge in that VLAN. It has the gateway
//! addresses, and stays when the containers go.

use crate::vlan::PortVlans;
use crate::{port, uplink};
use anyhow::{Context, anyhow};
use cni_core::quote::quote;
use plugin_kit::{Undo, names};
use rtnl::{Handle, Link, LinkChange, LinkKind, LinkSpec, PeerSpec, Request, Veth};

/// How often a random name may turn out to be taken.
const NAME_ATTEMPTS: u32 = 10;

/// The interface and its other end.
#[derive(Debug)]
pub(crate) struct VlanGateway {
    /// `<bridge>.<vlan>`.
    pub link: Link,
    /// The bridge's port that it leads to; `None` if an administrator has made the
    /// interface in another way, such as a VLAN interface on top of the bridge.
    pub port: Option<Link>,
}

impl VlanGateway {
    /// All of it that must pass frames.
    pub(crate) fn ends(&self) -> impl Iterator<Item = &Link> {
        std::iter::once(&self.link).chain(&self.port)
    }
}

/// Finds or makes the interface `name` in the VLAN of `vlans`, and has it up.
///
/// `container` is the new port of the bridge that this is done for, `mtu` in bytes.
pub(crate) fn ensure<'a>(
    host: &'a Handle,
    bridge: &Link,
    container: &Link,
    name: &str,
    vlans: &PortVlans,
    mtu: u32,
    undo: &mut Undo<'a>,
) -> anyhow::Result<VlanGateway> {
    // Whoever has a port that is not among these when this ADD fails relies on the
    // interface.
    let mut indifferent = uplink::complete(host, bridge.index)?;
    indifferent.push(container.index);
    let link = match find(host, name)? {
        Some(link) => link,
        None => create(host, bridge, name, mtu, &indifferent, undo)?,
    };
    let port = other_end(host, &link)?;
    // It comes up last: one that is down may be the unfinished work of an ADD that is
    // under way, or was killed. One that leads nowhere has lost its bridge.
    if !link.is_up() || port.as_ref().is_some_and(|port| port.master.is_none()) {
        indifferent.extend(port.iter().map(|port| port.index));
        finish(host, bridge, &link, port.as_ref(), vlans, indifferent, undo)?;
    }
    Ok(VlanGateway { link, port })
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

fn create<'a>(
    host: &'a Handle,
    bridge: &Link,
    name: &str,
    mtu: u32,
    indifferent: &[u32],
    undo: &mut Undo<'a>,
) -> anyhow::Result<Link> {
    let failed = || format!("failed to create vlan gateway {}", quote(name));
    let mut attempt = 0;
    let port_name = loop {
        attempt += 1;
        let port_name = names::random_veth()?;
        let peer = PeerSpec {
            name: name.into(),
            mtu: Some(mtu),
            ..PeerSpec::default()
        };
        let kind = LinkKind::Veth(Veth { peer });
        let mut spec = LinkSpec::new(port_name.clone(), kind);
        spec.mtu = Some(mtu);
        spec.master = Some(bridge.index);
        spec.up = true;
        match host.request(Request::new_link(&spec)) {
            Ok(_) => break port_name,
            // Which of the two names is taken? Its own, if another ADD was faster.
            Err(e) if e.is_exists() => {
                if let Some(link) = find(host, name)? {
                    return Ok(link);
                }
                if attempt == NAME_ATTEMPTS {
                    return Err(anyhow!(e).context(failed()));
                }
            }
            Err(e) => return Err(anyhow!(e).context(failed())),
        }
    };
    let (bridge, indifferent) = (bridge.index, indifferent.to_vec());
    undo.push("delete the vlan gateway", move || {
        let own = match host.link_by_name(&port_name) {
            Err(e) if e.is_not_found() => return Ok(()),
            found => found?.index,
        };
        if is_relied_upon(host, bridge, &[&indifferent[..], &[own]].concat())? {
            return Ok(());
        }
        match host.request(Request::del_link(own)) {
            Err(e) if !e.is_not_found() => Err(e.into()),
            _ => Ok(()),
        }
    });
    host.link_by_name(name)
        .with_context(|| format!("failed to lookup {}", quote(name)))
}

/// Whether ports came that are not among the `indifferent`.
fn is_relied_upon(host: &Handle, bridge: u32, indifferent: &[u32]) -> anyhow::Result<bool> {
    let ports = uplink::container_ports(host, bridge)?;
    Ok(ports.iter().any(|port| !indifferent.contains(&port.index)))
}

/// Makes one that was found complete, or one that was just made.
fn finish<'a>(
    host: &'a Handle,
    bridge: &Link,
    link: &Link,
    port: Option<&Link>,
    vlans: &PortVlans,
    indifferent: Vec<u32>,
    undo: &mut Undo<'a>,
) -> anyhow::Result<()> {
    // A port of another bridge is somebody else's.
    let ours = |port: &&Link| port.master.is_none_or(|master| master == bridge.index);
    if let Some(port) = port.filter(ours) {
        let index = port.index;
        if port.master.is_none() {
            let master = |master| {
                let change = LinkChange {
                    master: Some(master),
                    ..LinkChange::default()
                };
                Request::set_link(index, &change)
            };
            host.request(master(bridge.index)).with_context(|| {
                let (port, bridge) = (quote(&port.name), quote(&bridge.name));
                format!("failed to connect {port} to bridge {bridge}")
            })?;
            restore_later(host, bridge, &indifferent, master(0), undo);
        }
        port::apply(host, port, vlans.of_gateway().requests(bridge, port))?;
    }
    if !link.is_up() {
        uplink::prepare_ipv6(&link.name);
        host.request(Request::set_link(link.index, &set_up(true)))
            .with_context(|| format!("failed to up {}", quote(&link.name)))?;
        let back = Request::set_link(link.index, &set_up(false));
        restore_later(host, bridge, &indifferent, back, undo);
    }
    Ok(())
}

fn set_up(up: bool) -> LinkChange<'static> {
    LinkChange {
        up: Some(up),
        ..LinkChange::default()
    }
}

/// Registers the request that puts something back.
fn restore_later<'a>(
    host: &'a Handle,
    bridge: &Link,
    indifferent: &[u32],
    request: Request<'static>,
    undo: &mut Undo<'a>,
) {
    let (bridge, indifferent) = (bridge.index, indifferent.to_vec());
    undo.push("put the vlan gateway back into its state", move || {
        if is_relied_upon(host, bridge, &indifferent)? {
            return Ok(());
        }
        match host.request(request) {
            Err(e) if !e.is_not_found() => Err(e.into()),
            _ => Ok(()),
        }
    });
}
