//! The kernel operations of an attachment, in as few requests as the kernel allows.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;

use nix::sched::{CloneFlags, setns};
use rtnl::{
    AddressSpec, Exclusivity, Handle, LinkChange, LinkKind, LinkSpec, PeerSpec, Request,
    RouteFilter, RouteSpec, Veth,
};

use crate::Outcome;

/// The kernel gives every namespace's `lo` the same index (`LOOPBACK_IFINDEX`).
const LO: u32 = 1;

/// A socket in the container. The calling thread stays there: processes of one operation need not come back.
fn enter(netns: &str) -> Outcome<(File, Handle)> {
    let file = File::open(netns)?;
    setns(&file, CloneFlags::CLONE_NEWNET)?;
    let handle = Handle::open()?;
    Ok((file, handle))
}

fn up(index: u32, up: bool) -> Request<'static> {
    Request::set_link(
        index,
        &LinkChange {
            up: Some(up),
            ..LinkChange::default()
        },
    )
}

pub(crate) fn loopback_add(netns: &str) -> Outcome {
    let (_file, handle) = enter(netns)?;
    handle.request(up(LO, true))?;
    handle.addresses(LO, None)?;
    Ok(())
}

pub(crate) fn loopback_check(netns: &str) -> Outcome {
    let (_file, handle) = enter(netns)?;
    handle.link_by_index(LO)?;
    Ok(())
}

pub(crate) fn loopback_del(netns: &str) -> Outcome {
    let (_file, handle) = enter(netns)?;
    handle.request(up(LO, false))?;
    Ok(())
}

/// Plugs `eth0` of the container into the bridge, which exists. `addresses` are pairs of the container's address
/// and its gateway: `10.0.0.2/16 10.0.0.1`.
pub(crate) fn bridge_add(netns: &str, bridge: &str, veth: &str, addresses: &[&str]) -> Outcome {
    let mut pairs = Vec::new();
    for pair in addresses.chunks(2) {
        let [address, gateway] = pair else {
            return Err("an address lacks its gateway".into());
        };
        let (address, prefix) = address
            .split_once('/')
            .ok_or("an address lacks its prefix")?;
        pairs.push((
            address.parse::<IpAddr>()?,
            prefix.parse::<u8>()?,
            gateway.parse::<IpAddr>()?,
        ));
    }
    let has_ipv6 = pairs.iter().any(|(address, ..)| address.is_ipv6());
    let host = Handle::open()?;
    let bridge = host.link_by_name(bridge)?;
    host.addresses(bridge.index, None)?;
    fs::read("/proc/sys/net/ipv4/ip_forward")?;
    if has_ipv6 {
        fs::read("/proc/sys/net/ipv6/conf/all/forwarding")?;
    }

    let netns = File::open(netns)?;
    let peer = PeerSpec {
        name: "eth0".into(),
        netns: Some(netns.as_fd()),
        ..PeerSpec::default()
    };
    let mut link = LinkSpec::new(veth, LinkKind::Veth(Veth { peer }));
    link.master = Some(bridge.index);
    link.up = true;
    host.request(Request::new_link(&link))?;

    setns(&netns, CloneFlags::CLONE_NEWNET)?;
    let container = Handle::open()?;
    let eth0 = container.link_by_name("eth0")?;
    fs::write("/proc/sys/net/ipv4/conf/eth0/arp_notify", "1")?;
    if has_ipv6 {
        fs::write("/proc/sys/net/ipv6/conf/eth0/accept_dad", "0")?;
        fs::write("/proc/sys/net/ipv6/conf/eth0/keep_addr_on_down", "1")?;
        fs::read("/proc/sys/net/ipv6/conf/eth0/disable_ipv6")?;
    }
    let mut requests = Vec::new();
    for (address, prefix, _) in &pairs {
        let mut spec = AddressSpec::new(*address, *prefix);
        spec.nodad = address.is_ipv6();
        requests.push(Request::add_address(eth0.index, &spec));
    }
    requests.push(up(eth0.index, true));
    for (address, _, gateway) in &pairs {
        let any: IpAddr = if address.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let mut route = RouteSpec::new(any, 0);
        route.gateway = Some(*gateway);
        route.oif = Some(eth0.index);
        requests.push(Request::add_route(&route, Exclusivity::Shared));
    }
    for reply in container.batch(requests) {
        reply?;
    }
    Ok(())
}

/// Looks at what [`bridge_add`] made.
pub(crate) fn bridge_check(netns: &str, bridge: &str) -> Outcome {
    let host = Handle::open()?;
    host.link_by_name(bridge)?;
    let (_file, container) = enter(netns)?;
    let eth0 = container.link_by_name("eth0")?;
    host.link_by_index(eth0.link.ok_or("eth0 has no peer")?)?;
    container.addresses(eth0.index, None)?;
    container.routes(&RouteFilter::default())?;
    Ok(())
}

/// Deletes the container's `eth0`, and so the pair.
pub(crate) fn veth_del(netns: &str) -> Outcome {
    let (_file, handle) = enter(netns)?;
    handle.request(Request::del_link_by_name("eth0"))?;
    Ok(())
}
