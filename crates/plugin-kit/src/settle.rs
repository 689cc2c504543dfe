//! Waiting until IPv6 addresses are usable.

use crate::Container;
use anyhow::{Context, bail};
use rtnl::{Address, Family, Handle, Link, OperState, RT_TABLE_LOCAL, RouteFilter};
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

/// How long duplicate address detection may take.
const DETECTION: Duration = Duration::from_secs(5);

/// How long the kernel may take to answer for an address that it has accepted. It
/// is a matter of microseconds, unless the machine is busy.
const TAKE_UP: Duration = Duration::from_secs(5);

/// Between two looks.
const PAUSE: Duration = Duration::from_micros(200);

/// Waits until no address of `link` is tentative any more, told by the kernel's
/// events, at most five seconds, and returns whether that came true. On a link that
/// is not operational it never does, and that is no error.
///
/// # Errors
/// When an address turns out to be taken (`DADFAILED`), or the deadline passes
/// on an operational link.
pub fn duplicates_detected(container: &Container, link: &Link) -> anyhow::Result<bool> {
    let handle = &container.rtnl;
    // Opened in the container: events come from the socket's namespace.
    let mut events = container.netns.run(Handle::subscribe_addresses)??;
    let until = Instant::now() + DETECTION;
    let settled = |addresses: &[Address]| {
        addresses.iter().any(Address::is_dad_failed) || !addresses.iter().any(Address::is_tentative)
    };
    let waited = events
        .wait(handle, link.index, until, settled)
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
            DETECTION.as_secs()
        );
    }
    Ok(met)
}

/// Waits until the kernel answers for the IPv6 ones of `addresses`, which have been
/// added to some link of `handle`'s namespace.
///
/// Even without duplicate address detection the kernel finishes with an address in
/// the background: it joins the multicast group that others ask for the address in,
/// and then makes the local route. A question that comes before is lost, and is not
/// repeated for a second. No event tells of the route, so this looks again and again.
///
/// # Errors
/// When one of them is not taken up within five seconds.
pub fn answering(handle: &Handle, addresses: impl Iterator<Item = IpAddr>) -> anyhow::Result<()> {
    let mut missing: Vec<IpAddr> = addresses.filter(IpAddr::is_ipv6).collect();
    let until = Instant::now() + TAKE_UP;
    let mut attempts = 0..4;
    while !missing.is_empty() {
        let filter = RouteFilter {
            family: Some(Family::V6),
            table: Some(RT_TABLE_LOCAL),
            ..RouteFilter::default()
        };
        let local = handle
            .routes(&filter)
            .context("failed to list local routes")?;
        missing.retain(|address| !local.iter().any(|route| route.dst == *address));
        if let Some(address) = missing.first() {
            if Instant::now() > until {
                let seconds = TAKE_UP.as_secs();
                bail!("the kernel does not answer for address {address} after {seconds} seconds");
            }
            // Looking takes long enough for the first few times.
            match attempts.next() {
                Some(_) => thread::yield_now(),
                None => thread::sleep(PAUSE),
            }
        }
    }
    Ok(())
}
