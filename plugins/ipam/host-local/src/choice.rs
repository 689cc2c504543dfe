//! Order in which the free addresses of a range set are tried.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rand::TryRng as _;

use crate::config::{Config, Strategy};
use crate::range::RangeSet;
use crate::sticky::Sticky;
use crate::store::Store;

/// What the configured strategy and cool-down prefer and withhold.
#[derive(Debug)]
pub(crate) struct Choice {
    strategy: Strategy,
    cool_down: Option<Duration>,
    cooling: BTreeMap<IpAddr, Duration>,
    sticky: Option<Sticky>,
}

impl Choice {
    /// Reads the state that the configuration asks for; by default there is none.
    ///
    /// # Errors
    /// When a file cannot be read, or there is no reservation key for the strategy `sticky`.
    pub(crate) fn for_add(store: &Store, config: &Config) -> anyhow::Result<Choice> {
        let key = config.reservation_key.clone().map_err(anyhow::Error::msg)?;
        Choice::new(store, config, key)
    }

    /// Like [`Choice::for_add`], without a reservation key.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn for_status(store: &Store, config: &Config) -> anyhow::Result<Choice> {
        Choice::new(store, config, None)
    }

    fn new(store: &Store, config: &Config, key: Option<u64>) -> anyhow::Result<Choice> {
        let sticky = key.map(|key| Sticky::read(&config.directory, key));
        let mut choice = Choice {
            strategy: config.strategy,
            cool_down: config.cool_down,
            cooling: BTreeMap::new(),
            sticky: sticky.transpose()?,
        };
        choice.refresh(store)?;
        Ok(choice)
    }

    /// Reads again which addresses cool down.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn refresh(&mut self, store: &Store) -> anyhow::Result<()> {
        if let Some(cool_down) = self.cool_down {
            self.cooling = store.cooling(cool_down)?;
        }
        Ok(())
    }

    /// Returns the address after which the search in a set begins; `last` is the one that
    /// was reserved last.
    pub(crate) fn start(&self, set: &RangeSet, last: Option<IpAddr>) -> Option<IpAddr> {
        match self.strategy {
            Strategy::RoundRobin | Strategy::Sticky => last,
            Strategy::Sequential => None,
            Strategy::Random => set.at(random()),
        }
    }

    /// Returns the address of a set that the reservation key had before.
    pub(crate) fn kept(&self, set: &RangeSet) -> Option<IpAddr> {
        self.sticky.as_ref()?.own(set)
    }

    /// Returns whether an address cools down.
    pub(crate) fn is_cooling(&self, ip: IpAddr) -> bool {
        self.cooling.contains_key(&ip)
    }

    /// Returns whether an address is given out only if there is no other: it cools down or
    /// is kept for another reservation key.
    pub(crate) fn is_withheld(&self, ip: IpAddr) -> bool {
        let of_other = |sticky: &Sticky| sticky.is_of_other(ip);
        self.is_cooling(ip) || self.sticky.as_ref().is_some_and(of_other)
    }

    /// Returns the addresses of a set that are kept for other reservation keys and do not
    /// cool down, in the order in which they are taken if there are no others.
    pub(crate) fn last_resort(&self, set: &RangeSet) -> Vec<IpAddr> {
        let sticky = self.sticky.as_ref();
        let mut ips = sticky.map_or_else(Vec::new, |sticky| sticky.of_others(set));
        ips.retain(|ip| !self.is_cooling(*ip));
        ips
    }

    /// Keeps an address for the reservation key.
    ///
    /// # Errors
    /// When that cannot be written.
    pub(crate) fn keep(&mut self, ip: IpAddr, set: &RangeSet) -> anyhow::Result<()> {
        match &mut self.sticky {
            Some(sticky) => sticky.keep(ip, set),
            None => Ok(()),
        }
    }

    /// Returns the addresses of a set that cool down, and the time left of each.
    pub(crate) fn cooling_in(&self, set: &RangeSet) -> impl Iterator<Item = (IpAddr, Duration)> {
        let cooling = self.cooling.iter().map(|(ip, left)| (*ip, *left));
        cooling.filter(|(ip, _)| set.offers(*ip))
    }
}

/// Returns a random number. The system's generator fails only on kernels without
/// getrandom(2) and without /dev/urandom; the search then begins at the first address.
fn random() -> u128 {
    let mut bytes = [0; 16];
    let filled = rand::rngs::SysRng.try_fill_bytes(&mut bytes);
    filled.map_or(0, |()| u128::from_ne_bytes(bytes))
}
