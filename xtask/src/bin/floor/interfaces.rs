//! The kernel operations of the plugins that make, or take, one interface.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;

use nix::sched::{CloneFlags, setns};
use rtnl::{
    AddressSpec, Exclusivity, Handle, LinkChange, LinkKind, LinkSpec, Macvlan, PeerSpec, Request,
    RouteSpec, Scope, Veth, Vlan,
};

use crate::{Outcome, tun};

/// An address with its prefix length.
fn cidr(text: &str) -> Outcome<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/').ok_or("an address lacks its prefix")?;
    Ok((address.parse()?, prefix.parse()?))
}

fn up(index: u32) -> Request<'static> {
    let change = LinkChange {
        up: Some(true),
        ..LinkChange::default()
    };
    Request::set_link(index, &change)
}

/// Gives `eth0` of the calling thread's namespace its address, and brings it up.
fn configure(container: &Handle, address: &str) -> Outcome {
    let eth0 = container.link_by_name("eth0")?;
    fs::write("/proc/sys/net/ipv4/conf/eth0/arp_notify", "1")?;
    let (address, prefix) = cidr(address)?;
    let spec = AddressSpec::new(address, prefix);
    let requests = vec![Request::add_address(eth0.index, &spec), up(eth0.index)];
    for reply in container.batch(requests) {
        reply?;
    }
    Ok(())
}

fn enter(netns: &File) -> Outcome<Handle> {
    setns(netns, CloneFlags::CLONE_NEWNET)?;
    Ok(Handle::open()?)
}

/// A link of `kind` in the container, upon the host's link `parent`.
pub(crate) fn link_add(
    netns: &str,
    address: &str,
    _gateway: &str,
    kind: &str,
    parent: &[&str],
) -> Outcome {
    let netns = File::open(netns)?;
    let host = Handle::open()?;
    let kind = match kind {
        "macvlan" => LinkKind::Macvlan(Macvlan::default()),
        "ipvlan" => LinkKind::Ipvlan(Default::default()),
        "vlan" => LinkKind::Vlan(Vlan {
            id: 7,
            protocol: None,
        }),
        "dummy" => LinkKind::Dummy,
        _ => return Err("no such kind of link".into()),
    };
    let mut spec = LinkSpec::new("eth0", kind);
    spec.netns = Some(netns.as_fd());
    if let [parent] = parent {
        spec.link = Some(host.link_by_name(parent)?.index);
    }
    host.request(Request::new_link(&spec))?;
    configure(&enter(&netns)?, address)
}

/// A veth pair with the gateway's address on the host's end, and routes to and fro.
pub(crate) fn ptp_add(netns: &str, address: &str, gateway: &str, veth: &str) -> Outcome {
    let netns = File::open(netns)?;
    let host = Handle::open()?;
    let peer = PeerSpec {
        name: "eth0".into(),
        netns: Some(netns.as_fd()),
        ..PeerSpec::default()
    };
    let mut link = LinkSpec::new(veth, LinkKind::Veth(Veth { peer }));
    link.up = true;
    host.request(Request::new_link(&link))?;
    let (container_address, prefix) = cidr(address)?;
    let gateway: IpAddr = gateway.parse()?;

    let end = host.link_by_name(veth)?;
    let mut to_container = RouteSpec::new(container_address, 32);
    to_container.oif = Some(end.index);
    to_container.scope = Some(Scope::LINK);
    fs::read("/proc/sys/net/ipv4/ip_forward")?;
    for reply in host.batch(vec![
        Request::add_address(end.index, &AddressSpec::new(gateway, 32)),
        Request::add_route(&to_container, Exclusivity::Shared),
    ]) {
        reply?;
    }

    let container = enter(&netns)?;
    configure(&container, address)?;
    let eth0 = container.link_by_name("eth0")?;
    let network = match container_address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from(u32::from(v4) & mask)
        }
        IpAddr::V6(_) => return Err("IPv4 only".into()),
    };
    // All goes by the gateway, as there is no segment.
    let mut by_link = RouteSpec::new(gateway, 32);
    by_link.oif = Some(eth0.index);
    by_link.scope = Some(Scope::LINK);
    let mut by_gateway = RouteSpec::new(network.into(), prefix);
    by_gateway.gateway = Some(gateway);
    by_gateway.oif = Some(eth0.index);
    for reply in container.batch(vec![
        Request::add_route(&by_link, Exclusivity::Shared),
        Request::add_route(&by_gateway, Exclusivity::Shared),
    ]) {
        reply?;
    }
    Ok(())
}

/// A tap device in the container.
pub(crate) fn tap_add(netns: &str, address: &str, _gateway: &str) -> Outcome {
    let container = enter(&File::open(netns)?)?;
    tun::create("eth0")?;
    configure(&container, address)
}

/// Moves `device` into the container.
pub(crate) fn device_add(netns: &str, address: &str, _gateway: &str, device: &str) -> Outcome {
    let netns = File::open(netns)?;
    let host = Handle::open()?;
    let link = host.link_by_name(device)?;
    let change = LinkChange {
        netns: Some(netns.as_fd()),
        name: Some("eth0".into()),
        ..LinkChange::default()
    };
    host.request(Request::set_link(link.index, &change))?;
    configure(&enter(&netns)?, address)
}

/// Moves it back under its name.
pub(crate) fn device_del(netns: &str, device: &str) -> Outcome {
    let home = File::open("/proc/self/ns/net")?;
    let container = enter(&File::open(netns)?)?;
    let link = container.link_by_name("eth0")?;
    let change = LinkChange {
        netns: Some(home.as_fd()),
        name: Some(device.into()),
        ..LinkChange::default()
    };
    container.request(Request::set_link(link.index, &change))?;
    let host = enter(&home)?;
    host.request(up(host.link_by_name(device)?.index))?;
    Ok(())
}
