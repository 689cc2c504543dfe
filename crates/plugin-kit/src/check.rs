//! CHECK: compares a prevResult with the kernel's state.

use crate::{Container, addressing};
use anyhow::{Context, anyhow, bail};
use cni_core::quote::quote;
use cni_core::{AddResult, Call, Interface, IpConfig};
use rtnl::{Family, Link, RouteFilter};
use std::net::IpAddr;

/// Returns the prevResult of CHECK.
///
/// # Errors
/// When it is missing or malformed.
pub fn required_prev_result(call: &Call) -> anyhow::Result<AddResult> {
    call.prev_result()?.context("Required prevResult missing")
}

/// Returns index and record of the container's interface in `result`: that named
/// `CNI_IFNAME` in the sandbox `CNI_NETNS`.
///
/// # Errors
/// When there is none; the text says whether name or sandbox differ.
pub fn container_interface<'r>(
    call: &Call,
    result: &'r AddResult,
) -> anyhow::Result<(usize, &'r Interface)> {
    let mut named = result
        .interfaces
        .iter()
        .enumerate()
        .filter(|(_, i)| i.name == call.if_name);
    if let Some(found) = named.clone().rfind(|(_, i)| call.is_sandbox(&i.sandbox)) {
        return Ok(found);
    }
    match named.find(|(_, i)| !i.sandbox.is_empty()) {
        Some((_, other)) => bail!(
            "Sandbox in prevResult {} doesn't match configured netns: {}",
            other.sandbox,
            call.sandbox()
        ),
        None => bail!(
            "interface {} of the container is not in prevResult",
            quote(&call.if_name)
        ),
    }
}

/// Compares the MAC address of a link with the recorded one, if there is one.
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

/// Returns whether upstream created the veth pair with this host end. All its releases set
/// a transmit queue length of 0 there, which this project's plugins never do. On such a
/// pair CHECK compares only what upstream sets.
#[must_use]
pub fn is_pair_of_upstream(host_end: &Link) -> bool {
    host_end.txqlen == 0
}

/// Compares addresses and routes of the container's interface `link` with `result`, in
/// which it has the index `interface`. Addresses of other interfaces are checked by the
/// plugins that created them.
///
/// # Errors
/// The first missing or different address or route.
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
    // Upstream's results do not record the MTU of an interface.
    let recorded = result.interfaces.get(interface);
    let sets_metrics = recorded.is_some_and(|recorded| recorded.mtu > 0);
    routes(container, link, result, &ips, sets_metrics)
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

/// Checks the route to the network of an address, which the kernel adds with the address.
/// It may be in any table, since plugins for policy routing move it. An address with full
/// prefix length has none.
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
    let description = || {
        let gateway = ip
            .gateway
            .map_or("<nil>".into(), |gateway| gateway.to_string());
        format!("Gateway {gateway} for interface {}", link.name)
    };
    let present = container
        .rtnl
        .routes(&filter)
        .map_err(|e| anyhow!("Error {e} trying to find {}", description()))?;
    if present.is_empty() {
        let network = ip.address.masked();
        bail!(
            "Failed to find {}: there is no route to {network}",
            description()
        );
    }
    Ok(())
}

fn routes(
    container: &Container,
    link: &Link,
    result: &AddResult,
    ips: &[&IpConfig],
    sets_metrics: bool,
) -> anyhow::Result<()> {
    let difference =
        |present: &rtnl::Route, wanted: &rtnl::RouteSpec| difference(present, wanted, sets_metrics);
    for route in &result.routes {
        let wanted = addressing::route_spec(route, ips, link.index)?;
        let filter = RouteFilter {
            family: Some(Family::of(wanted.dst)),
            table: Some(wanted.table),
            dst: Some((wanted.dst, wanted.prefix)),
            oif: None,
        };
        let list = |filter: &RouteFilter| {
            let routes = container.rtnl.routes(filter);
            routes.map_err(|e| {
                let what = format!("Expected Route {route} not route table lookup error");
                anyhow!(e).context(what)
            })
        };
        let present = list(&filter)?;
        if present.iter().any(|r| difference(r, &wanted).is_empty()) {
            continue;
        }
        if route.table.is_none_or(|table| table == 0) {
            // A later plugin of the chain may have moved it for policy routing.
            let anywhere = list(&RouteFilter {
                table: None,
                oif: Some(link.index),
                ..filter
            })?;
            if anywhere.iter().any(|r| difference(r, &wanted).is_empty()) {
                continue;
            }
        }
        if present.is_empty() {
            bail!("Expected Route {route} not found in routing table");
        }
        let differences: Vec<String> = present.iter().map(|r| difference(r, &wanted)).collect();
        bail!(
            "Expected Route {route} not found in routing table: the route to {} has {}",
            route.dst,
            differences.join(", another has ")
        );
    }
    Ok(())
}

