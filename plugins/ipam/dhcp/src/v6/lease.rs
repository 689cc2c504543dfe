//! DHCPv6 leases and their times (RFC 8415, sections 14.2, 18.2.10.1 and 21.4).

use std::net::Ipv6Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::message::{IaAddress, IaNa, Message};
use crate::time::Time;

/// T1 and T2 as parts of the shortest preferred lifetime where the server leaves them to the client.
const T1_PART: f64 = 0.5;
const T2_PART: f64 = 0.8;

/// The shortest time between two renewals, whatever the server says.
const SHORTEST: Duration = Duration::from_secs(1);

/// An address of a lease. `None` as a time is infinity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) address: Ipv6Addr,
    /// Until when it may be used for new connections.
    pub(crate) preferred_until: Option<Time>,
    /// Until when it may be used at all.
    pub(crate) valid_until: Option<Time>,
}

/// The addresses that a server has assigned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    /// The server's DUID.
    pub(crate) server: Vec<u8>,
    pub(crate) addresses: Vec<Address>,
    /// T1: when the client asks this server for an extension.
    pub(crate) renew_at: Option<Time>,
    /// T2: when it asks any server.
    pub(crate) rebind_at: Option<Time>,
    pub(crate) dns: Vec<Ipv6Addr>,
    pub(crate) search: Vec<String>,
}

impl Lease {
    /// The lease that a Reply received at `now` grants to the association `iaid`; `None` if it has no valid address.
    pub(crate) fn granted(reply: &Message, iaid: u32, now: Time) -> Option<Lease> {
        let association = reply.association(iaid)?;
        let usable: Vec<&IaAddress> = association.addresses.iter().filter(usable).collect();
        let addresses: Vec<Address> = usable.iter().map(|address| until(address, now)).collect();
        if addresses.is_empty() {
            return None;
        }
        let shortest = usable.iter().map(|address| address.preferred).min();
        let (t1, t2) = times(association, shortest.unwrap_or(0));
        Some(Lease {
            server: reply.server.clone(),
            addresses,
            renew_at: t1.map(|t1| now + t1),
            rebind_at: t2.map(|t2| now + t2),
            dns: reply.dns.clone(),
            search: reply.search.clone(),
        })
    }

    /// When the last address becomes invalid; `None` if never.
    pub(crate) fn end(&self) -> Option<Time> {
        let ends = self.addresses.iter().map(|address| address.valid_until);
        ends.max_by_key(|end| (end.is_none(), *end)).flatten()
    }

    /// Keeps those addresses of `before` that `self` does not mention: they remain valid for the time that they had
    /// (RFC 8415, 18.2.10.1). `dropped` are those that the server has withdrawn.
    pub(crate) fn keep(&mut self, before: &Lease, dropped: &[Ipv6Addr], now: Time) {
        for old in &before.addresses {
            let is_new = self.addresses.iter().any(|new| new.address == old.address);
            let is_valid = old.valid_until.is_none_or(|end| end > now);
            if !is_new && is_valid && !dropped.contains(&old.address) {
                self.addresses.push(old.clone());
            }
        }
    }
}

/// Addresses of a Reply that the server withdraws with a lifetime of 0.
pub(crate) fn withdrawn(association: &IaNa) -> Vec<Ipv6Addr> {
    let gone = association
        .addresses
        .iter()
        .filter(|address| address.valid == 0);
    gone.map(|address| address.address).collect()
}

/// Whether a client may use the address: not withdrawn, not refused, with consistent lifetimes (RFC 8415, 21.6), and
/// one that an interface can have.
fn usable(address: &&IaAddress) -> bool {
    let ip = address.address;
    address.valid > 0
        && address.preferred <= address.valid
        && address
            .status
            .as_ref()
            .is_none_or(|status| status.code == 0)
        && !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast())
        && !ip.is_unicast_link_local()
}

fn until(address: &IaAddress, now: Time) -> Address {
    Address {
        address: address.address,
        preferred_until: seconds(address.preferred).map(|time| now + time),
        valid_until: seconds(address.valid).map(|time| now + time),
    }
}

/// T1 and T2 of an association whose shortest preferred lifetime is `preferred`.
fn times(association: &IaNa, preferred: u32) -> (Option<Duration>, Option<Duration>) {
    let choose = |given: u32, part: f64| match given {
        0 => seconds(preferred).map(|time| time.mul_f64(part)),
        given => seconds(given),
    };
    // T1 after T2 makes the whole association invalid by RFC 8415, 21.4; a usable address is worth more than that.
    let is_consistent = association.t1 <= association.t2 || association.t2 == 0;
    let t1 = choose(if is_consistent { association.t1 } else { 0 }, T1_PART);
    let t2 = choose(if is_consistent { association.t2 } else { 0 }, T2_PART);
    let t1 = t1.map(|t1| t1.max(SHORTEST));
    (t1, t2.map(|t2| t2.max(t1.unwrap_or(SHORTEST))))
}

/// A lifetime in seconds; `None` for infinity.
pub(crate) fn seconds(lifetime: u32) -> Option<Duration> {
    (lifetime != u32::MAX).then(|| Duration::from_secs(lifetime.into()))
}
