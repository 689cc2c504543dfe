//! `route_localnet`, for connections from localhost: the kernel routes a packet from
//! 127.0.0.1 only to interfaces that have it.

use anyhow::Context;
use cni_core::Cidr;
use plugin_kit::{Undo, sysctl};
use rtnl::Handle;

/// Returns the sysctl of the interface that leads to a container; `None` if the container
/// is not on-link, and for IPv6, which has no such sysctl.
fn key(target: Cidr) -> anyhow::Result<Option<String>> {
    if !target.is_ipv4() {
        return Ok(None);
    }
    let handle = Handle::open()?;
    let route = handle.route_to(target.addr())?;
    let direct = route.filter(|route| route.gateway.is_none() && route.kind == rtnl::RTN_UNICAST);
    let Some(index) = direct.and_then(|route| route.oif) else {
        log::debug!(
            "no direct route to {}: not reachable from localhost",
            target.addr()
        );
        return Ok(None);
    };
    let link = handle.link_by_index(index)?;
    Ok(Some(format!("net/ipv4/conf/{}/route_localnet", link.name)))
}

/// Sets `route_localnet` for a container. DEL does not reset it, because other
/// containers behind the same interface may need it.
///
/// # Errors
/// If it is not 1 and cannot be set.
pub(crate) fn allow(target: Cidr, undo: &mut Undo<'_>) -> anyhow::Result<()> {
    const WHAT: &str = "unable to enable route_localnet";
    let Some(key) = key(target).context(WHAT)? else {
        return Ok(());
    };
    let before = sysctl::get(&key);
    sysctl::ensure(&key, "1")
        .map_err(|e| anyhow::anyhow!("cannot set {key} to 1: {}", cni_core::errno::of(&e)))
        .context(WHAT)?;
    if let Ok(before) = before
        && before != "1"
    {
        undo.push("reset route_localnet", move || {
            Ok(sysctl::ensure(&key, &before)?)
        });
    }
    Ok(())
}

/// Tests that `route_localnet` is set for a container.
///
/// # Errors
/// If it is not.
pub(crate) fn check(target: Cidr) -> anyhow::Result<()> {
    if let Some(key) = key(target)?
        && sysctl::get(&key).is_ok_and(|value| value != "1")
    {
        anyhow::bail!("{key} is not 1: the container's ports are not reachable from localhost");
    }
    Ok(())
}
