//! Waits for changes that the kernel makes in the background: operational links, usable
//! IPv6 addresses.

use crate::Container;
use anyhow::{Context, bail};
use cni_core::quote::quote;
use rtnl::{Address, Family, Handle, Link, LinkEvents, OperState, RT_TABLE_LOCAL, RouteFilter};
use std::io::Write;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

/// How long to wait for duplicate address detection.
const DAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait until a new address is reachable. It takes microseconds, or seconds on
/// a very busy machine.
const REACHABLE_TIMEOUT: Duration = Duration::from_secs(2);

/// Interval between two dumps of the routes.
const POLL_INTERVAL: Duration = Duration::from_micros(200);

/// Waits until `link` is operational, at most until `until`, and returns its last state.
/// `subscribe` opens a socket for events in the link's namespace.
///
/// The kernel processes a new carrier in the background (`linkwatch`), which may take a
/// second. Since Linux 6.8 reading the link makes it do so at once; then there is no event
/// to wait for.
///
/// # Errors
/// When the link does not exist.
pub fn until_operational(
    handle: &Handle,
    link: &Link,
    until: Instant,
    subscribe: impl FnOnce() -> anyhow::Result<LinkEvents>,
) -> anyhow::Result<Link> {
    let is_up = |link: &Link| link.operstate == OperState::Up;
    let now = handle
        .link_by_index(link.index)
        .with_context(|| format!("failed to lookup {}", quote(&link.name)))?;
    if is_up(&now) {
        return Ok(now);
    }
    let waited = subscribe()?
        .wait(link.index, until, is_up)
        .with_context(|| format!("failed to wait for {}", quote(&link.name)))?;
    Ok(waited.into_inner())
}

/// Waits for the kernel's events until no address of `link` is tentative, at most five
/// seconds. Returns whether that happened: on a link that is not operational it never does,
/// which is not an error.
///
/// # Errors
/// When another host has an address (`DADFAILED`), or the deadline passes on an
/// operational link.
pub(crate) fn until_dad_completes(container: &Container, link: &Link) -> anyhow::Result<bool> {
    let handle = &container.rtnl;
    // A socket receives the events of its own namespace.
    let mut events = container.run(Handle::subscribe_addresses)??;
    let until = Instant::now() + DAD_TIMEOUT;
    let is_complete = |addresses: &[Address]| {
        addresses.iter().any(Address::is_dad_failed) || !addresses.iter().any(Address::is_tentative)
    };
    let waited = events
        .wait(handle, link.index, until, is_complete)
        .context("could not list addresses")?;
    let met = waited.is_met();
    let addresses = waited.into_inner();
    if let Some(failed) = addresses.iter().find(|a| a.is_dad_failed()) {
        bail!(
            "link {} has address {} in DADFAILED state: another host on the network has it",
            link.name,
            failed.addr
        );
    }
    let operational = || {
        handle
            .link_by_index(link.index)
            .map(|l| l.operstate == OperState::Up)
    };
    if !met && operational().context("failed to retrieve link")? {
        bail!(
            "link {} still has tentative addresses after {} seconds",
            link.name,
            DAD_TIMEOUT.as_secs()
        );
    }
    Ok(met)
}

/// Waits until the kernel answers neighbour solicitations for the IPv6 ones of `addresses`,
/// which have been added in `handle`'s namespace, at most two seconds.
///
/// Even without duplicate address detection the kernel completes an address in the
/// background: it joins the solicited-node multicast group, and then adds the local route.
/// A solicitation before that is lost, and repeated only after a second. There is no event
/// for the route, so it is polled. An address that takes longer is not an error, since it is
/// going to work; it is logged on standard error.
///
/// # Errors
/// When the routes cannot be listed.
pub fn until_reachable(
    handle: &Handle,
    addresses: impl Iterator<Item = IpAddr>,
) -> anyhow::Result<()> {
    let mut missing: Vec<IpAddr> = addresses.filter(IpAddr::is_ipv6).collect();
    let filter = RouteFilter {
        family: Some(Family::V6),
        table: Some(RT_TABLE_LOCAL),
        ..RouteFilter::default()
    };
    let until = Instant::now() + REACHABLE_TIMEOUT;
    // A dump takes time itself, so do not sleep after the first ones.
    let mut without_sleep = 0..4;
    while !missing.is_empty() {
        let local = handle
            .routes(&filter)
            .context("failed to list local routes")?;
        missing.retain(|address| !local.iter().any(|route| route.dst == *address));
        let Some(address) = missing.first() else {
            break;
        };
        if Instant::now() > until {
            let _ = writeln!(
                std::io::stderr(),
                "the kernel does not answer for address {address} after {} seconds; going on",
                REACHABLE_TIMEOUT.as_secs()
            );
            break;
        }
        match without_sleep.next() {
            Some(_) => thread::yield_now(),
            None => thread::sleep(POLL_INTERVAL),
        }
    }
    Ok(())
}
