//! CHECK: is the interface in its VRF, with all that it had?

use crate::config::Config;
use crate::domain::Domain;
use anyhow::{Context, bail};
use cni_core::{AddResult, Call};
use plugin_kit::{Container, chain, check};
use rtnl::{Family, RouteFilter};

/// Compares the container with what an ADD makes of `result`.
///
/// # Errors
/// At the first thing that differs.
pub(crate) fn run(
    call: &Call,
    container: &Container,
    config: &Config,
    result: &AddResult,
) -> anyhow::Result<()> {
    let name = &config.vrf;
    let vrf = Domain::find(&container.rtnl, name)?
        .with_context(|| format!("failed to find VRF {name}: Link not found"))?
        .suits(config)?;
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
    check::addresses_and_routes(container, &link, result, number)?;
    // They are somewhere; that must be the VRF's table.
    let own = |interface: Option<i64>| {
        interface.is_none_or(|interface| usize::try_from(interface) == Ok(number))
    };
    let networks = result.ips.iter().filter(|ip| own(ip.interface));
    let networks = networks
        .map(|ip| ip.address)
        .filter(|address| address.broadcast() != address.network());
    let routes = result.routes.iter().filter(|route| route.table.is_none());
    for dst in networks
        .chain(routes.map(|route| route.dst))
        .map(|dst| dst.masked())
    {
        let filter = RouteFilter {
            family: Some(Family::of(dst.addr())),
            table: Some(vrf.table),
            oif: Some(link.index),
            dst: Some((dst.addr(), dst.prefix())),
        };
        let present = container.rtnl.routes(&filter);
        if present.context("could not list routes")?.is_empty() {
            bail!(
                "failed to find the route to {dst} in table {} of vrf {name}",
                vrf.table
            );
        }
    }
    Ok(())
}
