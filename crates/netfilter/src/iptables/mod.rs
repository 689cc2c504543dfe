//! iptables, by as few processes as possible: what is to be changed in a table
//! is one [`Change`], carried out by one `iptables-restore --noflush`, after one
//! `iptables-save` where it matters what there is already.
//!
//! Both variants, legacy and nf_tables, are served: whatever `iptables` is in
//! `$PATH`, with the `iptables-save` and `iptables-restore` beside it. Version
//! 1.6.2 or later.

mod change;
mod command;
mod native;
mod plan;
mod presence;
mod rule;
mod saved;
mod words;

#[cfg(test)]
mod tests;

pub use change::Change;
pub use command::Iptables;
pub use rule::Rule;
pub use saved::{Saved, SavedRule};

/// Which of the two commands: `iptables` or `ip6tables`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4, `iptables`.
    V4,
    /// IPv6, `ip6tables`.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub fn of(address: std::net::IpAddr) -> Family {
        match address {
            std::net::IpAddr::V4(_) => Family::V4,
            std::net::IpAddr::V6(_) => Family::V6,
        }
    }

    /// The name of the command.
    #[must_use]
    pub const fn command(self) -> &'static str {
        match self {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        }
    }
}

/// A table of iptables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Table {
    /// Lets through and drops.
    Filter,
    /// Translates addresses.
    Nat,
}

impl Table {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Table::Filter => "filter",
            Table::Nat => "nat",
        }
    }
}
