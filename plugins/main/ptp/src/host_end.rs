//! The host's end of the pair: gateway addresses, and routes to the container.

use crate::gateway;
use anyhow::{anyhow, bail};
use cni_core::{Cidr, IpConfig};
use plugin_kit::{sysctl, wait};
use rtnl::{AddressSpec, Exclusivity, Handle, Link, OperState, Request, RouteSpec, Scope};
use std::io::Write;
use std::time::{Duration, Instant};

/// How long the host's end may take to come up. The kernel handles carrier changes in the
/// background, at worst once a second.
const DEADLINE: Duration = Duration::from_millis(2550);

/// Sets the sysctls of the host's end while the container's is down. A kernel without IPv6
/// lacks them.
pub(crate) fn prepare(link: &Link) {
    let ipv6 = |key: &str, value: &str| {
        let _ = sysctl::ensure(&format!("net/ipv6/conf/{}/{key}", link.name), value);
    };
    // Keeps containers from configuring the host with router advertisements.
    ipv6("accept_ra", "0");
    // The kernel sends neighbour solicitations for forwarded packets only from a
    // link-local address that has passed duplicate address detection. The container is the
    // only other node on the link.
    ipv6("accept_dad", "0");
}

/// Adds the gateways' addresses and a route to each of the container's addresses. With `again`, those that exist are
/// left alone.
///
/// # Errors
/// When the kernel refuses one of them. Without `again`, also when one exists.
pub(crate) fn configure(
    host: &Handle,
    link: &Link,
    ips: &[IpConfig],
    again: bool,
) -> anyhow::Result<()> {
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
            Err(e) if e.is_exists() && again => {}
            Err(e) if e.is_exists() && number >= addresses => bail!(
                "{text}: {} has a route on the host already; another container may have the address",
                to_container[number - addresses]
            ),
            Err(e) => return Err(anyhow!(e).context(text)),
        }
    }
    Ok(())
}

/// Waits until the host's end is operational, which the kernel makes it in the background
/// after the container's end has come up. A timeout is logged and not fatal: on a busy
/// machine the kernel does so later.
pub(crate) fn wait_until_up(host: &Handle, link: &Link) -> anyhow::Result<()> {
    let until = Instant::now() + DEADLINE;
    let link = wait::until_operational(host, link, until, || Ok(Handle::subscribe_links()?))?;
    if link.operstate != OperState::Up {
        let _ = writeln!(
            std::io::stderr(),
            "ptp: {} is still {} after {} ms; going on",
            link.name,
            link.operstate.as_str(),
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
