//! DEL and GC: find and remove what was added, by whichever backend and however far.

use crate::attachment::addresses;
use crate::backend::{firewalld_if_running, source};
use crate::config::{Backend, Config, Policy};
use crate::record::{Claim, Record, note};
use crate::{iptables, nftables};
use cni_core::{AddResult, Call};
use netfilter::firewalld::Firewalld;
use plugin_kit::Container;
use plugin_kit::failures::Failures;
use plugin_kit::state;
use rtnl::{Handle, Scope};
use std::net::IpAddr;

/// The number of addresses that are claimed at a time: each takes a file descriptor.
const CLAIMS_MAX: usize = 256;

/// Removes the rules of an attachment. Its addresses are those of prevResult, or
/// without it those on record, or without both those of its interface. Each backend is tried whatever became of the others.
pub(crate) fn del(call: &Call) -> anyhow::Result<()> {
    let config = Config::load_leniently(call);
    let owner = state::owner(call);
    let result = call.prev_result().unwrap_or_else(|error| {
        note(&format!("going on without prevResult: {error}"));
        None
    });
    let named = result.as_ref().map(addresses).unwrap_or_default();
    let addresses = match result {
        Some(_) => named.clone(),
        None => match recorded_addresses(|record| record.owner == owner) {
            recorded if recorded.is_empty() => addresses_of_interface(call),
            recorded => recorded,
        },
    };
    let mut claimed = Claimed::claim(&addresses, |record| record.owner == owner)?;
    let bridges = gone_bridges(&config, result.as_ref(), &claimed);

    let mut failures = Failures::default();
    failures.add(nftables::del(&owner, &named, &bridges));
    // Rules without a record are upstream's, or those of a host that cannot keep one.
    let unrecorded = std::mem::take(&mut claimed.unrecorded);
    let mut in_iptables = claimed.in_iptables();
    if matches!(config.backend, Backend::Auto | Backend::Iptables) {
        in_iptables.extend(&unrecorded);
        in_iptables.sort_unstable();
    }
    let has_policy = !bridges.is_empty() && config.backend != Backend::Nftables;
    if !in_iptables.is_empty() || has_policy {
        let outcome = iptables::del(&in_iptables, &bridges);
        claimed.finish(outcome, &mut failures, |record| record.zone.is_none());
    }
    let mut sources = claimed.sources();
    if matches!(config.backend, Backend::Auto | Backend::Firewalld) {
        let in_zone = |address: &IpAddr| (*address, config.zone.clone());
        sources.extend(unrecorded.iter().map(in_zone));
    }
    let outcome = remove_sources(&sources);
    claimed.finish(outcome, &mut failures, |record| record.zone.is_some());
    failures.result()
}

/// Returns the addresses of the container's interface: a later plugin of the chain failed on
/// a host that can keep no records, and the runtime knows no result. The plugin that created
/// the interface gets its DEL afterwards.
fn addresses_of_interface(call: &Call) -> Vec<IpAddr> {
    let read = || -> anyhow::Result<Vec<IpAddr>> {
        let Some(container) = Container::open_for_del(call)? else {
            return Ok(Vec::new());
        };
        let link = match container.rtnl.link_by_name(&call.if_name) {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            link => link?,
        };
        let addresses = container.rtnl.addresses(link.index, None)?;
        let global = addresses.iter().filter(|one| one.scope == Scope::UNIVERSE);
        let mut global: Vec<IpAddr> = global.map(|one| one.addr).collect();
        global.sort_unstable();
        global.dedup();
        Ok(global)
    };
    read().unwrap_or_else(|error| {
        note(&format!(
            "going on without the container's addresses: {error:#}"
        ));
        Vec::new()
    })
}

/// Returns the bridges with a policy of this attachment that no longer exist.
fn gone_bridges(config: &Config, result: Option<&AddResult>, claimed: &Claimed) -> Vec<String> {
    let mut bridges = claimed.bridges();
    if config.policy != Policy::Open {
        let first = result.and_then(|result| result.interfaces.first());
        bridges.extend(first.map(|interface| interface.name.clone()));
    }
    bridges.sort_unstable();
    bridges.dedup();
    bridges.retain(|bridge| !bridge.is_empty() && is_gone(bridge));
    bridges
}

