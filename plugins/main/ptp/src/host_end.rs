//! The host's end: it has the gateways' addresses and leads to the container's.

use crate::gateway;
use anyhow::{Context, anyhow, bail};
use cni_core::quote::quote;
use cni_core::{Cidr, IpConfig};
use plugin_kit::sysctl;
use rtnl::{AddressSpec, Exclusivity, Handle, Link, OperState, Request, RouteSpec, Scope};
use std::io::Write;
use std::time::{Duration, Instant};

/// How long the host's end may take. Carrier changes are settled at worst once a
/// second.
const DEADLINE: Duration = Duration::from_millis(2550);

/// Sysctls of the host's end, while the container's is down. Absent without IPv6.
pub(crate) fn prepare(link: &Link) {
    let ipv6 = |key: &str, value: &str| {
        let _ = sysctl::ensure(&format!("net/ipv6/conf/{}/{key}", link.name), value);
    };
    // No router advertisement from a container may configure the host.
    ipv6("accept_ra", "0");
    // The host looks for the container on behalf of others only once it has a
    // link-local address, which need not be asked for: nobody else is on the wire.
    ipv6("accept_dad", "0");
}

/// Adds the gateways' addresses and a route to each of the container's addresses.
pub(crate) fn configure(host: &Handle, link: &Link, ips: &[IpConfig]) -> anyhow::Result<()> {
    let mut texts = Vec::new();
    let mut requests = Vec::new();
    for (gateway, _) in gateway::distinct(ips) {
        let gateway = Cidr::host(gateway);
        let mut spec = AddressSpec::new(gateway.addr(), gateway.prefix());
        // The same address is on the host's end of every connection of the network.
        spec.nodad = !gateway.is_ipv4();
        texts.push(format!("failed to add IP addr ({gateway}) to veth"));
        requests.push(Request::add_address(link.index, &spec));
    }
    let addresses = requests.len();
    let mut to_container: Vec<Cidr> = ips.iter().map(|ip| Cidr::host(ip.address.addr())).collect();
    to_container.dedup();
    for address in &to_container {
        texts.push("failed to add route on host".to_owned());
        requests.push(Request::add_route(
            &route(*address, link),
            Exclusivity::Exclusive,
        ));
    }
    for (number, (text, reply)) in texts.into_iter().zip(host.batch(requests)).enumerate() {
        match reply {
            Ok(_) => {}
            Err(e) if e.is_exists() && number >= addresses => bail!(
                "{text}: {} is routed elsewhere already; another container may have the address",
                to_container[number - addresses]
            ),
            Err(e) => return Err(anyhow!(e).context(text)),
        }
    }
    Ok(())
}

/// Waits until the host's end passes packets, which the kernel sees to in the
/// background when the container's end has come up. A machine that is too busy for
/// it will do so later: no reason to fail.
pub(crate) fn wait_until_up(host: &Handle, link: &Link) -> anyhow::Result<()> {
    let name = || format!("failed to lookup {}", quote(&link.name));
    let is_up = |link: &Link| link.operstate == OperState::Up;
    if is_up(&host.link_by_index(link.index).with_context(name)?) {
        return Ok(());
    }
    let mut events = Handle::subscribe_links()?;
    let until = Instant::now() + DEADLINE;
    let waited = events.wait(link.index, until, is_up).with_context(name)?;
    if !waited.is_met() {
        let _ = writeln!(
            std::io::stderr(),
            "ptp: {} is still {} after {} ms; going on",
            link.name,
            waited.into_inner().operstate.as_str(),
            DEADLINE.as_millis()
        );
    }
    Ok(())
}

/// The route to one of the container's addresses.
fn route(address: Cidr, link: &Link) -> RouteSpec {
    let mut route = RouteSpec::new(address.addr(), address.prefix());
    route.oif = Some(link.index);
    route.scope = Some(Scope::HOST);
    route
}
