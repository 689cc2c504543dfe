//! Addresses formed from prefixes of router advertisements (RFC 4862, section 5.5).
//!
//! The kernel forms them too. An interface plugin that is to add an address that is there already fails, so the
//! kernel's autoconfiguration is off during ADD. Afterwards it goes on again: with an advertisement the kernel finds the
//! address that the interface plugin has added, and from then on keeps its lifetimes (`addrconf_prefix_rcv_add_addr`).

use std::net::Ipv6Addr;
use std::time::Duration;

use cni_core::Cidr;
use serde::{Deserialize, Serialize};

use super::router::Advertisement;
use crate::time::Time;

/// After how long the interface plugin must have added the addresses.
const HAND_OVER: Duration = Duration::from_secs(10);

/// Length of the prefixes.
const PREFIX_LENGTH: u8 = 64;

/// What router advertisements have yielded.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Slaac {
    pub(crate) addresses: Vec<Ipv6Addr>,
    pub(crate) dns: Vec<Ipv6Addr>,
    pub(crate) search: Vec<String>,
    /// When the kernel's autoconfiguration is to be switched on again.
    hand_over_at: Option<Time>,
}

impl Slaac {
    /// Takes over what an advertisement says.
    pub(crate) fn learn(&mut self, advertisement: Advertisement, link_local: Option<Ipv6Addr>) {
        if let Some(link_local) = link_local {
            let all = advertisement.prefixes.iter();
            self.addresses = all.map(|prefix| prefix.address_of(link_local)).collect();
            self.addresses.sort_unstable();
            self.addresses.dedup();
        }
        self.dns = advertisement.dns;
        self.search = advertisement.search;
    }

    /// The addresses with their prefix length.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Cidr> {
        let all = self.addresses.iter();
        all.filter_map(|address| Cidr::new((*address).into(), PREFIX_LENGTH))
    }

    /// Begins to wait until the kernel can go on.
    pub(crate) fn hand_over_from(&mut self, now: Time) {
        self.hand_over_at = Some(now + HAND_OVER);
    }

    pub(crate) fn wake(&self) -> Option<Time> {
        self.hand_over_at
    }

    /// Whether the kernel's autoconfiguration is to be switched on now.
    pub(crate) fn is_handed_over(&mut self, now: Time) -> bool {
        self.hand_over_at.take_if(|time| *time <= now).is_some()
    }

    /// Whether the kernel's autoconfiguration is still off, although nothing more is to come.
    pub(crate) fn is_handed_over_at_last(&mut self) -> bool {
        self.hand_over_at.take().is_some()
    }
}
