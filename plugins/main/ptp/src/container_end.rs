//! The container's end: everything goes through the gateway, its own subnet too,
//! since the other addresses of that subnet are behind other connections.

use crate::{CONTAINER_INTERFACE, gateway};
use anyhow::anyhow;
use cni_core::{AddResult, Cidr, Route};
use plugin_kit::{Container, addressing};
use rtnl::{Exclusivity, Link, RTPROT_KERNEL, Request, RouteSpec, Scope};
use std::net::IpAddr;

/// Gives the link its addresses, brings it up, and adds the routes.
pub(crate) fn configure(
    container: &Container,
    link: &Link,
    result: &AddResult,
) -> anyhow::Result<()> {
    let gateways = gateway::distinct(&result.ips);
    addressing::apply(
        container,
        link,
        &with_routes_to(&gateways, result),
        CONTAINER_INTERFACE,
        // Nobody but the host is on the other end, so there is nobody to ask, and
        // the routes below need addresses that are usable at once.
        false,
    )?;
    route_through(container, link, result, &gateways)
}

/// The result with a route to each gateway that lies outside its address's subnet:
/// the routes of IPAM may use it as their next hop.
fn with_routes_to(gateways: &[(IpAddr, Cidr)], result: &AddResult) -> AddResult {
    let outside = gateways
        .iter()
        .filter(|(gateway, address)| !address.contains(*gateway))
        .map(|(gateway, _)| Route {
            scope: Some(i64::from(Scope::LINK.0)),
            ..Route::to(Cidr::host(*gateway))
        });
    AddResult {
        routes: outside.chain(result.routes.iter().cloned()).collect(),
        ..result.clone()
    }
}

/// Replaces the kernel's route to each address's subnet, which takes it for
/// reachable without a next hop, by one to the gateway and one through it.
fn route_through(
    container: &Container,
    link: &Link,
    result: &AddResult,
    gateways: &[(IpAddr, Cidr)],
) -> anyhow::Result<()> {
    let mut texts = Vec::new();
    let mut requests = Vec::new();
    let mut ask = |what: &str, request: fn(&RouteSpec) -> Request<'static>, route: &RouteSpec| {
        texts.push(format!(
            "failed to {what} route {}/{}",
            route.dst, route.prefix
        ));
        requests.push(request(route));
    };
    for ip in &result.ips {
        let mut connected = route_to(ip.address.masked(), link);
        connected.protocol = Some(RTPROT_KERNEL);
        ask("delete", Request::del_route, &connected);
    }
    for (gateway, address) in gateways {
        let mut to_gateway = route_to(Cidr::host(*gateway), link);
        to_gateway.scope = Some(Scope::LINK);
        to_gateway.src = Some(address.addr());
        // One of `with_routes_to` may be there.
        ask(
            "add",
            |r| Request::add_route(r, Exclusivity::Replace),
            &to_gateway,
        );
    }
    for ip in &result.ips {
        let mut subnet = route_to(ip.address.masked(), link);
        subnet.gateway = ip.gateway;
        subnet.src = Some(ip.address.addr());
        ask(
            "add",
            |r| Request::add_route(r, Exclusivity::Exclusive),
            &subnet,
        );
    }
    for (text, reply) in texts.into_iter().zip(container.rtnl.batch(requests)) {
        match reply {
            // A host prefix has no connected route, and two addresses of one subnet
            // share theirs and the one that replaces it.
            Err(e) if !e.is_not_found() && !e.is_exists() => return Err(anyhow!(e).context(text)),
            _ => {}
        }
    }
    Ok(())
}

fn route_to(network: Cidr, link: &Link) -> RouteSpec {
    let mut route = RouteSpec::new(network.addr(), network.prefix());
    route.oif = Some(link.index);
    route
}
