//! Applies an IPAM result to an interface of the container.

use crate::{Container, sysctl, wait};
use anyhow::{Context, anyhow, bail};
use cni_core::quote::quote;
use cni_core::{AddResult, Cidr, Code, Error, IpConfig, Route, errno};
use rtnl::{
    Address, AddressSpec, Broadcast, Exclusivity, Handle, Link, LinkChange, Request, RouteSpec,
    Scope,
};
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;

/// `RT_SCOPE_LINK` of linux/rtnetlink.h.
const SCOPE_LINK: i64 = 253;

/// The smallest MTU of a link with IPv6 (RFC 8200, section 5; `IPV6_MIN_MTU` of
/// linux/ipv6.h), in bytes.
const IPV6_MIN_MTU: u32 = 1280;

/// Adds the addresses of `result` with the interface index `interface`, brings the link up,
/// and adds the routes.
///
/// Addresses are added first, since the kernel announces them when the link comes up. Routes
/// are added last, since they need a link that is up. Without duplicate address detection
/// all requests are one batch. On return all addresses are reachable if the link is
/// operational.
///
/// # Errors
/// At the first request that the kernel refuses; the caller then deletes the link.
pub fn apply(
    container: &Container,
    link: &Link,
    result: &AddResult,
    interface: usize,
    detect_duplicates: bool,
) -> anyhow::Result<()> {
    if result.interfaces.is_empty() {
        bail!("no interfaces to configure");
    }
    let ips = ips_of(result, interface, &link.name)?;
    for ip in &ips {
        require_ipv6(ip.address)?;
        require_ipv6_mtu(ip.address, link)?;
    }
    if ips.iter().any(|ip| !ip.address.is_ipv4()) {
        container.run(|| enable_ipv6(&link.name))??;
    }
    let not_settled = || format!("failed to settle addresses for {}", quote(&link.name));
    let mut plan = Plan::default();
    for ip in &ips {
        let mut spec = AddressSpec::new(ip.address.addr(), ip.address.prefix());
        spec.nodad = !ip.address.is_ipv4() && !detect_duplicates;
        plan.add(
            format!(
                "failed to add IP addr {} to {}",
                ip.address,
                quote(&link.name)
            ),
            Request::add_address(link.index, &spec),
        );
    }
    let up = LinkChange {
        up: Some(true),
        ..LinkChange::default()
    };
    plan.add(
        format!("failed to set {} UP", quote(&link.name)),
        Request::set_link(link.index, &up),
    );
    let mut usable = true;
    if detect_duplicates && ips.iter().any(|ip| !ip.address.is_ipv4()) {
        plan.run(&container.rtnl)?;
        usable = wait::until_dad_completes(container, link).with_context(not_settled)?;
        plan = Plan::default();
    }
    for route in &result.routes {
        let spec = route_spec(route, &ips, link.index)?;
        plan.add_unless_present(
            refused(&spec, &link.name),
            Request::add_route(&spec, Exclusivity::Shared),
        );
    }
    plan.run(&container.rtnl)?;
    if usable {
        let addresses = ips.iter().map(|ip| ip.address.addr());
        wait::until_reachable(&container.rtnl, addresses).with_context(not_settled)?;
    }
    Ok(())
}

/// Refuses an IPv6 address if the kernel has no IPv6.
///
/// # Errors
/// For an IPv6 address without IPv6; the details name the remedy.
pub(crate) fn require_ipv6(address: Cidr) -> Result<(), Error> {
    if address.is_ipv4() || has_ipv6() {
        return Ok(());
    }
    let msg = format!("cannot add address {address}: the kernel has no IPv6");
    Err(Error::new(Code::INVALID_NETWORK_CONFIG, msg).with_details(WITHOUT_IPV6))
}

/// What to do about a kernel without IPv6.
pub(crate) const WITHOUT_IPV6: &str = "remove the IPv6 addresses from the ipam configuration, or \
                                       boot the host without ipv6.disable=1";

/// Returns whether the kernel has IPv6.
pub(crate) fn has_ipv6() -> bool {
    // Absent with the kernel parameter `ipv6.disable=1`, or without CONFIG_IPV6.
    Path::new("/proc/sys/net/ipv6").exists()
}

