//! The options of the container's port of the bridge.

use crate::Config;
use crate::bridge::refuse_ra;
use anyhow::anyhow;
use rtnl::{Handle, Link, PortChange, Request};

/// Sets the options that differ from a new port's defaults. The container's end is still
/// down, so that no frame passes before.
pub(crate) fn configure(
    host: &Handle,
    bridge: &Link,
    port: &Link,
    config: &Config,
) -> anyhow::Result<()> {
    let mut requests = Vec::new();
    if config.hairpin_mode {
        let change = PortChange {
            hairpin: Some(true),
            ..PortChange::default()
        };
        requests.push((
            format!("failed to setup hairpin mode for {}", port.name),
            Request::set_bridge_port(port.index, &change),
        ));
    }
    if config.port_isolation {
        let change = PortChange {
            isolated: Some(true),
            ..PortChange::default()
        };
        requests.push((
            format!("failed to set isolated on for {}", port.name),
            Request::set_bridge_port(port.index, &change),
        ));
    }
    if let Some(vlans) = &config.vlans {
        requests.extend(vlans.requests(bridge, port));
    }
    apply(host, port, requests)
}

/// Carries out `requests` for a new port, each with the text that reports its failure, and
/// sets the port to refuse router advertisements.
pub(crate) fn apply(
    host: &Handle,
    port: &Link,
    requests: Vec<(String, Request<'static>)>,
) -> anyhow::Result<()> {
    refuse_ra(&port.name);
    let (texts, requests): (Vec<String>, Vec<Request<'_>>) = requests.into_iter().unzip();
    for (text, reply) in texts.into_iter().zip(host.batch(requests)) {
        reply.map_err(|e| anyhow!(e).context(text))?;
    }
    Ok(())
}
