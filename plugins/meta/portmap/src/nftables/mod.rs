//! The nftables backend, over netlink: what rules and maps share.

pub(crate) mod map;
pub(crate) mod rules;

use crate::attachment::{comment_of, network_note, note_of};
use cni_state::Owner;
use netfilter::Error;
use netfilter::nft::{Batch, Chain, ChainType, Family, Hook, Nft, Rule, RuleInfo, RuleView, Table};
use std::net::IpAddr;

/// The families of tables, the one of IPv4 first.
pub(crate) const FAMILIES: [Family; 2] = [Family::Ip, Family::Ip6];

/// Returns the table family of addresses.
pub(crate) fn family(ipv4: bool) -> Family {
    if ipv4 { Family::Ip } else { Family::Ip6 }
}

/// Priorities of the base chains (`NF_IP_PRI_NAT_DST`, `NF_IP_PRI_NAT_SRC`).
const PRIORITY_DNAT: i32 = -100;
const PRIORITY_SNAT: i32 = 100;

/// The base chains of a table.
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
                PRIORITY_DNAT,
            ),
            output: table.base_chain("output", ChainType::Nat, Hook::Output, PRIORITY_DNAT),
            masquerading: table.base_chain(
                "masquerading",
                ChainType::Nat,
                Hook::Postrouting,
                PRIORITY_SNAT,
            ),
        }
    }
}

/// Returns whether a table exists. A kernel without nf_tables has none.
pub(crate) fn has_table(nft: &Nft, table: &Table<'_>) -> Result<bool, Error> {
    match nft.has_table(table) {
        // The error of requests, unlike that of changes, without nf_tables.
        Err(error) if error.is_unsupported() || error.errno() == Some(EINVAL) => Ok(false),
        found => found,
    }
}

/// Returns whether one of these tables exists.
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

/// Returns whether a rule belongs to an attachment.
///
/// A rule without a note was added by another implementation or by `nft`; its comment
/// is the container ID alone. It belongs to the attachment if it leads to one of its
/// addresses, as far as these are known.
fn is_of(rule: &RuleView<'_>, owner: &Owner, addresses: &[IpAddr]) -> bool {
    if rule.comment != Some(comment_of(owner).as_str()) {
        return false;
    }
    match rule.note {
        Some(note) => note == note_of(owner).as_bytes(),
        None => addresses.is_empty() || addresses.iter().any(|a| rule.has_address(*a)),
    }
}

/// Returns a test of comment and note: whether they are those of an attachment of the
/// network that is not valid.
fn stale_labels(network: &str, valid: &[Owner]) -> impl Fn(Option<&str>, Option<&[u8]>) -> bool {
    let network = network_note(network);
    let label = |owner: &Owner| (comment_of(owner), note_of(owner));
    let valid: Vec<(String, String)> = valid.iter().map(label).collect();
    move |comment, note| {
        let is_of = |(valid_comment, valid_note): &(String, String)| {
            comment == Some(valid_comment.as_str()) && note == Some(valid_note.as_bytes())
        };
        note.is_some_and(|note| note.starts_with(network.as_bytes())) && !valid.iter().any(is_of)
    }
}
