//! CHECK: compares prevResult and the configuration with the kernel's state.

use crate::{Config, gateway, repair};
use anyhow::{Context, anyhow, bail};
use cni_core::quote::quote;
use cni_core::{AddResult, Call, Cidr, Interface, IpConfig};
use plugin_kit::single_interface::InterfaceCheck;
use plugin_kit::{Container, Ipam, check};
use rtnl::{Family, Handle, Link, RouteFilter};
use std::net::IpAddr;

const CHECK: InterfaceCheck = InterfaceCheck {
    kind: None,
    prefix: "ptp: ",
    lower_case: false,
};

/// Compares part by part, and fails at the first difference.
pub(crate) fn run(call: &Call) -> anyhow::Result<()> {
    let config = Config::load(call)?;
    if config.repair {
        repair::run(call, &config)?;
    }
    Ipam::required(call)?;
    CHECK.run(call, |container, recorded, inside| {
        if !inside.is_kind("veth") {
            bail!(
                "Error: Container interface {} not of type veth/p2p",
                inside.name
            );
        }
        config.mtu.check(recorded, inside)?;
        let result = call.prev_result()?.unwrap_or_default();
        let ips = ips_of(&result, recorded);
        routes_through(container, inside, &ips)?;
        let host = Handle::open()?;
        let (recorded, outside) = host_end(&host, &result, inside)?;
        if !outside.is_up() {
            bail!("Interface {} is down", outside.name);
        }
        config.mtu.check(recorded, &outside)?;
        if !check::is_pair_of_upstream(&outside) {
            config.link_options.check(inside)?;
            config.link_options.check(&outside)?;
        }
        leads_to_container(&host, &outside, &ips)?;
        match &config.masquerade {
            Some(masquerade) => masquerade.check(call, ips),
            None => Ok(()),
        }
    })
}

/// The addresses of the container's end. Those of other interfaces are left to the
/// plugins of the chain that made them.
pub(crate) fn ips_of<'r>(result: &'r AddResult, interface: &Interface) -> Vec<&'r IpConfig> {
    let of_interface = |number: i64| {
        let number = usize::try_from(number).ok();
        number.and_then(|n| result.interfaces.get(n)) == Some(interface)
    };
    let ips = result.ips.iter();
    ips.filter(|ip| ip.interface.is_none_or(of_interface))
        .collect()
}

/// In the container: a route to each gateway, and each subnet through it.
fn routes_through(container: &Container, link: &Link, ips: &[&IpConfig]) -> anyhow::Result<()> {
    for (gateway, _) in gateway::distinct(ips.iter().copied()) {
        require_route(&container.rtnl, link, Cidr::host(gateway), None)?;
    }
    for (number, ip) in ips.iter().enumerate() {
        let subnet = ip.address.masked();
        // Two addresses of one subnet share the route of the first.
        if !ips[..number].iter().any(|ip| ip.address.masked() == subnet) {
            require_route(&container.rtnl, link, subnet, ip.gateway)?;
        }
    }
    Ok(())
}

/// The host's end is the recorded veth whose peer is the container's end.
pub(crate) fn host_end<'r>(
    host: &Handle,
    result: &'r AddResult,
    inside: &Link,
) -> anyhow::Result<(&'r Interface, Link)> {
    let index = inside.link.unwrap_or_default();
    let link = match host.link_by_index(index) {
        Ok(link) if link.is_kind("veth") && link.link == Some(inside.index) => link,
        Err(e) if !e.is_not_found() => {
            return Err(anyhow!(e).context(format!("failed to lookup link {index}")));
        }
        _ => bail!("the host's end of {} was not found", inside.name),
    };
    let recorded = result
        .interfaces
        .iter()
        .find(|i| i.sandbox.is_empty() && i.name == link.name)
        .with_context(|| {
            format!(
                "the host's end of {} is {}, which is not in prevResult",
                inside.name,
                quote(&link.name)
            )
        })?;
    check::mac(recorded, &link)?;
    Ok((recorded, link))
}

/// On the host: the gateways' addresses, and a route to each of the container's.
fn leads_to_container(host: &Handle, link: &Link, ips: &[&IpConfig]) -> anyhow::Result<()> {
    let present = host
        .addresses(link.index, None)
        .context("Cannot obtain List of IP Addresses")?;
    for (gateway, _) in gateway::distinct(ips.iter().copied()) {
        if !present.iter().any(|a| a.addr == gateway) {
            bail!(
                "gateway address {gateway} is not on interface {}",
                link.name
            );
        }
    }
    for ip in ips {
        require_route(host, link, Cidr::host(ip.address.addr()), None)?;
    }
    Ok(())
}

/// The route to `dst` by `link` and `gateway`, in whichever table: a plugin for
/// policy routing may have moved it.
fn require_route(
    handle: &Handle,
    link: &Link,
    dst: Cidr,
    gateway: Option<IpAddr>,
) -> anyhow::Result<()> {
    let filter = RouteFilter {
        family: Some(Family::of(dst.addr())),
        table: None,
        dst: Some((dst.addr(), dst.prefix())),
        oif: Some(link.index),
    };
    let present = handle.routes(&filter).map_err(|e| {
        anyhow!(e).context(format!(
            "failed to look up the route to {dst} by {}",
            link.name
        ))
    })?;
    // The local table has each own address as a route, which is not meant here.
    let mut present = present
        .iter()
        .filter(|route| route.table != rtnl::RT_TABLE_LOCAL);
    if !present.any(|route| gateway.is_none() || route.gateway == gateway) {
        let through = gateway.map_or(String::new(), |gateway| format!(" through {gateway}"));
        bail!(
            "the route to {dst}{through} by interface {} is missing",
            link.name
        );
    }
    Ok(())
}
