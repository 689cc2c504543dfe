//! Record of where an attachment's rules are, from ADD to DEL.
//!
//! Only for speed: the kernel's rules bear the names of their attachments, and what
//! the record says is verified against them. Without a record, with one whose ADD did
//! not end, and where it is wrong, all rules are looked through.

use crate::attachment::Attachment;
use cni_state::{Error, Owner, Store};
use netfilter::nft::Family;
use serde::{Deserialize, Serialize};

const STORE: Store = Store::new("portmap");

/// Where an attachment's rules are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Whereabouts {
    /// In iptables; whether of IPv4 and of IPv6.
    Iptables { ipv4: bool, ipv6: bool },
    /// In nftables, a rule each.
    Rules(Vec<Place>),
    /// In nftables, in maps.
    Map,
    /// Not known: the ADD did not come to its end.
    Unknown,
}

impl Whereabouts {
    /// Returns whether both are in the same backend and form. An unknown one is like
    /// any.
    pub(crate) fn is_like(&self, other: &Whereabouts) -> bool {
        let unknown = [self, other].contains(&&Whereabouts::Unknown);
        unknown || std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// A rule of the table of portmap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    #[serde(with = "family")]
    pub(crate) family: Family,
    pub(crate) chain: String,
    pub(crate) handle: u64,
}

/// A family as its name in nftables.
mod family {
    use netfilter::nft::Family;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(family: &Family, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(family.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Family, D::Error> {
        let name = String::deserialize(from)?;
        let mut families = [Family::Ip, Family::Ip6].into_iter();
        let known = families.find(|family| family.as_str() == name);
        known.ok_or_else(|| D::Error::custom("unknown family"))
    }
}

/// The record of an attachment.
#[derive(Debug)]
pub(crate) struct Record(cni_state::Record);

impl Record {
    pub(crate) fn of(attachment: &Attachment<'_>) -> Record {
        let owner = Owner::new(
            attachment.network,
            attachment.container_id,
            attachment.if_name,
        );
        Record(cni_state::Record::new(STORE, owner))
    }

    /// Returns whether the container has another attachment to the network.
    pub(crate) fn has_sibling(&self) -> bool {
        self.0.has_sibling()
    }

    /// Returns what it says, `None` if there is none.
    pub(crate) fn read(&self) -> Option<Whereabouts> {
        self.0.read()
    }

    /// Records that an ADD has begun, unless an earlier one is recorded; returns
    /// whether it did.
    pub(crate) fn begin(&self) -> bool {
        self.read().is_none() && complained(self.0.write(&Whereabouts::Unknown)).is_some()
    }

    /// Keeps where the rules are.
    pub(crate) fn write(&self, whereabouts: &Whereabouts) {
        // An old one would be worse than none.
        if complained(self.0.write(whereabouts)).is_none() {
            self.remove();
        }
    }

    /// Removes it.
    pub(crate) fn remove(&self) {
        complained(self.0.remove());
    }
}

/// A host that cannot keep records is no reason to fail.
fn complained(done: Result<(), Error>) -> Option<()> {
    done.inspect_err(|error| log::warn!("{error}")).ok()
}

/// Returns the attachments of a network that have a record: container ID, interface.
pub(crate) fn remembered(network: &str) -> Vec<(String, String)> {
    let owners = STORE.owners(network).into_iter();
    owners
        .map(|owner| (owner.container_id, owner.if_name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let place = |family, chain: &str, handle| Place {
            family,
            chain: chain.to_owned(),
            handle,
        };
        let places = vec![
            place(Family::Ip, "hostports", 12),
            place(Family::Ip6, "masquerading", 4_000_000_000_000),
        ];
        for whereabouts in [
            Whereabouts::Rules(places),
            Whereabouts::Rules(Vec::new()),
            Whereabouts::Map,
            Whereabouts::Unknown,
            Whereabouts::Iptables {
                ipv4: true,
                ipv6: false,
            },
        ] {
            let text = serde_json::to_string(&whereabouts).unwrap();
            let read: Whereabouts = serde_json::from_str(&text).unwrap();
            assert_eq!(read, whereabouts);
        }
        assert!(serde_json::from_str::<Place>(r#"{"family": "arp"}"#).is_err());
    }
}
