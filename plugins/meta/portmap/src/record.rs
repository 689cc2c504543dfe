//! Record of an attachment: the container's addresses, and where its rules are.
//!
//! It only saves a search. The rules in the kernel name their attachment, and what the
//! record says is compared with them. Without a record, or with that of an ADD which
//! did not finish, all rules are searched.

use cni_core::Cidr;
use cni_state::{Error, Owner, Record, Store};
use netfilter::nft::Family;
use plugin_kit::chain::note;
use serde::{Deserialize, Serialize};

/// A record for each attachment.
pub(crate) const STORE: Store = Store::new("portmap");

/// What is recorded of an attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recorded {
    /// The container's addresses that ports are mapped to.
    pub(crate) targets: Vec<Cidr>,
    /// Where the rules are.
    pub(crate) location: RuleLocation,
}

/// Where an attachment's rules are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum RuleLocation {
    /// In iptables, in these families.
    Iptables { ipv4: bool, ipv6: bool },
    /// In nftables, a rule for each mapping.
    Rules(Vec<RuleHandle>),
    /// In nftables, in maps.
    Map,
    /// Unknown: the ADD did not finish.
    Unknown,
}

impl RuleLocation {
    /// Returns whether both are in the same backend and layout, as far as is known.
    pub(crate) fn is_like(&self, other: &RuleLocation) -> bool {
        let unknown = [self, other].contains(&&RuleLocation::Unknown);
        unknown || std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Returns the rules of nftables, as far as they are known.
    pub(crate) fn rules(&self) -> &[RuleHandle] {
        match self {
            RuleLocation::Rules(handles) => handles,
            _ => &[],
        }
    }
}

/// A rule in one of the tables `cni_hostport`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RuleHandle {
    /// Whether it is in the table of IPv4.
    pub(crate) ipv4: bool,
    /// Its chain.
    pub(crate) chain: String,
    /// Its number in the table.
    pub(crate) handle: u64,
}

impl RuleHandle {
    /// Returns the family of the rule's table.
    pub(crate) fn family(&self) -> Family {
        crate::nftables::family(self.ipv4)
    }
}

/// Returns the record of an attachment.
pub(crate) fn record_of(owner: &Owner) -> Record {
    Record::new(STORE, owner.clone())
}

/// Writes a record. On failure it removes the old one, whose rules are gone.
pub(crate) fn write(record: &Record, recorded: &Recorded) {
    if let Err(error) = record.write(recorded) {
        warn(&error);
        remove(record);
    }
}

/// Removes a record.
pub(crate) fn remove(record: &Record) {
    if let Err(error) = record.remove() {
        warn(&error);
    }
}

fn warn(error: &Error) {
    note(&format!("portmap: going on without a record: {error}"));
}
