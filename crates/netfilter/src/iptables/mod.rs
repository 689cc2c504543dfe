//! iptables, with as few processes as possible.
//!
//! A [`Change`] of a table is applied by one `iptables-restore --noflush`, after one
//! `iptables-save` where the current rules matter; in the nf_tables variant mostly without
//! a process. [`delete`], [`delete_where`] and
//! [`read_all`] find rules in both variants, legacy and nf_tables, whichever `$PATH` has as
//! `iptables`; rules of the nf_tables variant are mostly deleted over netlink, without a
//! process. `CNI_IPTABLES=commands` in the environment leaves all changes to the commands.
//!
//! Version 1.6.2 or later is needed.

mod change;
mod command;
mod delete;
mod encode;
mod native;
mod plan;
mod presence;
mod rule;
mod saved;
mod usual;
mod words;

#[cfg(test)]
mod tests;

pub use change::Change;
pub use command::Iptables;
pub use delete::{delete, delete_where, read_all};
pub use presence::{is_table_in_legacy_use, may_have_chain};
pub use rule::{COMMENT_MAX, Rule};
pub use saved::{Saved, SavedRule};

/// The address family: `iptables` or `ip6tables`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4, `iptables`.
    V4,
    /// IPv6, `ip6tables`.
    V6,
}

impl Family {
    /// Both families, IPv4 first.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    /// Returns the family of an address.
    #[must_use]
    pub fn of(address: std::net::IpAddr) -> Family {
        match address {
            std::net::IpAddr::V4(_) => Family::V4,
            std::net::IpAddr::V6(_) => Family::V6,
        }
    }

    /// Returns the name of the command.
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
    /// `filter`: accepts and drops packets.
    Filter,
    /// `nat`: translates addresses.
    Nat,
}

impl Table {
    /// Returns the table's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Table::Filter => "filter",
            Table::Nat => "nat",
        }
    }
}

/// The environment variable that leaves all changes to the commands if its value is
/// `commands`.
const VARIABLE: &str = "CNI_IPTABLES";

/// Whether rules of the nf_tables variant may be added and deleted without its commands.
fn may_use_netlink() -> bool {
    std::env::var_os(VARIABLE).is_none_or(|value| value != "commands")
}

/// The two implementations of iptables, whose rules do not see each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Variant {
    /// Rules in the kernel's xtables (`iptables-legacy`).
    Legacy,
    /// Rules in nf_tables (`iptables-nft`).
    NfTables,
}

impl Variant {
    /// Returns the suffix of the variant's own commands: `iptables-legacy`.
    const fn suffix(self) -> &'static str {
        match self {
            Variant::Legacy => "legacy",
            Variant::NfTables => "nft",
        }
    }
}
