//! Repair: puts back what is missing on the host, with the steps of ADD. The container is not touched.

use crate::{Config, check, host_end, masquerade_plan};
use anyhow::Context;
use cni_core::quote::quote;
use cni_core::{Call, IpConfig};
use netfilter::nft::Nft;
use plugin_kit::check::{container_interface, required_prev_result};
use plugin_kit::masquerade::{self, Known, Plan};
use plugin_kit::{Container, FilterRecord, Undo, forwarding};
use rtnl::{Handle, LinkChange, Request};

/// Puts back addresses and routes of the host's end, masquerade rules and forwarding. What
/// exists is left alone.
pub(crate) fn run(call: &Call, config: &Config) -> anyhow::Result<()> {
    let container = Container::open(call)?;
    let result = required_prev_result(call)?;
    let (_, recorded) = container_interface(call, &result)?;
    let inside = container
        .rtnl
        .link_by_name(&recorded.name)
        .with_context(|| format!("failed to lookup {}", quote(&recorded.name)))?;
    let host = Handle::open()?;
    let (_, outside) = check::host_end(&host, &result, &inside)?;
    let ips: Vec<IpConfig> = check::ips_of(&result, recorded)
        .into_iter()
        .cloned()
        .collect();
    if !outside.is_up() {
        let up = LinkChange {
            up: Some(true),
            ..LinkChange::default()
        };
        host.request(Request::set_link(outside.index, &up))
            .with_context(|| format!("failed to set {} up", quote(&outside.name)))?;
    }
    host_end::configure(&host, &outside, &ips, true)?;
    masquerade(call, config, &ips)?;
    forwarding::enable(&ips).context("could not enable IP forwarding")
}

/// Creates the masquerade rules again unless they are complete.
fn masquerade(call: &Call, config: &Config, ips: &[IpConfig]) -> anyhow::Result<()> {
    let Some(masquerade) = &config.masquerade else {
        return Ok(());
    };
    if masquerade.check(call, ips).is_ok() {
        return Ok(());
    }
    let ready = masquerade.require()?;
    // Some of them may be left.
    let mut record = FilterRecord::of(call);
    let known = Known::of(call, &record);
    masquerade::delete(Nft::open().ok().as_ref(), call, &record, &known)?;
    record.remove();
    let mut undo = Undo::new();
    let plan = masquerade_plan(config, call, ips, ready, &mut undo)?;
    plan.map_or(Ok(()), Plan::create)?;
    undo.disarm();
    Ok(())
}
