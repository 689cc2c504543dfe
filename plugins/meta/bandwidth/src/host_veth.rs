//! The host's end of the container's veth pair.

use anyhow::{anyhow, bail};
use cni_core::{AddResult, Call};
use plugin_kit::{Container, detailed};
use rtnl::{Handle, Link};

/// The peer of the container's interface `CNI_IFNAME`. It is looked up by its index and
/// must be an interface of the host in `result`.
///
/// # Errors
/// When the interface is not a veth, or its peer is not on the host or not in `result`.
pub(crate) fn find(
    call: &Call,
    container: &Container,
    host: &Handle,
    result: &AddResult,
) -> anyhow::Result<Link> {
    if result.interfaces.is_empty() {
        bail!("no interfaces provided");
    }
    let link = peer(call, container, host)?;
    let is_known = result
        .interfaces
        .iter()
        .any(|interface| interface.sandbox.is_empty() && interface.name == link.name);
    if !is_known {
        return Err(detailed(
            "no veth peer of container interface found in host ns",
            format!(
                "{} is not an interface of the host in prevResult",
                link.name
            ),
        ));
    }
    Ok(link)
}

/// The same regardless of the result.
///
/// # Errors
/// When the interface is not a veth, or its peer is not on the host.
pub(crate) fn peer(call: &Call, container: &Container, host: &Handle) -> anyhow::Result<Link> {
    let name = &call.if_name;
    let no_peer = |cause: &dyn std::fmt::Display| {
        anyhow!("container interface {name} has no veth peer: {cause}")
    };
    let inside = container.rtnl.link_by_name(name).map_err(|e| no_peer(&e))?;
    if !inside.is_kind("veth") {
        let kind = inside.kind.as_deref();
        let kind = kind.map_or("a device".into(), |kind| format!("a link of kind {kind}"));
        return Err(no_peer(&format!("it is {kind}, only veth can be shaped")));
    }
    let Some(index) = inside.link.filter(|index| *index > 0) else {
        return Err(no_peer(&"the kernel does not report its index"));
    };
    let not_on_host = || anyhow!("veth peer with index {index} is not in host ns");
    // Without a namespace identifier the peer is in the container.
    if inside.link_netnsid.is_none() {
        return Err(not_on_host());
    }
    let outside = host.link_by_index(index).map_err(|_| not_on_host())?;
    // The peer may be in a third namespace, and the index that of another link here.
    if !outside.is_kind("veth") || outside.link != Some(inside.index) {
        return Err(not_on_host());
    }
    Ok(outside)
}
