//! The packet filters of an attachment: masquerade, spoof-check, guards.

use crate::{Config, guard, spoof_check};
use cni_core::{Call, Code, Error, IpConfig, json};
use netfilter::nft::Nft;
use plugin_kit::failures::Failures;
use plugin_kit::join::join;
use plugin_kit::masquerade::{self, Known, Ready};
use plugin_kit::{FilterRecord, Undo, names};
use rtnl::{Handle, Link};

/// Refuses what could not be done here, before anything is changed.
pub(crate) fn require(call: &Call, config: &Config, has_ipam: bool) -> anyhow::Result<Ready> {
    let masquerade = config.masquerade.as_ref().filter(|_| has_ipam);
    let ready = masquerade.map(|masquerade| masquerade.require());
    if config.mac_spoof_check {
        spoof_check::require(call)?;
    }
    if config.guard.is_wanted() {
        guard::probe()?;
    }
    ready.transpose().map(Option::unwrap_or_default)
}

/// Whether a configuration asks for something by its key, by mistake maybe: DEL rather
/// looks once too often.
pub(crate) fn is_asked_for(call: &Call, key: &str) -> bool {
    json::get(&call.conf, key).is_some_and(|given| given.as_bool() != Some(false))
}

/// Returns the filter record of a new attachment, after deleting the rules that an earlier attachment of the same name left.
pub(crate) fn new_record<'u>(call: &'u Call, undo: &mut Undo<'u>) -> anyhow::Result<FilterRecord> {
    let mut record = FilterRecord::of(call);
    if record.exists() {
        let left = Leaving {
            call,
            record,
            masqueraded: Some(Known::default()),
            spoof_checked: true,
            guarded: true,
        };
        left.tear_down()?;
        record = FilterRecord::of(call);
    }
    undo.push("remove the filter record", || {
        FilterRecord::of(call).remove();
        Ok(())
    });
    Ok(record)
}

/// The filters of an attachment that is going, as far as it may have any.
pub(crate) struct Leaving<'c> {
    call: &'c Call,
    record: FilterRecord,
    masqueraded: Option<Known>,
    spoof_checked: bool,
    guarded: bool,
}

impl<'c> Leaving<'c> {
    /// To be made while the container's interface is there. `None` if the attachment
    /// has no filters.
    pub(crate) fn of(call: &'c Call) -> Option<Self> {
        let record = FilterRecord::of(call);
        let leaving = Leaving {
            call,
            masqueraded: masquerade::concerns(call, &record).then(|| Known::of(call, &record)),
            spoof_checked: spoof_check::concerns(call, &record),
            guarded: guard::concerns(call, &record),
            record,
        };
        let any = leaving.record.exists()
            || leaving.masqueraded.is_some()
            || leaving.spoof_checked
            || leaving.guarded;
        any.then_some(leaving)
    }

    /// Removes them while `unplug` is at work: both wait most of the time, until
    /// nobody can be using any more what they have removed.
    pub(crate) fn tear_down_while<T>(
        self,
        unplug: impl FnOnce() -> (anyhow::Result<()>, T),
    ) -> (anyhow::Result<()>, T) {
        let (unfiltered, (unplugged, rest)) = join(|| self.tear_down(), unplug);
        let mut failures = Failures::default();
        failures.add(unplugged);
        failures.add(unfiltered);
        (failures.result(), rest)
    }

    /// Removes them, each whatever became of the others.
    pub(crate) fn tear_down(mut self) -> anyhow::Result<()> {
        let (call, record) = (self.call, &self.record);
        // One for all: closing it waits until nobody can be using any more what was
        // deleted.
        let nft = Nft::open().ok();
        let mut failures = Failures::default();
        if let Some(known) = &self.masqueraded {
            failures.add(masquerade::tear_down(nft.as_ref(), call, record, known));
        }
        if let Some(nft) = &nft {
            if self.spoof_checked {
                failures.add(spoof_check::tear_down(nft, call, record));
            }
            if self.guarded {
                failures.add(guard::tear_down(nft, call, record));
            }
        }
        failures.result()?;
        self.record.remove();
        Ok(())
    }
}

/// CHECK: compares the filters with the configuration. Upstream knows no guards.
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
    if config.guard.is_wanted() && !of_upstream {
        config.guard.check(port)?;
    }
    Ok(())
}

/// GC: removes those of all attachments of the network that are no longer valid.
pub(crate) fn collect(call: &Call) -> anyhow::Result<()> {
    let Some(valid) = call.valid_attachments()? else {
        return Ok(());
    };
    let hashes: Vec<String> = valid
        .iter()
        .map(|a| names::attachment_hash(&call.name, &a.container_id, &a.if_name))
        .collect();
    let mut dead = FilterRecord::stale(&call.name, &valid);
    let mut failures = Failures::default();
    failures.add(masquerade::collect(call));
    failures.add(
        Handle::open()
            .map_err(Into::into)
            .and_then(|host| spoof_check::collect(&host, &dead)),
    );
    failures.add(guard::collect(&names::network_prefix(&call.name), &hashes));
    failures.result()?;
    dead.iter_mut().for_each(FilterRecord::remove);
    Ok(())
}

/// STATUS: whether the filters that are asked for could be had.
pub(crate) fn status(config: &Config, call: &Call) -> anyhow::Result<()> {
    if let Some(masquerade) = &config.masquerade {
        masquerade.status(call)?;
    }
    let probed = match (config.mac_spoof_check, config.guard.is_wanted()) {
        (true, true) => spoof_check::probe().and_then(|()| guard::probe()),
        (true, false) => spoof_check::probe(),
        (false, true) => guard::probe(),
        (false, false) => Ok(()),
    };
    probed.map_err(|e| Error::new(Code::PLUGIN_NOT_AVAILABLE, format!("{e:#}")))?;
    Ok(())
}
