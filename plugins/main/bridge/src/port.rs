//! The host's end as a port of the bridge.

use crate::{Config, uplink};
use anyhow::{Context, bail};
use cni_core::quote::quote;
use plugin_kit::{Container, sysctl};
use rtnl::{Handle, Link, LinkChange, OperState, PortChange, Request};
use std::time::{Duration, Instant};

/// How long a port may take to pass frames after both of its ends are up. The
/// kernel settles carrier changes in the background, at worst once a second.
const DEADLINE: Duration = Duration::from_millis(2550);

/// Sets what differs from a new port's defaults. The container's end is still
/// down, so that no frame passes before.
pub(crate) fn configure(host: &Handle, port: &Link, config: &Config) -> anyhow::Result<()> {
    // As on the bridge; absent without IPv6.
    let _ = sysctl::ensure(&format!("net/ipv6/conf/{}/accept_ra", port.name), "0");
    if config.hairpin_mode {
        let change = PortChange {
            hairpin: Some(true),
            ..PortChange::default()
        };
        host.request(Request::set_bridge_port(port.index, &change))
            .with_context(|| format!("failed to setup hairpin mode for {}", port.name))?;
    }
    Ok(())
}

/// Brings the container's end up, without addresses.
pub(crate) fn set_up(container: &Container, link: &Link) -> anyhow::Result<()> {
    let up = LinkChange {
        up: Some(true),
        ..LinkChange::default()
    };
    container
        .rtnl
        .request(Request::set_link(link.index, &up))
        .with_context(|| format!("failed to set {} up", quote(&link.name)))?;
    Ok(())
}

/// Waits until the port passes frames and returns the bridge as it is then.
pub(crate) fn wait_until_forwarding(
    host: &Handle,
    bridge: &Link,
    port: &Link,
) -> anyhow::Result<Link> {
    let mut now = host
        .link_by_index(port.index)
        .with_context(|| format!("failed to lookup {}", quote(&port.name)))?;
    if now.operstate != OperState::Up {
        let mut events = Handle::subscribe_links()?;
        let until = Instant::now() + DEADLINE;
        now = events
            .wait(port.index, until, |link| link.operstate == OperState::Up)
            .with_context(|| format!("failed to wait for {}", quote(&port.name)))?
            .into_inner();
    }
    if now.operstate != OperState::Up {
        bail!(
            "bridge port in error state: {} ({} of bridge {})",
            now.operstate.as_str(),
            quote(&port.name),
            quote(&bridge.name)
        );
    }
    uplink::verify(host, bridge, port)
}
