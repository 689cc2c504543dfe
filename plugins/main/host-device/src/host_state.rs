//! The state that a device loses when it leaves the host: master, addresses and routes.
//! An ADD that fails afterwards restores it.

use anyhow::Context;
use plugin_kit::addressing;
use rtnl::{
    AddressSpec, Exclusivity, Handle, Link, LinkChange, RT_TABLE_LOCAL, RTN_UNICAST, RTPROT_KERNEL,
    Request, Route, RouteFilter, RouteSpec, Scope,
};

/// `RTNH_F_ONLINK` of linux/rtnetlink.h: the gateway is taken to be on the link.
const RTNH_F_ONLINK: u32 = 4;

/// The state of a device on the host.
#[derive(Debug, Default)]
pub(crate) struct HostState {
    master: Option<u32>,
    addresses: Vec<AddressSpec>,
    routes: Vec<RouteSpec>,
}

impl HostState {
    pub(crate) fn of(host: &Handle, device: &Link) -> anyhow::Result<HostState> {
        let mut state = HostState {
            master: device.master,
            ..HostState::default()
        };
        let addresses = host
            .addresses(device.index, None)
            .context("could not list addresses")?;
        // Addresses with a lifetime are renewed by whoever added them, and the kernel adds
        // IPv6 link-local addresses itself.
        let lasting = addresses
            .iter()
            .filter(|a| a.is_permanent() && (a.addr.is_ipv4() || a.scope != Scope::LINK));
        state.addresses = lasting.map(addressing::again).collect();
        if device.is_up() {
            let filter = RouteFilter {
                oif: Some(device.index),
                ..RouteFilter::default()
            };
            let routes = host.routes(&filter).context("could not list routes")?;
            state.routes = routes.iter().filter_map(route).collect();
        }
        Ok(state)
    }

    /// Restores the state of `device`, which is on the host again, and brings it up if
    /// `up`.
    pub(crate) fn restore(&self, host: &Handle, device: &Link, up: bool) -> anyhow::Result<()> {
        let mut requests = Vec::new();
        if self.master.is_some() {
            let change = LinkChange {
                master: self.master,
                ..LinkChange::default()
            };
            requests.push(Request::set_link(device.index, &change));
        }
        for address in &self.addresses {
            requests.push(Request::add_address(device.index, address));
        }
        if up {
            let change = LinkChange {
                up: Some(true),
                ..LinkChange::default()
            };
            requests.push(Request::set_link(device.index, &change));
        }
        for route in &self.routes {
            let mut route = route.clone();
            route.oif = Some(device.index);
            requests.push(Request::add_route(&route, Exclusivity::Shared));
        }
        if requests.is_empty() {
            return Ok(());
        }
        for reply in host.batch(requests) {
            match reply {
                Err(e) if !e.is_exists() => {
                    return Err(
                        anyhow::Error::new(e).context("failed to restore the device's state")
                    );
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The route to add again; `None` for the kernel's own routes, which it adds itself.
fn route(route: &Route) -> Option<RouteSpec> {
    let added_by_user = route.protocol != RTPROT_KERNEL
        && route.table != RT_TABLE_LOCAL
        && route.kind == RTN_UNICAST
        && route.hops.is_empty();
    added_by_user.then(|| {
        let mut spec = RouteSpec::new(route.dst, route.prefix);
        spec.gateway = route.gateway;
        spec.table = route.table;
        spec.scope = Some(route.scope);
        spec.priority = (route.priority != 0).then_some(route.priority);
        spec.src = route.src;
        spec.mtu = route.mtu;
        spec.advmss = route.advmss;
        spec.onlink = route.flags & RTNH_F_ONLINK != 0;
        spec.protocol = Some(route.protocol);
        spec
    })
}
