//! The container's end of the pair. Its routes lead through the gateway, also to its own
//! subnet, whose other addresses are behind other pairs.

use crate::{CONTAINER_INTERFACE, gateway};
use anyhow::anyhow;
use cni_core::{AddResult, Cidr, Route};
use plugin_kit::{Container, addressing};
use rtnl::{Exclusivity, Link, RTPROT_KERNEL, Request, RouteSpec, Scope};
use std::net::IpAddr;

/// Adds the addresses to the link, brings it up, and adds the routes.
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
        // The host is the only other node on the link, and the routes below need addresses
        // that are usable at once.
        false,
    )?;
    route_through(container, link, result, &gateways)
}

/// Adds a route to each gateway outside of its address's subnet, which may be the next hop
/// of routes from IPAM.
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

/// Replaces the kernel's on-link route to each subnet by one to the gateway and one through
/// it.
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
