//! Comparing a prevResult with what the kernel has.

use crate::{Container, addressing};
use anyhow::{Context, anyhow, bail};
use cni_core::quote::quote;
use cni_core::{AddResult, Call, Interface, IpConfig};
use rtnl::{Family, Link, RouteFilter};
use std::net::IpAddr;

/// The result that CHECK compares with.
///
/// # Errors
/// When the runtime did not pass one, or it is malformed.
pub fn required_prev_result(call: &Call) -> anyhow::Result<AddResult> {
    call.prev_result()?.context("Required prevResult missing")
}

/// The container's interface in `result`: named `CNI_IFNAME`, in the sandbox
/// `CNI_NETNS`. Its number in the list comes with it.
///
/// # Errors
/// When there is none; the text says whether name or sandbox differ.
pub fn container_interface<'r>(
    call: &Call,
    result: &'r AddResult,
) -> anyhow::Result<(usize, &'r Interface)> {
    let sandbox = call.sandbox();
    let mut named = result
        .interfaces
        .iter()
        .enumerate()
        .filter(|(_, i)| i.name == call.if_name);
    if let Some(found) = named.clone().rfind(|(_, i)| i.sandbox == sandbox) {
        return Ok(found);
    }
    match named.find(|(_, i)| !i.sandbox.is_empty()) {
        Some((_, other)) => bail!(
            "Sandbox in prevResult {} doesn't match configured netns: {sandbox}",
            other.sandbox
        ),
        None => bail!(
            "interface {} of the container is not in prevResult",
            quote(&call.if_name)
        ),
    }
}

/// Compares the hardware address a result recorded, if it did.
///
/// # Errors
/// When they differ.
pub fn mac(recorded: &Interface, link: &Link) -> anyhow::Result<()> {
    let actual = link.mac_string();
    if !recorded.mac.is_empty() && !recorded.mac.eq_ignore_ascii_case(&actual) {
        bail!(
            "Interface {} Mac {} doesn't match Mac: {actual}",
            recorded.name,
            recorded.mac
        );
    }
    Ok(())
}

/// Compares addresses and routes of the container's interface `link`, which is
/// number `interface` of `result`. Addresses of other interfaces of a chain are
/// left to the plugins that made them.
///
/// # Errors
/// At the first one that is missing or different; the text names it.
pub fn addresses_and_routes(
    container: &Container,
    link: &Link,
    result: &AddResult,
    interface: usize,
) -> anyhow::Result<()> {
    let ips: Vec<&IpConfig> = result
        .ips
        .iter()
        .filter(|ip| {
            ip.interface
                .is_none_or(|i| usize::try_from(i) == Ok(interface))
        })
        .collect();
    addresses(container, link, &ips)?;
    routes(container, link, result, &ips)
}

fn addresses(container: &Container, link: &Link, ips: &[&IpConfig]) -> anyhow::Result<()> {
    if ips.is_empty() {
        return Ok(());
    }
    let present = container
        .rtnl
        .addresses(link.index, None)
        .context("Cannot obtain List of IP Addresses")?;
    for ip in ips {
        let wanted = ip.address;
        let found = present
            .iter()
            .any(|a| a.addr == wanted.addr() && a.prefix == wanted.prefix());
        if !found {
            bail!("Failed to match addr {wanted} on interface {}", link.name);
        }
        connected_route(container, link, ip)?;
    }
    Ok(())
}

/// The route to the address's own network, which the kernel makes with the
/// address. It may stand in any table: plugins for policy routing move it. A
/// network of one address has none.
fn connected_route(container: &Container, link: &Link, ip: &IpConfig) -> anyhow::Result<()> {
    let network = ip.address.network();
    if ip.address.broadcast() == network {
        return Ok(());
    }
    let filter = RouteFilter {
        family: Some(Family::of(network)),
        table: None,
        dst: Some((network, ip.address.prefix())),
        oif: Some(link.index),
    };
    let of_whom = || {
        let gateway = ip
            .gateway
            .map_or("<nil>".into(), |gateway| gateway.to_string());
        format!("Gateway {gateway} for interface {}", link.name)
    };
    let present = container
        .rtnl
        .routes(&filter)
        .map_err(|e| anyhow!("Error {e} trying to find {}", of_whom()))?;
    if present.is_empty() {
        let network = ip.address.masked();
        bail!(
            "Failed to find {}: there is no route to {network}",
            of_whom()
        );
    }
    Ok(())
}

fn routes(
    container: &Container,
    link: &Link,
    result: &AddResult,
    ips: &[&IpConfig],
) -> anyhow::Result<()> {
    for route in &result.routes {
        let wanted = addressing::route_spec(route, ips, link.index)?;
        let filter = RouteFilter {
            family: Some(Family::of(wanted.dst)),
            table: Some(wanted.table),
            dst: Some((wanted.dst, wanted.prefix)),
            oif: None,
        };
        let present = container.rtnl.routes(&filter).map_err(|e| {
            anyhow!(e).context(format!(
                "Expected Route {route} not route table lookup error"
            ))
        })?;
        if present.is_empty() {
            bail!("Expected Route {route} not found in routing table");
        }
        let differences: Vec<String> = present.iter().map(|r| difference(r, &wanted)).collect();
        if differences.iter().all(|d| !d.is_empty()) {
            bail!(
                "Expected Route {route} not found in routing table: the route to {} has {}",
                route.dst,
                differences.join(", another has ")
            );
        }
    }
    Ok(())
}

/// How a route of the kernel differs from the wanted one; empty when it does not.
fn difference(present: &rtnl::Route, wanted: &rtnl::RouteSpec) -> String {
    let same_hop = |gateway: Option<IpAddr>, oif: Option<u32>| {
        gateway == wanted.gateway && (wanted.oif.is_none() || oif == wanted.oif)
    };
    let among_hops = present
        .hops
        .iter()
        .any(|hop| same_hop(hop.gateway, Some(hop.oif)));
    if !same_hop(present.gateway, present.oif) && !among_hops {
        let hop = |gateway: Option<IpAddr>, oif: Option<u32>| match gateway {
            Some(gateway) => format!("gateway {gateway} on link {}", oif.unwrap_or_default()),
            None => format!("no gateway on link {}", oif.unwrap_or_default()),
        };
        return format!(
            "{}, not {}",
            hop(present.gateway, present.oif),
            hop(wanted.gateway, wanted.oif)
        );
    }
    for (what, present, wanted) in [
        ("metric", Some(present.priority), wanted.priority),
        ("mtu", present.mtu, wanted.mtu),
        ("advmss", present.advmss, wanted.advmss),
    ] {
        if let Some(wanted) = wanted
            && present != Some(wanted)
        {
            return format!("{what} {}, not {wanted}", present.unwrap_or_default());
        }
    }
    String::new()
}
