//! DEL and GC: finding what was made, whoever made it and however far it got.

use crate::attachment::addresses;
use crate::config::{Backend, Config, Policy};
use crate::record::{Claim, Record, note};
use crate::serving::{firewalld_if_any, source};
use crate::{iptables, nftables};
use anyhow::anyhow;
use cni_core::Call;
use netfilter::firewalld::Firewalld;
use plugin_kit::state::{owner, owners};
use rtnl::Handle;
use std::net::IpAddr;

/// So many records are held at a time: each takes a file descriptor.
const AT_ONCE: usize = 256;

/// Removes what the attachment has. It goes by prevResult, and without by what is
/// recorded; each backend is tried whatever became of the others.
pub(crate) fn del(call: &Call) -> anyhow::Result<()> {
    let config = Config::load_leniently(call);
    let owner = owner(call);
    let result = call.prev_result().unwrap_or_else(|error| {
        note(&format!("going on without prevResult: {error}"));
        None
    });
    let told = result.as_ref().map(addresses).unwrap_or_default();
    let mut addresses = told.clone();
    if result.is_none() {
        let own = Record::all().into_iter();
        let own = own.filter(|(_, record)| record.owner == owner);
        addresses = own.map(|(address, _)| address).collect();
    }

    let mut found = Found::claim(&addresses, |record| record.owner == owner)?;
    let mut bridges = found.bridges();
    if config.policy != Policy::Open {
        let first = result.iter().flat_map(|result| result.interfaces.first());
        bridges.extend(first.map(|interface| interface.name.clone()));
    }
    bridges.sort_unstable();
    bridges.dedup();
    bridges.retain(|bridge| !bridge.is_empty() && is_gone(bridge));

    let mut errors = Errors::default();
    errors.note(nftables::del(&owner, &told, &bridges).map_err(Into::into));
    // Rules without a record are upstream's, or those of a host that cannot have one.
    let unrecorded = std::mem::take(&mut found.unrecorded);
    let mut plain = found.of_iptables();
    if matches!(config.backend, Backend::Auto | Backend::Iptables) {
        plain.extend(&unrecorded);
        plain.sort_unstable();
    }
    if !plain.is_empty() || (!bridges.is_empty() && config.backend != Backend::Nftables) {
        let done = errors.note(iptables::del(&plain, &bridges));
        found.finish(done, |record| record.zone.is_none());
    }
    let mut sources = found.sources();
    if matches!(config.backend, Backend::Auto | Backend::Firewalld) {
        sources.extend(
            unrecorded
                .iter()
                .map(|address| (*address, config.zone.clone())),
        );
    }
    let done = errors.note(remove_sources(&sources));
    found.finish(done, |record| record.zone.is_some());
    errors.into_result()
}

/// Removes what attachments of the network have that are not among the valid ones,
/// and the policies of bridges that are gone.
pub(crate) fn gc(call: &Call) -> anyhow::Result<()> {
    let Some(valid) = call.valid_attachments()? else {
        return Ok(());
    };
    let config = Config::load_leniently(call);
    let valid = owners(&call.name, &valid);
    let is_stale =
        |record: &Record| record.owner.network == call.name && !valid.contains(&record.owner);
    let mut stale = Record::all();
    stale.retain(|(_, record)| is_stale(record));
    let stale: Vec<IpAddr> = stale.into_iter().map(|(address, _)| address).collect();

    let mut errors = Errors::default();
    errors.note(nftables::gc(&call.name, &valid, is_gone).map_err(Into::into));
    // Nothing is executed for a network of nftables that has no rules of iptables.
    if stale.is_empty() && config.backend != Backend::Nftables {
        errors.note(iptables::gc(&[], is_gone));
    }
    for some in stale.chunks(AT_ONCE) {
        let mut found = Found::claim(some, is_stale)?;
        let done = errors.note(iptables::gc(&found.of_iptables(), is_gone));
        found.finish(done, |record| record.zone.is_none());
        let done = errors.note(remove_sources(&found.sources()));
        found.finish(done, |record| record.zone.is_some());
    }
    errors.into_result()
}

/// Addresses whose rules are to go.
#[derive(Default)]
struct Found {
    claims: Vec<(Claim, Record)>,
    /// Those that nobody has a record of.
    unrecorded: Vec<IpAddr>,
}

impl Found {
    /// Claims the addresses whose record is one of the `wanted`. They must be in
    /// order.
    fn claim(addresses: &[IpAddr], wanted: impl Fn(&Record) -> bool) -> anyhow::Result<Found> {
        let mut found = Found::default();
        for address in addresses {
            match Claim::of_existing(*address)? {
                Some(claim) => match claim.before.clone() {
                    Some(record) if wanted(&record) => found.claims.push((claim, record)),
                    // By now the address is another attachment's.
                    _ => {}
                },
                None => found.unrecorded.push(*address),
            }
        }
        Ok(found)
    }

    fn of_iptables(&self) -> Vec<IpAddr> {
        let plain = self
            .claims
            .iter()
            .filter(|(_, record)| record.zone.is_none());
        plain.map(|(claim, _)| claim.address).collect()
    }

    fn sources(&self) -> Vec<(IpAddr, String)> {
        let claims = self.claims.iter();
        claims
            .filter_map(|(claim, record)| Some((claim.address, record.zone.clone()?)))
            .collect()
    }

    /// Of their policies; one may be there several times.
    fn bridges(&self) -> Vec<String> {
        let records = self.claims.iter().map(|(_, record)| record);
        let names = records.filter_map(|record| Some(record.bridge.as_ref()?.0.clone()));
        names.collect()
    }

    /// Removes the records of which it is done; others stay for another DEL or GC.
    fn finish(&mut self, done: bool, which: impl Fn(&Record) -> bool) {
        if !done {
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

/// Takes addresses out of their zones. A firewalld that does not run has none, nor
/// has a zone that is gone.
fn remove_sources(sources: &[(IpAddr, String)]) -> anyhow::Result<()> {
    if sources.is_empty() {
        return Ok(());
    }
    let Some(mut firewalld) = firewalld_if_any() else {
        return Ok(());
    };
    let mut errors = Errors::default();
    for (address, zone) in sources {
        errors.note(remove_source(&mut firewalld, zone, &source(*address)));
    }
    errors.into_result()
}

fn remove_source(firewalld: &mut Firewalld, zone: &str, source: &str) -> anyhow::Result<()> {
    match firewalld.remove_source(zone, source) {
        Err(error) if error.bus_error().is_some() && error.to_string().contains("INVALID_ZONE") => {
            Ok(())
        }
        outcome => Ok(outcome?),
    }
}

/// Whether no link has this name. If in doubt, one has.
fn is_gone(name: &str) -> bool {
    let link = Handle::open().and_then(|host| host.link_by_name(name));
    link.is_err_and(|error| error.is_not_found())
}

/// What went wrong so far.
#[derive(Default)]
struct Errors(Vec<anyhow::Error>);

impl Errors {
    /// Whether it went well.
    fn note(&mut self, outcome: anyhow::Result<()>) -> bool {
        let done = outcome.is_ok();
        self.0.extend(outcome.err());
        done
    }

    fn into_result(self) -> anyhow::Result<()> {
        let texts: Vec<String> = self.0.iter().map(|error| format!("{error:#}")).collect();
        if texts.is_empty() {
            Ok(())
        } else {
            Err(anyhow!("{}", texts.join("; ")))
        }
    }
}
