//! Applying an IPAM result to an interface of the container.

use crate::{Container, settle, sysctl};
use anyhow::{Context, anyhow, bail};
use cni_core::quote::quote;
use cni_core::{AddResult, IpConfig, Route, errno};
use rtnl::{AddressSpec, Exclusivity, Handle, Link, LinkChange, Request, RouteSpec, Scope};
use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

/// How long duplicate address detection may take.
const DAD_DEADLINE: Duration = Duration::from_secs(5);

/// `RT_SCOPE_LINK` of linux/rtnetlink.h.
const SCOPE_LINK: i64 = 253;

/// Applies the addresses of `result` that belong to its interface number
/// `interface`, brings the link up, and adds the routes.
///
/// Addresses come first, then up, then the routes: bringing a link up announces
/// the addresses it has, and routes need a link that is up. Without duplicate
/// address detection all of it is one batch.
///
/// # Errors
/// At the first thing the kernel refuses; the caller deletes the link then.
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
    if ips.iter().any(|ip| !ip.address.is_ipv4()) {
        container.netns.run(|| enable_ipv6(&link.name))??;
    }
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
    if detect_duplicates && ips.iter().any(|ip| !ip.address.is_ipv4()) {
        plan.run(&container.rtnl)?;
        settle::addresses(container, link, DAD_DEADLINE)
            .with_context(|| format!("failed to settle addresses for {}", quote(&link.name)))?;
        plan = Plan::default();
    }
    for route in &result.routes {
        let spec = route_spec(route, &ips, link.index)?;
        plan.add_or_present(
            format!("failed to add route '{route} dev {}'", link.name),
            Request::add_route(&spec, Exclusivity::Shared),
        );
    }
    plan.run(&container.rtnl)
}

/// The addresses of `result` for its interface number `interface`. One without
/// an interface index is nobody's.
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

/// Makes IPv6 usable on `lo` and on `name`, and keeps its addresses over a link
/// that goes down and up.
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

/// What the kernel is asked for `route`: the next hop is the route's own, else
/// the first gateway of its family among `ips`. A route whose scope ends at the
/// link has none, and neither has one that says so with the unspecified address.
pub(crate) fn route_spec(route: &Route, ips: &[&IpConfig], oif: u32) -> anyhow::Result<RouteSpec> {
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
    // Table 0 is the kernel's "unspecified", which it takes for main.
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

/// Requests for one batch, each with the text its failure is reported by.
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

    /// The same for a thing that may be there already, exactly as asked for.
    fn add_or_present(&mut self, text: String, request: Request<'static>) {
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
