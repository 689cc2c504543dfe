//! Record of the attachment that owns an address's rules.
//!
//! Rules in upstream's form name an address, not the attachment. So each address that
//! iptables or firewalld serves has a record of its owner. GC and a DEL without
//! prevResult find the rules by it, and a late DEL leaves the rules of the address's
//! next container alone.
//!
//! Without records the plugin behaves as upstream, which keeps none.

use crate::config::Policy;
use cni_state::{Found, Lock, Owner, Store};
use serde::{Deserialize, Serialize};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::time::Duration;

/// A record for each address, under its text.
const STORE: Store = Store::new("firewall");

/// Limit on the wait for another process that changes the rules of an address; longer
/// than the limit on the wait for the lock of iptables.
const LOCK_TIMEOUT: Duration = Duration::from_secs(90);

/// What is recorded of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The attachment; kept beside the rest.
    #[serde(skip)]
    pub(crate) owner: Owner,
    pub(crate) address: IpAddr,
    /// The firewalld zone that the address is in; `None` with iptables.
    pub(crate) zone: Option<String>,
    /// The policy of the attachment's bridge.
    pub(crate) policy: Option<BridgePolicy>,
}

/// An ingress policy and the bridge that it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BridgePolicy {
    pub(crate) bridge: String,
    pub(crate) policy: Policy,
}

impl Record {
    /// Returns the record of an address; `None` if there is none that can be read.
    pub(crate) fn read(address: IpAddr) -> Option<Record> {
        let record = Record::of(STORE.read(&address.to_string())?)?;
        (record.address == address).then_some(record)
    }

    /// Returns all records, in the order of their addresses.
    pub(crate) fn all() -> Vec<Record> {
        let mut all: Vec<Record> = STORE.all().into_iter().filter_map(Record::of).collect();
        all.sort_unstable_by_key(|record| record.address);
        all
    }

    /// Returns the record of a file. Of one of a later release, owner and address are known,
    /// which is what its rules in iptables are found by.
    fn of(found: Found<Record>) -> Option<Record> {
        let Found { key, owner, data } = found;
        let unknown = |address| Record {
            owner: Owner::default(),
            address,
            zone: None,
            policy: None,
        };
        let record = data.or_else(|| key.parse().ok().map(unknown))?;
        Some(Record { owner, ..record })
    }

    fn write(&self) {
        let key = self.address.to_string();
        if let Err(error) = STORE.write(&key, &self.owner, self) {
            note(&format!("going on without a record: {error}"));
        }
    }
}

/// The exclusive right to change the rules of an address, until it is dropped.
pub(crate) struct Claim {
    /// The address.
    pub(crate) address: IpAddr,
    /// What was recorded when the claim was made.
    pub(crate) before: Option<Record>,
    /// `None` where nothing can be locked, as on a read-only file system.
    _lock: Option<Lock>,
}

impl Claim {
    /// Waits until no other process changes the address's rules. Several addresses
    /// must be claimed in their order. Where nothing can be locked, it logs a warning
    /// and goes on.
    ///
    /// # Errors
    /// If another process has held the address for too long.
    pub(crate) fn make(address: IpAddr) -> anyhow::Result<Claim> {
        let lock = match Lock::take(&format!("firewall-{address}"), LOCK_TIMEOUT) {
            Ok(lock) => Some(lock),
            Err(error) if error.is_locked() => {
                let what = format!("another process is changing the rules of {address}");
                return Err(anyhow::Error::new(error).context(what));
            }
            Err(error) => {
                note(&format!("going on without a lock of {address}: {error}"));
                None
            }
        };
        Ok(Claim {
            address,
            before: Record::read(address),
            _lock: lock,
        })
    }

    /// The same for an address that has a record; `None` without one.
    ///
    /// # Errors
    /// As [`Claim::make`].
    pub(crate) fn of_recorded(address: IpAddr) -> anyhow::Result<Option<Claim>> {
        if Record::read(address).is_none() {
            return Ok(None);
        }
        let claim = Claim::make(address)?;
        Ok(claim.before.is_some().then_some(claim))
    }

    /// Writes the record, before the rules are added.
    pub(crate) fn write(&self, owner: &Owner, zone: Option<&str>, policy: Option<&BridgePolicy>) {
        let record = Record {
            owner: owner.clone(),
            address: self.address,
            zone: zone.map(str::to_owned),
            policy: policy.cloned(),
        };
        record.write();
    }

    /// Restores what was recorded before.
    pub(crate) fn restore(self) {
        match &self.before {
            Some(record) => record.write(),
            None => self.remove(),
        }
    }

    /// Removes the record, after the rules are removed.
    pub(crate) fn remove(self) {
        if let Err(error) = STORE.remove(&self.address.to_string()) {
            note(&format!("cannot remove a record: {error}"));
        }
    }
}

/// Logs a non-fatal warning for the operator.
pub(crate) fn note(text: &str) {
    // Nothing better can be done when standard error is closed.
    let _ = writeln!(io::stderr(), "firewall: {text}");
}
