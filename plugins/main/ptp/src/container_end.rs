//! The container's end of the pair. Its routes lead through the gateway, also to its own
//! subnet, whose other addresses are behind other pairs.

use crate::{CONTAINER_INTERFACE, gateway};
use anyhow::{Context, anyhow};
use cni_core::quote::quote;
use cni_core::{AddResult, Cidr, IpConfig, Route};
use plugin_kit::{Container, addressing, detailed};
use rtnl::{
    Error, Exclusivity, Family, Link, RT_TABLE_MAIN, RTPROT_KERNEL, Request, RouteFilter,
    RouteSpec, Scope,
};
use std::net::IpAddr;

/// Refuses addresses if another interface of the container has a route to one of their
/// gateways or subnets. The kernel has one route to a destination, which leads to one
/// interface: the attachment that loses it has no connectivity, nor has the other one when
/// the owner of the route is deleted.
pub(crate) fn refuse_routed(container: &Container, ips: &[IpConfig]) -> anyhow::Result<()> {
    let gateways = gateway::distinct(ips).into_iter();
    let gateways = gateways.map(|(gateway, _)| Cidr::host(gateway));
    let subnets = ips.iter().map(|ip| ip.address.masked());
    let wanted: Vec<Cidr> = gateways.chain(subnets).collect();
    for family in [Family::V4, Family::V6] {
        let of_family = |dst: &&Cidr| Family::of(dst.addr()) == family;
        let mut wanted = wanted.iter().filter(of_family).peekable();
        if wanted.peek().is_none() {
            continue;
        }
        let filter = RouteFilter {
            family: Some(family),
            table: Some(RT_TABLE_MAIN),
            ..RouteFilter::default()
        };
        let present = container.rtnl.routes(&filter);
        let mut present = present.context("failed to list the container's routes")?;
        present.retain(|route| route.priority == family.default_metric());
        for dst in wanted {
            let mut same = present.iter();
            let same = same.find(|route| (route.dst, route.prefix) == (dst.addr(), dst.prefix()));
            if let Some(route) = same {
                return Err(taken_by(container, *dst, route.oif));
            }
        }
    }
    Ok(())
}

/// The error of a route to `dst` that leads to the interface of index `oif`.
fn taken_by(container: &Container, dst: Cidr, oif: Option<u32>) -> anyhow::Error {
    let owner = oif.and_then(|index| container.rtnl.link_by_index(index).ok());
    let owner = owner.map_or("another interface".to_owned(), |link| {
        format!("interface {}", quote(&link.name))
    });
    detailed(
        format!("failed to add route {dst}: file exists"),
        format!(
            "{owner} of the container {} has this route; attach the container to a network with \
             another subnet and gateway, or delete the attachment of {owner} first",
            container.netns.path().display()
        ),
    )
}

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

/// Whether an error of the kernel is no failure of a request.
type IsExpected = fn(&Error) -> bool;

/// Replaces the kernel's on-link route to each subnet by one to the gateway and one through
/// it.
fn route_through(
    container: &Container,
    link: &Link,
    result: &AddResult,
    gateways: &[(IpAddr, Cidr)],
) -> anyhow::Result<()> {
    let mut expected: Vec<(String, IsExpected)> = Vec::new();
    let mut requests = Vec::new();
    let mut delete = |route: &RouteSpec| {
        let text = format!("failed to delete route {}/{}", route.dst, route.prefix);
        expected.push((text, Error::is_not_found));
        requests.push(Request::del_route(route));
    };
    for ip in &result.ips {
        // A host prefix has none.
        let mut connected = route_to(ip.address.masked(), link);
        connected.protocol = Some(RTPROT_KERNEL);
        delete(&connected);
    }
    for (gateway, _) in gateways {
        // One of `with_routes_to`, or of IPAM.
        delete(&route_to(Cidr::host(*gateway), link));
    }
    // Another one exists if an ADD of another interface came in between.
    let never: IsExpected = |_| false;
    let mut add = |route: &RouteSpec, is_expected: IsExpected| {
        let text = format!("failed to add route {}/{}", route.dst, route.prefix);
        expected.push((text, is_expected));
        requests.push(Request::add_route(route, Exclusivity::Exclusive));
    };
    for (gateway, address) in gateways {
        let mut to_gateway = route_to(Cidr::host(*gateway), link);
        to_gateway.scope = Some(Scope::LINK);
        to_gateway.src = Some(address.addr());
        add(&to_gateway, never);
    }
    for (number, ip) in result.ips.iter().enumerate() {
        let mut subnet = route_to(ip.address.masked(), link);
        subnet.gateway = ip.gateway;
        subnet.src = Some(ip.address.addr());
        // Two addresses of one subnet share it, and IPAM may have added it.
        let before = result.ips[..number].iter().map(|ip| ip.address.masked());
        let mut before = before.chain(result.routes.iter().map(|route| route.dst.masked()));
        let is_there = before.any(|other| other == ip.address.masked());
        add(&subnet, if is_there { Error::is_exists } else { never });
    }
    for ((text, is_expected), reply) in expected.into_iter().zip(container.rtnl.batch(requests)) {
        match reply {
            Err(e) if !is_expected(&e) => return Err(anyhow!(e).context(text)),
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