/// Returns how a route of the kernel differs from the wanted one; an empty text if it does
/// not. Unless ADD `sets_metrics`, the route may lack MTU and advertised MSS, which
/// upstream's ADD copies to its result without setting them.
fn difference(present: &rtnl::Route, wanted: &rtnl::RouteSpec, sets_metrics: bool) -> String {
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
            && (present.is_some() || sets_metrics)
        {
            return format!("{what} {}, not {wanted}", present.unwrap_or_default());
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cni_core::{Command, Version};
    use serde_json::json;

    fn call(prev_result: serde_json::Value) -> Call {
        Call {
            command: Command::Check,
            container_id: "c1".into(),
            netns: "/run/netns/c1".into(),
            if_name: "eth0".into(),
            args: Default::default(),
            path: Default::default(),
            netns_override: false,
            stdin: Vec::new(),
            conf: json!({"prevResult": prev_result}),
            name: "net".into(),
            version: Version::CURRENT,
            bundle: Default::default(),
        }
    }

    /// Returns the index of the container's interface among these (name, sandbox).
    fn chosen(interfaces: &[(&str, &str)]) -> Result<usize, String> {
        let interfaces: Vec<_> = interfaces
            .iter()
            .map(|(name, sandbox)| json!({"name": name, "sandbox": sandbox}))
            .collect();
        let call = call(json!({"cniVersion": "1.1.0", "interfaces": interfaces}));
        let result = required_prev_result(&call).unwrap();
        container_interface(&call, &result)
            .map(|(number, _)| number)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn the_containers_interface() {
        let own = ("eth0", "/run/netns/c1");
        assert_eq!(chosen(&[("eth0", ""), own]), Ok(1));
        assert_eq!(
            chosen(&[own, ("eth0", "/other"), ("net1", "/run/netns/c1")]),
            Ok(0)
        );
        assert_eq!(chosen(&[own, own]), Ok(1));
        assert_eq!(
            chosen(&[("eth0", ""), ("eth0", "/var/run/netns/c1")]).unwrap_err(),
            "Sandbox in prevResult /var/run/netns/c1 doesn't match configured netns: /run/netns/c1"
        );
        for others in [&[("eth0", "")][..], &[("eth1", "/run/netns/c1")], &[]] {
            let error = chosen(others).unwrap_err();
            assert_eq!(
                error,
                "interface \"eth0\" of the container is not in prevResult"
            );
        }
    }

    #[test]
    fn a_missing_or_malformed_prev_result_is_an_error() {
        let error = required_prev_result(&call(json!(null)))
            .unwrap_err()
            .to_string();
        assert_eq!(error, "Required prevResult missing");
        let error = required_prev_result(&call(json!({"ips": 5})))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("could not parse prevResult: "), "{error}");
    }

    fn present(gateway: Option<&str>, hops: Vec<rtnl::NextHop>) -> rtnl::Route {
        rtnl::Route {
            family: Family::V4,
            dst: IpAddr::from([10, 9, 0, 0]),
            prefix: 16,
            gateway: gateway.map(|gateway| gateway.parse().unwrap()),
            oif: Some(7),
            hops,
            table: rtnl::RT_TABLE_MAIN,
            scope: rtnl::Scope::UNIVERSE,
            priority: 5,
            src: None,
            mtu: Some(1400),
            advmss: None,
            protocol: 0,
            kind: rtnl::RTN_UNICAST,
            flags: 0,
        }
    }

    #[test]
    fn differences_of_routes_are_described() {
        let mut wanted = rtnl::RouteSpec::new(IpAddr::from([10, 9, 0, 0]), 16);
        wanted.oif = Some(7);
        wanted.gateway = Some(IpAddr::from([10, 0, 0, 1]));
        let same = present(Some("10.0.0.1"), vec![]);
        assert_eq!(difference(&same, &wanted, true), "");
        let gateway = "gateway 10.0.0.2 on link 7, not gateway 10.0.0.1 on link 7";
        assert_eq!(
            difference(&present(Some("10.0.0.2"), vec![]), &wanted, true),
            gateway
        );
        let none = "no gateway on link 7, not gateway 10.0.0.1 on link 7";
        assert_eq!(difference(&present(None, vec![]), &wanted, true), none);
        // One next hop of several.
        let hop = |gateway: [u8; 4]| rtnl::NextHop {
            gateway: Some(IpAddr::from(gateway)),
            oif: 7,
            weight: 1,
            flags: 0,
        };
        let several = present(None, vec![hop([10, 0, 0, 2]), hop([10, 0, 0, 1])]);
        assert_eq!(difference(&several, &wanted, true), "");
        wanted.priority = Some(5);
        wanted.mtu = Some(1400);
        assert_eq!(difference(&same, &wanted, true), "");
        wanted.mtu = Some(1300);
        assert_eq!(difference(&same, &wanted, true), "mtu 1400, not 1300");
        wanted.priority = Some(6);
        assert_eq!(difference(&same, &wanted, true), "metric 5, not 6");
        (wanted.priority, wanted.mtu, wanted.advmss) = (None, None, Some(9));
        assert_eq!(difference(&same, &wanted, true), "advmss 0, not 9");
        assert_eq!(difference(&same, &wanted, false), "");
        wanted.mtu = Some(1300);
        assert_eq!(difference(&same, &wanted, false), "mtu 1400, not 1300");
    }
}