/// Removes the rules of attachments of the network that are no longer valid, and the
/// policies of bridges that no longer exist.
pub(crate) fn gc(call: &Call) -> anyhow::Result<()> {
    let Some(valid) = call.valid_attachments()? else {
        return Ok(());
    };
    let config = Config::load_leniently(call);
    let valid = state::owners(&call.name, &valid);
    let is_stale =
        |record: &Record| record.owner.network == call.name && !valid.contains(&record.owner);
    let stale = recorded_addresses(is_stale);

    let mut failures = Failures::default();
    failures.add(nftables::gc(&call.name, &valid, is_gone));
    // No command is run for a network of nftables that has no rules in iptables.
    if stale.is_empty() && config.backend != Backend::Nftables {
        failures.add(iptables::gc(&[], is_gone));
    }
    for some in stale.chunks(CLAIMS_MAX) {
        let mut claimed = Claimed::claim(some, is_stale)?;
        let outcome = iptables::gc(&claimed.in_iptables(), is_gone);
        claimed.finish(outcome, &mut failures, |record| record.zone.is_none());
        let outcome = remove_sources(&claimed.sources());
        claimed.finish(outcome, &mut failures, |record| record.zone.is_some());
    }
    failures.result()
}

/// Returns the addresses on record that `wanted` selects, in order.
fn recorded_addresses(wanted: impl Fn(&Record) -> bool) -> Vec<IpAddr> {
    let records = Record::all().into_iter().filter(wanted);
    records.map(|record| record.address).collect()
}

/// Addresses whose rules are to be removed.
#[derive(Default)]
struct Claimed {
    claims: Vec<(Claim, Record)>,
    /// Addresses without a record.
    unrecorded: Vec<IpAddr>,
}

impl Claimed {
    /// Claims the addresses whose records `wanted` selects. The addresses must be in
    /// order.
    fn claim(addresses: &[IpAddr], wanted: impl Fn(&Record) -> bool) -> anyhow::Result<Claimed> {
        let mut claimed = Claimed::default();
        for address in addresses {
            match Claim::of_recorded(*address)? {
                Some(claim) => match claim.before.clone() {
                    Some(record) if wanted(&record) => claimed.claims.push((claim, record)),
                    // Meanwhile the address belongs to another attachment.
                    _ => {}
                },
                None => claimed.unrecorded.push(*address),
            }
        }
        Ok(claimed)
    }

    fn in_iptables(&self) -> Vec<IpAddr> {
        let records = self.claims.iter().map(|(_, record)| record);
        let in_iptables = records.filter(|record| record.zone.is_none());
        in_iptables.map(|record| record.address).collect()
    }

    fn sources(&self) -> Vec<(IpAddr, String)> {
        let records = self.claims.iter().map(|(_, record)| record);
        records
            .filter_map(|record| Some((record.address, record.zone.clone()?)))
            .collect()
    }

    /// The bridges with a policy; one may be listed several times.
    fn bridges(&self) -> Vec<String> {
        let records = self.claims.iter().map(|(_, record)| record);
        let policies = records.filter_map(|record| record.policy.as_ref());
        policies.map(|policy| policy.bridge.clone()).collect()
    }

    /// Removes the records that `which` selects if their rules are removed. Otherwise
    /// they stay for the next DEL or GC.
    fn finish(
        &mut self,
        outcome: anyhow::Result<()>,
        failures: &mut Failures,
        which: impl Fn(&Record) -> bool,
    ) {
        if failures.add(outcome).is_none() {
            return;
        }
        for (claim, record) in std::mem::take(&mut self.claims) {
            if which(&record) {
                claim.remove();
            } else {
                self.claims.push((claim, record));
            }
        }
    }
}

/// Removes addresses from their zones. There are none if firewalld does not run or a
/// zone does not exist.
fn remove_sources(sources: &[(IpAddr, String)]) -> anyhow::Result<()> {
    if sources.is_empty() {
        return Ok(());
    }
    let Some(mut firewalld) = firewalld_if_running() else {
        return Ok(());
    };
    let mut failures = Failures::default();
    for (address, zone) in sources {
        failures.add(remove_source(&mut firewalld, zone, &source(*address)));
    }
    failures.result()
}

fn remove_source(firewalld: &mut Firewalld, zone: &str, source: &str) -> anyhow::Result<()> {
    match firewalld.remove_source(zone, source) {
        Err(error) if error.bus_error().is_some() && error.to_string().contains("INVALID_ZONE") => {
            Ok(())
        }
        outcome => Ok(outcome?),
    }
}

/// Returns whether no link has this name. If that cannot be told, one has.
fn is_gone(name: &str) -> bool {
    let link = Handle::open().and_then(|host| host.link_by_name(name));
    link.is_err_and(|error| error.is_not_found())
}
