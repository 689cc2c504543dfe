//! Which of iptables and nftables a host is to be served with.

use crate::error::Error;
use crate::iptables::{Family, Iptables, Table};
use crate::nft::Nft;

/// A way to write packet filters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backend {
    /// The commands of iptables.
    Iptables,
    /// nf_tables, natively.
    Nftables,
}

impl Backend {
    /// The name that configurations have for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Backend::Iptables => "iptables",
            Backend::Nftables => "nftables",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Backend> {
        [Backend::Iptables, Backend::Nftables]
            .into_iter()
            .find(|backend| backend.as_str() == name)
    }

    /// What a host is served with whose configuration names none: nftables if
    /// iptables is unusable **and** nftables is usable, iptables otherwise.
    ///
    /// Asking iptables takes a process. Where iptables is going to be used at
    /// once, it costs less to try, and to come here when it failed.
    #[must_use]
    pub fn choose() -> Backend {
        let Err(error) = iptables_usable() else {
            return Backend::Iptables;
        };
        log::debug!("iptables is unusable: {error}");
        match nftables_usable() {
            Ok(()) => Backend::Nftables,
            Err(error) => {
                log::debug!("nftables is unusable: {error}");
                Backend::Iptables
            }
        }
    }

    /// Whether it can be used here.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn usable(self) -> Result<(), Error> {
        match self {
            Backend::Iptables => iptables_usable(),
            Backend::Nftables => nftables_usable(),
        }
    }
}

/// Whether the command `iptables` is installed and lists a chain. Runs one
/// process, or none if it is not installed.
///
/// # Errors
/// Why it is not usable.
pub fn iptables_usable() -> Result<(), Error> {
    Iptables::find(Family::V4)?.probe(Table::Filter, "INPUT")
}

/// Whether the kernel lets us create a table of nf_tables. Needs no `nft`, and
/// creates nothing.
///
/// # Errors
/// Why it is not usable.
pub fn nftables_usable() -> Result<(), Error> {
    Nft::open()?.probe()
}
