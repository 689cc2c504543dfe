//! Owner record of an address's firewall rules.
//!
//! Rules in upstream's form do not say whose they are: they name an address and
//! nothing else. So each address that iptables or firewalld lets through has a record,
//! by which GC and a DEL without prevResult find the rules, and by which a late DEL
//! leaves those alone that the address's next container has.
//!
//! A missing record costs no more than that: upstream keeps none.

use cni_state::{Error, Lock, Owner, Store};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

/// A record for each address.
const STORE: Store = Store::new("firewall");

/// How long another attachment of the address may be at work; longer than the lock
/// of iptables is waited for.
const PATIENCE: Duration = Duration::from_secs(90);

/// What is known of an address's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The attachment that the rules belong to.
    pub(crate) owner: Owner,
    /// The zone of firewalld that the address is in; `None` with iptables.
    pub(crate) zone: Option<String>,
    /// The bridge of its policy, and the policy's name.
    pub(crate) bridge: Option<(String, String)>,
}

/// What is written besides the owner.
#[derive(Serialize, Deserialize)]
struct Data {
    address: IpAddr,
    zone: Option<String>,
    bridge: Option<(String, String)>,
}

impl Record {
    fn new((owner, data): (Owner, Data)) -> (IpAddr, Record) {
        let record = Record {
            owner,
            zone: data.zone,
            bridge: data.bridge,
        };
        (data.address, record)
    }

    /// Returns the record of an address; `None` when there is none that can be read.
    pub(crate) fn read(address: IpAddr) -> Option<Record> {
        let (of, record) = Record::new(STORE.read(&address.to_string())?);
        (of == address).then_some(record)
    }

    /// Returns every record there is.
    pub(crate) fn all() -> Vec<(IpAddr, Record)> {
        let mut all: Vec<_> = STORE.all().into_iter().map(Record::new).collect();
        all.sort_unstable_by_key(|(address, _)| *address);
        all
    }
}

/// The sole right to change the rules of an address, until it is dropped.
pub(crate) struct Claim {
    /// The address.
    pub(crate) address: IpAddr,
    /// What its record said when the claim was made.
    pub(crate) before: Option<Record>,
    /// `None` where there can be no lock.
    _lock: Option<Lock>,
}

impl Claim {
    /// Waits until nobody else changes the address's rules. Several addresses must be
    /// claimed in their order. Where no records can be kept (a file system that is
    /// read-only), it is noted on standard error, and nothing is locked.
    ///
    /// # Errors
    /// When another process has had the address for too long.
    pub(crate) fn make(address: IpAddr) -> anyhow::Result<Claim> {
        let lock = match Lock::take(&format!("firewall-{address}"), PATIENCE) {
            Ok(lock) => Some(lock),
            Err(error) if error.is_locked() => {
                let text = format!("the rules of {address} are being changed by another process");
                return Err(anyhow::Error::new(error).context(text));
            }
            Err(error) => {
                note(&format!(
                    "no record of {address}, going on without: {error}"
                ));
                None
            }
        };
        Ok(Claim {
            address,
            before: Record::read(address),
            _lock: lock,
        })
    }

    /// The same for an address that has a record already; `None` for one without.
    ///
    /// # Errors
    /// As [`Claim::make`].
    pub(crate) fn of_existing(address: IpAddr) -> anyhow::Result<Option<Claim>> {
        if Record::read(address).is_none() {
            return Ok(None);
        }
        let claim = Claim::make(address)?;
        Ok(claim.before.is_some().then_some(claim))
    }

    /// Writes the record, before the rules are made.
    pub(crate) fn write(&self, record: &Record) {
        let data = Data {
            address: self.address,
            zone: record.zone.clone(),
            bridge: record.bridge.clone(),
        };
        complain(STORE.write(&self.address.to_string(), &record.owner, &data));
    }

    /// Restores what the record said before.
    pub(crate) fn restore(self) {
        match &self.before {
            Some(record) => self.write(record),
            None => self.remove(),
        }
    }

    /// Removes the record, after the rules are gone.
    pub(crate) fn remove(self) {
        complain(STORE.remove(&self.address.to_string()));
    }
}

fn complain(done: Result<(), Error>) {
    if let Err(error) = done {
        note(&error.to_string());
    }
}

/// Logs a non-fatal warning.
pub(crate) fn note(text: &str) {
    // Nothing better can be done when standard error is closed.
    let _ = writeln!(io::stderr(), "firewall: {text}");
}