/// Refuses an IPv6 address on a link whose MTU is too small, on which the kernel disables
/// IPv6.
///
/// # Errors
/// For an IPv6 address if the MTU is below 1280; the details name the remedy.
pub fn require_ipv6_mtu(address: Cidr, link: &Link) -> Result<(), Error> {
    if address.is_ipv4() || link.mtu >= IPV6_MIN_MTU {
        return Ok(());
    }
    let msg = format!(
        "cannot add address {address} to {}: mtu {} is below {IPV6_MIN_MTU}, the minimum of IPv6",
        quote(&link.name),
        link.mtu
    );
    Err(Error::new(Code::INVALID_NETWORK_CONFIG, msg).with_details(
        "raise the mtu of the interface, or remove the IPv6 addresses from the ipam configuration",
    ))
}

/// Returns the request that restores `address` on a link that had it before, without
/// duplicate address detection.
pub fn again(address: &Address) -> AddressSpec {
    let mut spec = AddressSpec::new(address.addr, address.prefix);
    spec.peer = address.peer.filter(|peer| *peer != address.addr);
    spec.scope = address.scope;
    spec.flags = address.flags & (rtnl::IFA_F_NOPREFIXROUTE | rtnl::IFA_F_MANAGETEMPADDR);
    spec.nodad = !address.addr.is_ipv4();
    spec.broadcast = match address.broadcast {
        Some(IpAddr::V4(broadcast)) => Broadcast::Address(broadcast),
        _ => Broadcast::None,
    };
    spec
}

/// Returns the error text of a refused route, in upstream's words, with the next hop that
/// was used, which may be an implicit one.
fn refused(route: &RouteSpec, link: &str) -> String {
    let dst = Cidr::new(route.dst, route.prefix).map(|cidr| cidr.mask_hex());
    let gateway = route.gateway.map(|gateway| gateway.to_string());
    let scope = match route.scope.unwrap_or_default() {
        Scope::UNIVERSE => "universe",
        Scope::SITE => "site",
        Scope::LINK => "link",
        Scope::HOST => "host",
        Scope::NOWHERE => "nowhere",
        _ => "unknown",
    };
    format!(
        "failed to add route '{{{} {}}} via {} dev {link} metric {} (Scope: {scope}, Table: {})'",
        route.dst,
        dst.unwrap_or_default(),
        gateway.as_deref().unwrap_or("<nil>"),
        route.priority.unwrap_or_default(),
        route.table
    )
}

/// Returns the addresses of `result` with the interface index `interface`. Addresses
/// without an index are skipped, as in upstream.
fn ips_of<'r>(
    result: &'r AddResult,
    interface: usize,
    name: &str,
) -> anyhow::Result<Vec<&'r IpConfig>> {
    let mut ips = Vec::with_capacity(result.ips.len());
    for ip in &result.ips {
        match ip.interface {
            None => {}
            Some(index) if usize::try_from(index) == Ok(interface) => ips.push(ip),
            Some(index) => bail!(
                "failed to add IP addr {} to {}: invalid interface index {index}",
                ip.address,
                quote(name)
            ),
        }
    }
    Ok(ips)
}

/// Enables IPv6 on `lo` and on `name`, and keeps the addresses of `name` when it goes down.
fn enable_ipv6(name: &str) -> anyhow::Result<()> {
    for interface in ["lo", name] {
        let key = format!("net/ipv6/conf/{interface}/disable_ipv6");
        match sysctl::get(&key) {
            Ok(value) if value == "0" => {}
            Ok(value) => sysctl::ensure(&key, "0")
                .map_err(|e| anyhow!("{}", errno::of(&e)))
                .with_context(|| {
                    format!(
                        "failed to enable IPv6 for interface {} ({key}={value})",
                        quote(name)
                    )
                })?,
            Err(e) => {
                let _ = writeln!(
                    std::io::stderr(),
                    "failed to read sysctl {}: {}; going on, the kernel will refuse the address \
                     if it has no IPv6",
                    quote(&key),
                    errno::of(&e)
                );
            }
        }
    }
    sysctl::ensure(&format!("net/ipv6/conf/{name}/keep_addr_on_down"), "1")
        .map_err(|e| anyhow!("{}", errno::of(&e)))
        .with_context(|| {
            format!(
                "failed to enable keep_addr_on_down for interface {}",
                quote(name)
            )
        })
}

