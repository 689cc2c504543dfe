//! Whether a variant of iptables has a table or chain, without running its commands.

use super::{Family, Iptables, Table};
use crate::error::Error;
use crate::nft::{self, Nft};

impl Iptables {
    /// Whether anybody has used a table of iptables of this family in the
    /// present network namespace. Runs no command, and does not bring the table
    /// about as each command would: where it says no, there is nothing to be
    /// deleted.
    #[must_use]
    pub fn is_table_in_use(family: Family, table: Table) -> bool {
        is_table_in_legacy_use(family, table)
            || in_nf_tables(|nft| nft.has_table(&nft_table(family, table)))
    }

    /// Whether a chain may exist in the present network namespace. Runs no command:
    /// of the nf_tables variant it is known, of the legacy variant only whether
    /// its table is used at all.
    #[must_use]
    pub fn may_have_chain(family: Family, table: Table, name: &str) -> bool {
        is_table_in_legacy_use(family, table) || Iptables::has_nft_chain(family, table, name)
    }

    /// Whether a chain exists in the present network namespace in the tables of
    /// the nf_tables variant. Runs no command.
    #[must_use]
    pub fn has_nft_chain(family: Family, table: Table, name: &str) -> bool {
        let table = nft_table(family, table);
        in_nf_tables(|nft| Ok(nft.chain(&table.chain(name))?.is_some()))
    }
}

pub(super) fn is_table_in_legacy_use(family: Family, table: Table) -> bool {
    let names = match family {
        Family::V4 => "ip_tables_names",
        Family::V6 => "ip6_tables_names",
    };
    let names = std::fs::read_to_string(format!("/proc/thread-self/net/{names}"));
    names.is_ok_and(|names| names.lines().any(|name| name == table.as_str()))
}

/// The table of nf_tables that the variant of this name keeps its rules in.
pub(super) fn nft_table(family: Family, table: Table) -> nft::Table<'static> {
    let family = match family {
        Family::V4 => nft::Family::Ip,
        Family::V6 => nft::Family::Ip6,
    };
    nft::Table::new(family, table.as_str())
}

fn in_nf_tables(is_there: impl FnOnce(&Nft) -> Result<bool, Error>) -> bool {
    Nft::open()
        .and_then(|nft| is_there(&nft))
        .unwrap_or_else(|error| {
            // Without nf_tables there is only the legacy variant, which is asked
            // for itself; whatever else it is, the commands will tell.
            log::debug!("{error}");
            !error.is_unsupported()
        })
}
