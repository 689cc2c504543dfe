//! The nftables backend: what both forms of it share.
//!
//! Everything is spoken to the kernel directly; no `nft` is executed or needed.

pub(crate) mod map;
pub(crate) mod rules;

use crate::attachment::Attachment;
use netfilter::Error;
use netfilter::nft::{Batch, Chain, ChainType, Family, Hook, Nft, Rule, RuleInfo, RuleView, Table};
use std::net::IpAddr;

/// The families of tables, the one of IPv4 first.
pub(crate) const FAMILIES: [Family; 2] = [Family::Ip, Family::Ip6];

/// The family of tables for addresses.
pub(crate) fn family(ipv4: bool) -> Family {
    if ipv4 { Family::Ip } else { Family::Ip6 }
}

/// Priorities of the base chains (`NF_IP_PRI_NAT_DST`, `NF_IP_PRI_NAT_SRC`).
const BEFORE_ROUTING: i32 = -100;
const BEHIND_ROUTING: i32 = 100;

/// The chains that the kernel enters by itself.
struct Bases {
    prerouting: Chain<'static>,
    output: Chain<'static>,
    masquerading: Chain<'static>,
}

impl Bases {
    const fn of(table: Table<'static>) -> Bases {
        Bases {
            prerouting: table.base_chain(
                "prerouting",
                ChainType::Nat,
                Hook::Prerouting,
                BEFORE_ROUTING,
            ),
            output: table.base_chain("output", ChainType::Nat, Hook::Output, BEFORE_ROUTING),
            masquerading: table.base_chain(
                "masquerading",
                ChainType::Nat,
                Hook::Postrouting,
                BEHIND_ROUTING,
            ),
        }
    }
}

/// Whether a table exists. A kernel without nf_tables has none.
pub(crate) fn has_table(nft: &Nft, table: &Table<'_>) -> Result<bool, Error> {
    match nft.has_table(table) {
        // How requests, unlike changes, are refused without nf_tables.
        Err(error) if error.is_unsupported() || error.errno() == Some(EINVAL) => Ok(false),
        found => found,
    }
}

/// Whether one of these tables exists.
fn has_any(nft: &Nft, tables: [Table<'_>; 2]) -> Result<bool, Error> {
    for table in &tables {
        if has_table(nft, table)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `EINVAL` (`errno-base.h`).
const EINVAL: i32 = 22;

/// Returns whether a chain holds exactly these rules.
fn rules_are(present: &[RuleInfo], rules: &[Rule<'_>]) -> bool {
    let mut pairs = present.iter().zip(rules);
    present.len() == rules.len() && pairs.all(|(found, rule)| found.same_as(rule))
}

/// Replaces the rules of a chain unless it holds exactly these.
fn write_chain(
    nft: &Nft,
    batch: &mut Batch,
    chain: &Chain<'_>,
    rules: &[Rule<'_>],
) -> Result<(), Error> {
    let present = nft.rules(chain)?;
    if rules_are(&present, rules) {
        return Ok(());
    }
    batch.add_chain(chain);
    if !present.is_empty() {
        batch.flush_chain(chain);
    }
    for rule in rules {
        batch.add_rule(rule);
    }
    Ok(())
}

/// Whether something labelled so belongs to an attachment.
///
/// What bears no note was made by another implementation, whose labels are container
/// IDs alone. It belongs to the attachment if it leads to its addresses, as far as
/// those are known.
fn is_of(rule: &RuleView<'_>, attachment: &Attachment<'_>, addresses: &[IpAddr]) -> bool {
    if rule.comment != Some(attachment.container_id) {
        return false;
    }
    match rule.note {
        Some(note) => note == attachment.note().as_bytes(),
        None => addresses.is_empty() || addresses.iter().any(|address| rule.has_address(*address)),
    }
}
