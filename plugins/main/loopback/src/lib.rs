//! The loopback plugin: brings `lo` of a container up.
//!
//! `CNI_IFNAME` is not looked at: the interface is always `lo`.

mod config;

use anyhow::{Context, bail};
use cni_core::confine::Needs;
use cni_core::{AddResult, Call, Cidr, Interface, IpConfig, Plugin};
use plugin_kit::{Container, Undo};
use rtnl::{Address, Handle, LinkChange, Request};

/// The plugin.
#[derive(Debug)]
pub struct Loopback;

const LO: &str = "lo";

/// The kernel gives every namespace's `lo` the same index (`LOOPBACK_IFINDEX`).
const LO_INDEX: u32 = 1;

impl Plugin for Loopback {
    fn name(&self) -> &'static str {
        "loopback"
    }

    fn needs(&self, _: &Call) -> Option<Needs> {
        Some(Needs::network())
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        config::validate(call)?;
        let chained = call.prev_result().context("failed to parse prevResult")?;
        let container = Container::open(call)?;
        let mut undo = Undo::new();
        // Nothing is changed before this: a link that is set down loses its addresses.
        let mut addresses = loopback_addresses(&container.rtnl)?;
        if !is_up(&container.rtnl)? {
            set_up(&container.rtnl, true)?;
            undo.push("set lo down again", || set_up(&container.rtnl, false));
            // The kernel adds its addresses now.
            addresses = loopback_addresses(&container.rtnl)?;
        }
        undo.disarm();
        Ok(chained.unwrap_or_else(|| result(call, &addresses)))
    }

    fn del(&self, call: &Call) -> anyhow::Result<()> {
        match Container::open_for_del(call)? {
            Some(container) => set_up(&container.rtnl, false),
            None => Ok(()),
        }
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        if !is_up(&Container::open(call)?.rtnl)? {
            bail!("loopback interface is down");
        }
        Ok(())
    }

    fn gc(&self, _: &Call) -> anyhow::Result<()> {
        // `lo` is deleted with its namespace.
        Ok(())
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        config::validate(call)
    }
}

/// The addresses of `lo`; one that is not a loopback address is refused.
fn loopback_addresses(handle: &Handle) -> anyhow::Result<Vec<Address>> {
    let addresses = handle
        .addresses(LO_INDEX, None)
        .context("failed to list the addresses of lo")?;
    if let Some(foreign) = addresses.iter().find(|a| !a.addr.is_loopback()) {
        bail!(
            "loopback interface found with non-loopback address \"{}/{}\"",
            foreign.addr,
            foreign.prefix
        );
    }
    Ok(addresses)
}

fn is_up(handle: &Handle) -> anyhow::Result<bool> {
    Ok(handle
        .link_by_index(LO_INDEX)
        .context("failed to look up lo")?
        .is_up())
}

fn set_up(handle: &Handle, up: bool) -> anyhow::Result<()> {
    let change = LinkChange {
        up: Some(up),
        ..LinkChange::default()
    };
    handle
        .request(Request::set_link(LO_INDEX, &change))
        .with_context(|| format!("failed to set lo {}", if up { "up" } else { "down" }))?;
    Ok(())
}

/// `lo` with its first address of each family.
fn result(call: &Call, addresses: &[Address]) -> AddResult {
    let first = |ipv4: bool| addresses.iter().find(|a| a.addr.is_ipv4() == ipv4);
    let ips = [first(true), first(false)]
        .into_iter()
        .flatten()
        .filter_map(|a| {
            let address = Cidr::new(a.addr, a.prefix)?;
            Some(IpConfig {
                interface: Some(0),
                address,
                gateway: None,
            })
        });
    AddResult {
        interfaces: vec![Interface {
            name: LO.into(),
            mac: "00:00:00:00:00:00".into(),
            sandbox: call.sandbox(),
            ..Interface::default()
        }],
        ips: ips.collect(),
        ..AddResult::default()
    }
}