/// Returns the kernel's route for `route`: the next hop is the route's own, else the first
/// gateway of its family among `ips`. A route with the scope of the link or narrower has
/// none, and neither has one whose next hop is the unspecified address.
pub fn route_spec(route: &Route, ips: &[&IpConfig], oif: u32) -> anyhow::Result<RouteSpec> {
    let number = |what: &str, value: i64| {
        u32::try_from(value).map_err(|_| anyhow!("route {route}: {what} {value} is out of range"))
    };
    let on_link = route.scope.is_some_and(|scope| scope >= SCOPE_LINK);
    let mut spec = RouteSpec::new(route.dst.network(), route.dst.prefix());
    spec.oif = Some(oif);
    spec.gateway = match route.gw {
        Some(gw) if gw.is_unspecified() => None,
        Some(gw) => Some(gw),
        None if on_link => None,
        None => gateway_of_family(ips, route.dst.is_ipv4()),
    };
    if route.priority > 0 {
        spec.priority = Some(number("priority", route.priority)?);
    }
    // Table 0 is `RT_TABLE_UNSPEC`, which the kernel replaces by main.
    if let Some(table) = route.table.filter(|table| *table != 0) {
        spec.table = number("table", table)?;
    }
    if let Some(scope) = route.scope {
        let scope = u8::try_from(scope)
            .map_err(|_| anyhow!("route {route}: scope {scope} is out of range"))?;
        spec.scope = Some(Scope(scope));
    }
    if route.mtu > 0 {
        spec.mtu = Some(number("mtu", route.mtu)?);
    }
    if route.advmss > 0 {
        spec.advmss = Some(number("advmss", route.advmss)?);
    }
    Ok(spec)
}

fn gateway_of_family(ips: &[&IpConfig], ipv4: bool) -> Option<IpAddr> {
    ips.iter()
        .filter(|ip| ip.address.is_ipv4() == ipv4)
        .find_map(|ip| ip.gateway)
}

/// Requests of one batch, each with the text of its error and whether the object may exist
/// already.
#[derive(Default)]
struct Plan {
    texts: Vec<(String, bool)>,
    requests: Vec<Request<'static>>,
}

impl Plan {
    fn add(&mut self, text: String, request: Request<'static>) {
        self.texts.push((text, false));
        self.requests.push(request);
    }

    /// Adds a request for an object that may already exist exactly as requested.
    fn add_unless_present(&mut self, text: String, request: Request<'static>) {
        self.texts.push((text, true));
        self.requests.push(request);
    }

