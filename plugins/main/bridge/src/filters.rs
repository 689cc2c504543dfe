//! The packet filters of an attachment: masquerade, spoof check, guards.

use crate::{Config, ra_dhcp_guard, spoof_check, vlan};
use cni_core::{Call, Code, Error, IpConfig};
use netfilter::nft::Nft;
use plugin_kit::failures::Failures;
use plugin_kit::masquerade::{self, Known, Ready};
use plugin_kit::veth::VethPair;
use plugin_kit::{FilterRecord, Undo, names};
use rtnl::{Handle, Link};

/// Refuses what the host does not support, before any change.
pub(crate) fn require(call: &Call, config: &Config, has_ipam: bool) -> anyhow::Result<Ready> {
    let masquerade = config.masquerade.as_ref().filter(|_| has_ipam);
    let ready = masquerade.map(|masquerade| masquerade.require());
    if config.mac_spoof_check {
        spoof_check::require(call)?;
    }
    if config.guards.any() {
        ra_dhcp_guard::probe()?;
    }
    ready.transpose().map(Option::unwrap_or_default)
}

/// Creates the filters of the container's port, and the record of the attachment, which
/// is returned. Masquerade follows when the addresses are known.
pub(crate) fn create<'u>(
    call: &'u Call,
    config: &Config,
    bridge: &Link,
    pair: &VethPair,
    undo: &mut Undo<'u>,
) -> anyhow::Result<FilterRecord> {
    let mut record = new_record(call, undo)?;
    if config.vlans.is_some() {
        vlan::record_unfiltered(bridge, &mut record);
    }
    if config.mac_spoof_check {
        spoof_check::create(call, &pair.host, &pair.container, &mut record, undo)?;
    }
    if config.guards.any() {
        config.guards.create(call, &pair.host, &mut record, undo)?;
    }
    Ok(record)
}

/// Returns the record of a new attachment, after deleting the rules that an earlier
/// attachment of the same name left.
fn new_record<'u>(call: &'u Call, undo: &mut Undo<'u>) -> anyhow::Result<FilterRecord> {
    let mut record = FilterRecord::of(call);
    if record.exists() {
        let stale = Teardown {
            call,
            record,
            masquerade: Some(Known::default()),
            spoof_check: true,
            guards: true,
        };
        stale.delete()?;
        record = FilterRecord::of(call);
    }
    undo.push("remove the filter record", || {
        FilterRecord::of(call).remove();
        Ok(())
    });
    Ok(record)
}

/// The filters that DEL deletes, as far as the attachment may have any.
pub(crate) struct Teardown<'c> {
    call: &'c Call,
    record: FilterRecord,
    masquerade: Option<Known>,
    spoof_check: bool,
    guards: bool,
}

impl<'c> Teardown<'c> {
    /// Returns `None` if the attachment has no filters. To be called while the container's
    /// interface exists, whose addresses identify rules.
    pub(crate) fn of(call: &'c Call) -> Option<Self> {
        let record = FilterRecord::of(call);
        let has_masquerade = masquerade::may_have_rules(call, &record);
        let teardown = Teardown {
            call,
            masquerade: has_masquerade.then(|| Known::of(call, &record)),
            spoof_check: spoof_check::concerns(call, &record),
            guards: ra_dhcp_guard::concerns(call, &record),
            record,
        };
        let any = teardown.record.exists()
            || teardown.masquerade.is_some()
            || teardown.spoof_check
            || teardown.guards;
        any.then_some(teardown)
    }

    /// Deletes the filters, then the record. Every step is tried.
    ///
    /// # Errors
    /// Those of all steps in one.
    pub(crate) fn delete(mut self) -> anyhow::Result<()> {
        let (call, record) = (self.call, &self.record);
        // One socket for all: closing it waits for an RCU grace period.
        let nft = Nft::open().ok();
        let mut failures = Failures::default();
        if let Some(known) = &self.masquerade {
            failures.add(masquerade::delete(nft.as_ref(), call, record, known));
        }
        if let Some(nft) = &nft {
            if self.spoof_check {
                failures.add(spoof_check::delete(nft, call, record));
            }
            if self.guards {
                failures.add(ra_dhcp_guard::delete(nft, call, record));
            }
        }
        failures.result()?;
        self.record.remove();
        Ok(())
    }
}

/// CHECK: compares the filters with the configuration. Upstream has no guards.
pub(crate) fn check(
    call: &Call,
    config: &Config,
    ips: &[&IpConfig],
    port: &Link,
    inside: &Link,
    of_upstream: bool,
) -> anyhow::Result<()> {
    if let Some(masquerade) = &config.masquerade {
        masquerade.check(call, ips.iter().copied())?;
    }
    if config.mac_spoof_check {
        spoof_check::check(call, port, inside)?;
    }
    if config.guards.any() && !of_upstream {
        config.guards.check(port)?;
    }
    Ok(())
}

/// GC: deletes the filters of the network's attachments that are no longer valid.
pub(crate) fn collect(call: &Call) -> anyhow::Result<()> {
    let Some(valid) = call.valid_attachments()? else {
        return Ok(());
    };
    let hashes: Vec<String> = valid
        .iter()
        .map(|a| names::attachment_hash(&call.name, &a.container_id, &a.if_name))
        .collect();
    let mut stale = FilterRecord::stale(&call.name, &valid);
    let mut failures = Failures::default();
    failures.add(masquerade::collect(call));
    failures.add(
        Handle::open()
            .map_err(Into::into)
            .and_then(|host| spoof_check::collect(&host, &stale)),
    );
    failures.add(ra_dhcp_guard::collect(
        &names::network_prefix(&call.name),
        &hashes,
    ));
    failures.result()?;
    stale.iter_mut().for_each(FilterRecord::remove);
    Ok(())
}

/// STATUS: whether ADD could create the filters that are configured.
///
/// # Errors
/// With code 50, why not.
pub(crate) fn probe(call: &Call, config: &Config) -> anyhow::Result<()> {
    if let Some(masquerade) = &config.masquerade {
        masquerade.status(call)?;
    }
    let unavailable = |e: anyhow::Error| Error::new(Code::PLUGIN_NOT_AVAILABLE, format!("{e:#}"));
    if config.mac_spoof_check {
        spoof_check::probe().map_err(unavailable)?;
    }
    if config.guards.any() {
        ra_dhcp_guard::probe().map_err(unavailable)?;
    }
    Ok(())
}
