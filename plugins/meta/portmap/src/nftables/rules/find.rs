//! Finds the rules of attachments.

use super::super::{FAMILIES, has_table, is_of};
use super::objects::Objects;
use crate::attachment::{comment_of, note_of};
use crate::record::{Recorded, RuleHandle, RuleLocation};
use cni_core::Cidr;
use cni_state::Owner;
use netfilter::Error;
use netfilter::nft::{Chain, Family, Nft, RuleInfo, RuleView};
use std::net::IpAddr;

/// A rule of an attachment in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundRule {
    pub(super) chain: Chain<'static>,
    pub(super) handle: u64,
}

impl FoundRule {
    pub(super) fn ipv4(&self) -> bool {
        self.chain.table.family == Family::Ip
    }
}

/// Returns the rules of an attachment: the recorded ones if all of them are there and
/// the attachment's, else those that a search finds.
pub(super) fn find(
    nft: &Nft,
    owner: &Owner,
    addresses: &[IpAddr],
    handles: &[RuleHandle],
) -> Result<Vec<FoundRule>, Error> {
    if !handles.is_empty() {
        let rules = handles.iter().map(|handle| rule_at(nft, owner, handle));
        if let Some(found) = rules.collect::<Result<_, _>>()? {
            return Ok(found);
        }
    }
    scan(nft, &|rule| is_of(rule, owner, addresses))
}

/// Returns the rules that the record of an attachment leads to: those that it names,
/// or after an ADD that did not finish those that lead to its addresses.
pub(super) fn find_recorded(
    nft: &Nft,
    owner: &Owner,
    recorded: &Recorded,
) -> Result<Vec<FoundRule>, Error> {
    match &recorded.location {
        RuleLocation::Rules(handles) => {
            let rules = handles.iter().map(|handle| rule_at(nft, owner, handle));
            Ok(rules
                .collect::<Result<Vec<_>, _>>()?
                .into_iter()
                .flatten()
                .collect())
        }
        RuleLocation::Unknown if !recorded.targets.is_empty() => {
            let addresses: Vec<IpAddr> = recorded.targets.iter().map(Cidr::addr).collect();
            scan(nft, &|rule| is_of(rule, owner, &addresses))
        }
        _ => Ok(Vec::new()),
    }
}

/// Returns the recorded rules without looking at them.
pub(super) fn located(handles: &[RuleHandle]) -> Vec<FoundRule> {
    let found = handles.iter().map(|rule| {
        let chain = chain_of(rule)?;
        let handle = rule.handle;
        Some(FoundRule { chain, handle })
    });
    found.flatten().collect()
}

fn chain_of(rule: &RuleHandle) -> Option<Chain<'static>> {
    let chains = Objects::of(rule.family()).attachment_chains();
    chains.into_iter().find(|chain| chain.name == rule.chain)
}

/// Returns the recorded rule if it is there and the attachment's.
fn rule_at(nft: &Nft, owner: &Owner, rule: &RuleHandle) -> Result<Option<FoundRule>, Error> {
    let Some(chain) = chain_of(rule) else {
        return Ok(None);
    };
    let handle = rule.handle;
    let (comment, note) = (comment_of(owner), note_of(owner));
    // Rules that nft added have no note.
    let is_own = |rule: RuleInfo| {
        rule.comment.as_ref() == Some(&comment)
            && rule.note.is_none_or(|found| found == note.as_bytes())
    };
    let is_there = nft.rule(&chain, handle)?.is_some_and(is_own);
    Ok(is_there.then_some(FoundRule { chain, handle }))
}

/// Returns all rules of attachments that `wanted` selects.
pub(super) fn scan(
    nft: &Nft,
    wanted: &dyn Fn(&RuleView<'_>) -> bool,
) -> Result<Vec<FoundRule>, Error> {
    let mut found = Vec::new();
    for family in FAMILIES {
        let objects = Objects::of(family);
        if !has_table(nft, &objects.table)? {
            continue;
        }
        for chain in objects.attachment_chains() {
            let rules = nft.find_rules(&chain, wanted)?;
            found.extend(rules.iter().map(|rule| FoundRule {
                chain,
                handle: rule.handle,
            }));
        }
    }
    Ok(found)
}