    fn run(self, handle: &Handle) -> anyhow::Result<()> {
        if self.requests.is_empty() {
            return Ok(());
        }
        for ((text, may_exist), reply) in self.texts.into_iter().zip(handle.batch(self.requests)) {
            match reply {
                Err(e) if may_exist && e.is_exists() => {}
                Err(e) => return Err(anyhow!(e).context(text)),
                Ok(_) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(address: &str, gateway: Option<&str>, interface: Option<i64>) -> IpConfig {
        IpConfig {
            interface,
            address: address.parse().unwrap(),
            gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        }
    }

    fn route(dst: &str) -> Route {
        Route::to(dst.parse().unwrap())
    }

    #[test]
    fn next_hop_of_a_route() {
        let ips = [
            ip("10.0.0.2/24", None, None),
            ip("10.0.1.2/24", Some("10.0.1.1"), None),
            ip("10.0.2.2/24", Some("10.0.2.1"), None),
            ip("fd00::2/64", Some("fd00::1"), None),
        ];
        let ips: Vec<&IpConfig> = ips.iter().collect();
        let hop = |route: Route| route_spec(&route, &ips, 7).unwrap().gateway;
        let some = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        assert_eq!(hop(route("10.9.0.0/16")), some("10.0.1.1"));
        assert_eq!(hop(route("fd09::/16")), some("fd00::1"));
        let gw = |text: &str| Route {
            gw: some(text),
            ..route("10.9.0.0/16")
        };
        assert_eq!(hop(gw("10.0.2.9")), some("10.0.2.9"));
        assert_eq!(hop(gw("0.0.0.0")), None);
        let scope = |scope| Route {
            scope: Some(scope),
            ..route("10.9.0.0/16")
        };
        assert_eq!(hop(scope(200)), some("10.0.1.1"));
        assert_eq!(hop(scope(253)), None);
        assert_eq!(hop(scope(254)), None);
        assert_eq!(
            hop(Route {
                gw: some("10.0.2.9"),
                ..scope(253)
            }),
            some("10.0.2.9")
        );
        assert_eq!(
            route_spec(&route("10.9.0.0/16"), &ips[..1], 7)
                .unwrap()
                .gateway,
            None
        );
    }

    #[test]
    fn attributes_of_a_route() {
        let all = Route {
            mtu: 1400,
            advmss: 1300,
            priority: 5,
            table: Some(100),
            scope: Some(253),
            ..route("10.9.1.1/16")
        };
        let spec = route_spec(&all, &[], 7).unwrap();
        assert_eq!(
            (spec.dst.to_string().as_str(), spec.prefix, spec.oif),
            ("10.9.0.0", 16, Some(7))
        );
        assert_eq!(
            (spec.mtu, spec.advmss, spec.priority),
            (Some(1400), Some(1300), Some(5))
        );
        assert_eq!((spec.table, spec.scope), (100, Some(Scope::LINK)));
        let none = Route {
            mtu: -1,
            advmss: 0,
            priority: -7,
            table: Some(0),
            ..route("10.9.0.0/16")
        };
        let spec = route_spec(&none, &[], 7).unwrap();
        assert_eq!(
            (spec.mtu, spec.advmss, spec.priority, spec.scope),
            (None, None, None, None)
        );
        assert_eq!(spec.table, rtnl::RT_TABLE_MAIN);
        for wrong in [
            Route {
                mtu: 1 << 32,
                ..route("10.9.0.0/16")
            },
            Route {
                advmss: i64::MAX,
                ..route("10.9.0.0/16")
            },
            Route {
                priority: 1 << 32,
                ..route("10.9.0.0/16")
            },
            Route {
                table: Some(-1),
                ..route("10.9.0.0/16")
            },
            Route {
                scope: Some(256),
                ..route("10.9.0.0/16")
            },
            Route {
                scope: Some(-1),
                ..route("10.9.0.0/16")
            },
        ] {
            let error = route_spec(&wrong, &[], 7).unwrap_err().to_string();
            assert!(error.contains("is out of range"), "{error}");
        }
    }

    #[test]
    fn refusals_name_the_route() {
        let refusal = |route: &Route| refused(&route_spec(route, &[], 7).unwrap(), "eth0");
        assert_eq!(
            refusal(&route("10.9.0.0/16")),
            "failed to add route '{10.9.0.0 ffff0000} via <nil> dev eth0 metric 0 \
             (Scope: universe, Table: 254)'"
        );
        let other = Route {
            gw: Some("fd00::1".parse().unwrap()),
            scope: Some(253),
            table: Some(9),
            priority: 4,
            ..route("::/0")
        };
        assert_eq!(
            refusal(&other),
            "failed to add route '{:: 00000000000000000000000000000000} via fd00::1 dev eth0 \
             metric 4 (Scope: link, Table: 9)'"
        );
    }

    #[test]
    fn addresses_of_the_interface() {
        let result = |ips: Vec<IpConfig>| AddResult {
            ips,
            ..AddResult::default()
        };
        let without_index = ip("10.0.0.2/24", None, None);
        let ours = ip("10.0.0.3/24", None, Some(2));
        let result_of_two = result(vec![without_index, ours.clone()]);
        assert_eq!(ips_of(&result_of_two, 2, "eth0").unwrap(), [&ours]);
        for other in [0, 3, -1, i64::MAX] {
            let result = result(vec![ip("10.0.0.3/24", None, Some(other))]);
            assert_eq!(
                ips_of(&result, 2, "eth0").unwrap_err().to_string(),
                format!(
                    "failed to add IP addr 10.0.0.3/24 to \"eth0\": invalid interface index {other}"
                )
            );
        }
    }
}
