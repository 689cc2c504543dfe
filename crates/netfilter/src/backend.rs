//! The backends iptables and nftables, and the choice between them.

use crate::error::Error;
use crate::iptables::{Family, Iptables, Table};
use crate::nft::{self, Nft};

/// A backend for packet filters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backend {
    /// iptables, through its commands.
    Iptables,
    /// nftables, through netlink.
    Nftables,
}

impl Backend {
    /// Returns the name in configurations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Backend::Iptables => "iptables",
            Backend::Nftables => "nftables",
        }
    }

    /// Returns the backend with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Backend> {
        [Backend::Iptables, Backend::Nftables]
            .into_iter()
            .find(|backend| backend.as_str() == name)
    }

    /// Returns the backend of a host if the configuration names none: nftables if iptables
    /// is unusable **and** nftables is usable, iptables otherwise.
    ///
    /// Probing iptables takes a process. Where iptables is used at once, it is cheaper to
    /// try, and to call this if it failed.
    #[must_use]
    pub fn choose() -> Backend {
        let Err(error) = Backend::Iptables.probe(false) else {
            return Backend::Iptables;
        };
        log::debug!("iptables is unusable: {error}");
        match Backend::Nftables.probe(false) {
            Ok(()) => Backend::Nftables,
            Err(error) => {
                log::debug!("nftables is unusable: {error}");
                Backend::Iptables
            }
        }
    }

    /// Checks whether the backend is usable for IPv4, and also for IPv6 if the network
    /// needs it. Nothing is changed.
    ///
    /// For iptables that is one process per family, or none if it is not installed.
    /// nftables needs no `nft`.
    ///
    /// # Errors
    /// Why it is not usable.
    pub fn probe(self, needs_ipv6: bool) -> Result<(), Error> {
        match self {
            Backend::Iptables => {
                let families = &Family::ALL[..if needs_ipv6 { 2 } else { 1 }];
                families
                    .iter()
                    .try_for_each(|family| Iptables::find(*family)?.probe(Table::Filter, "INPUT"))
            }
            Backend::Nftables => {
                let nft = Nft::open()?;
                nft.probe(nft::Family::Ip)?;
                match needs_ipv6 {
                    true => nft.probe(nft::Family::Ip6),
                    false => Ok(()),
                }
            }
        }
    }
}
