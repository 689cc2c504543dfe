//! Waiting for IPv6 duplicate address detection.

use crate::Container;
use anyhow::{Context, bail};
use rtnl::{Address, Handle, Link, OperState};
use std::time::{Duration, Instant};

/// Waits until no address of `link` is tentative any more, told by the kernel's
/// events. A link that is not operational never settles and is not waited for
/// to the end of the world: the deadline passes, and that is no error.
///
/// # Errors
/// When an address turns out to be taken (`DADFAILED`), or the deadline passes
/// on an operational link.
pub fn addresses(container: &Container, link: &Link, deadline: Duration) -> anyhow::Result<()> {
    let handle = &container.rtnl;
    // Opened in the container: events come from the socket's namespace.
    let mut events = container.netns.run(Handle::subscribe_addresses)??;
    let until = Instant::now() + deadline;
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
            deadline.as_secs()
        );
    }
    Ok(())
}
