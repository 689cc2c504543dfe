//! CHECK: compares the interface and its VRF with prevResult.

use crate::config::Config;
use crate::vrf_link::VrfLink;
use anyhow::{Context, bail};
use cni_core::{AddResult, Call, Cidr};
use plugin_kit::single_interface::may_be_of_upstream;
use plugin_kit::{Container, chain, check};
use rtnl::{Family, Link, RouteFilter};

/// Compares the VRF, its member, and the addresses and routes of `result`.
///
/// # Errors
/// At the first difference.
pub(crate) fn run(
    call: &Call,
    container: &Container,
    config: &Config,
    result: &AddResult,
) -> anyhow::Result<()> {
    let name = &config.vrf;
    let vrf = VrfLink::find(&container.rtnl, name)?
        .with_context(|| format!("failed to find VRF {name}: Link not found"))?
        .require_table(config)?;
    if !vrf.link.is_up() {
        bail!("VRF {name} is down");
    }
    let link = container.rtnl.link_by_name(&call.if_name);
    let link = link.with_context(|| format!("could not get link by name {}", call.if_name))?;
    if link.master != Some(vrf.link.index) {
        bail!("failed to find {} associated to vrf {name}", link.name);
    }
    let Some(number) = chain::own_interfaces(call, result).pop() else {
        return Ok(());
    };
    let mut result = result.clone();
    // Upstream's releases before 1.9.1 lose routes without a preferred source.
    let of_upstream = result
        .interfaces
        .get(number)
        .is_some_and(may_be_of_upstream);
    if of_upstream && !vrf.is_ours() {
        result.routes.clear();
    }
    check::addresses_and_routes(container, &link, &result, number)?;
    in_table(container, &link, &vrf, &destinations(&result, number))
}

/// The destinations of the connected routes of the interface, which is number `number`
/// of `result`, and of the routes without a table of their own.
fn destinations(result: &AddResult, number: usize) -> Vec<Cidr> {
    let own = |interface: Option<i64>| {
        interface.is_none_or(|interface| usize::try_from(interface) == Ok(number))
    };
    let networks = result.ips.iter().filter(|ip| own(ip.interface));
    let networks = networks
        .map(|ip| ip.address)
        .filter(|address| address.broadcast() != address.network());
    let routes = result.routes.iter().filter(|route| route.table.is_none());
    networks
        .chain(routes.map(|route| route.dst))
        .map(|dst| dst.masked())
        .collect()
}

/// Tests that the VRF's table has a route to each of `destinations`.
fn in_table(
    container: &Container,
    link: &Link,
    vrf: &VrfLink,
    destinations: &[Cidr],
) -> anyhow::Result<()> {
    for dst in destinations {
        let filter = RouteFilter {
            family: Some(Family::of(dst.addr())),
            table: Some(vrf.table),
            oif: Some(link.index),
            dst: Some((dst.addr(), dst.prefix())),
        };
        let present = container.rtnl.routes(&filter);
        if present.context("could not list routes")?.is_empty() {
            bail!(
                "failed to find the route to {dst} in table {} of vrf {}",
                vrf.table,
                vrf.link.name
            );
        }
    }
    Ok(())
}
