//! Whether a variant of iptables may have rules, without running its commands. A command
//! would load the table's modules and create the table.

use super::{Family, Table};
use crate::error::Error;
use crate::nft::{self, Nft};

/// Returns whether the legacy variant has a table of this name in the current network
/// namespace (`/proc/net/ip_tables_names`). Who created it is unknown.
#[must_use]
pub fn is_table_in_legacy_use(family: Family, table: Table) -> bool {
    let names = match family {
        Family::V4 => "ip_tables_names",
        Family::V6 => "ip6_tables_names",
    };
    let names = std::fs::read_to_string(format!("/proc/thread-self/net/{names}"));
    names.is_ok_and(|names| names.lines().any(|name| name == table.as_str()))
}

/// Returns whether a chain may exist in either variant in the current network namespace.
/// Of the legacy variant only the table is looked up.
#[must_use]
pub fn may_have_chain(family: Family, table: Table, name: &str) -> bool {
    is_table_in_legacy_use(family, table) || {
        let table = nft_table(family, table);
        in_nf_tables(|nft| Ok(nft.chain(&table.chain(name))?.is_some()))
    }
}

/// Returns whether the nf_tables variant has a table in the current network namespace.
pub(super) fn is_table_in_nf_tables(family: Family, table: Table) -> bool {
    in_nf_tables(|nft| nft.has_table(&nft_table(family, table)))
}

/// Returns the table of nf_tables that holds the rules of the nf_tables variant.
pub(super) fn nft_table(family: Family, table: Table) -> nft::Table<'static> {
    let family = match family {
        Family::V4 => nft::Family::Ip,
        Family::V6 => nft::Family::Ip6,
    };
    nft::Table::new(family, table.as_str())
}

/// A failed lookup counts as found, except in a kernel without nf_tables: the commands
/// then report the error.
fn in_nf_tables(is_there: impl FnOnce(&Nft) -> Result<bool, Error>) -> bool {
    Nft::open()
        .and_then(|nft| is_there(&nft))
        .unwrap_or_else(|error| {
            log::debug!("{error}");
            !error.is_unsupported()
        })
}
