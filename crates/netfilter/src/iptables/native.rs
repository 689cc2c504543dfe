//! Deletes rules of the nf_tables variant over netlink, without its commands: chains, the
//! rules that jump to them, and rules that accept the packets of one address.

use std::net::IpAddr;

use super::change::{Change, Op};
use super::presence::nft_table;
use super::{Family, Rule, may_use_netlink};
use crate::error::Error;
use crate::nft::{self, Batch, Nft, RuleView};

/// What became of a deletion.
pub(super) enum Outcome {
    /// Nothing of it is left; whether anything was there.
    Deleted(bool),
    /// Nothing was changed: only the commands can tell which rules are meant.
    NeedsCommands,
}

/// Deletes what a change names, as far as it is in nf_tables.
///
/// # Errors
/// The kernel's refusal.
pub(super) fn delete(family: Family, change: &Change) -> Result<Outcome, Error> {
    let table = nft_table(family, change.table);
    let deleted = Nft::open().and_then(|nft| {
        if !has_any_chain(&nft, &table, change)? {
            return Ok(Outcome::Deleted(false));
        }
        match DeletePlan::of(change).filter(|_| may_use_netlink()) {
            Some(plan) => plan.apply(&nft, &table),
            None => Ok(Outcome::NeedsCommands),
        }
    });
    match deleted {
        // A rule that was not found jumps to a chain.
        Err(error) if error.is_busy() => Ok(Outcome::NeedsCommands),
        Err(error) if error.is_unsupported() => {
            log::debug!("no nf_tables: {error}");
            Ok(Outcome::Deleted(false))
        }
        outcome => outcome,
    }
}

/// Returns whether any of the chains exists that the change concerns, apart from the
/// built-in chains: all programs use those.
fn has_any_chain(nft: &Nft, table: &nft::Table<'_>, change: &Change) -> Result<bool, Error> {
    let mut names: Vec<&str> = Vec::new();
    for op in &change.ops {
        let target = match op {
            Op::DeleteJumps(_, target) => target,
            _ => op.chain(),
        };
        if !names.contains(&target) {
            names.push(target);
        }
    }
    for name in names {
        let found = nft.chain(&table.chain(name))?;
        if found.is_some_and(|chain| chain.base.is_none()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What to delete.
#[derive(Default)]
struct DeletePlan<'c> {
    chains: Vec<ChainDeletion<'c>>,
    rules: Vec<AcceptRule<'c>>,
    /// Chains that are not expected to exist.
    unexpected: Vec<&'c str>,
}

/// A chain to be deleted.
struct ChainDeletion<'c> {
    name: &'c str,
    /// The chains with rules that jump to it.
    from: Vec<&'c str>,
    /// Delete it with all rules that jump to it. Otherwise only if all of those are for
    /// `addresses`.
    always: bool,
    addresses: Vec<IpAddr>,
}

/// A rule to be deleted that accepts the packets of one address.
struct AcceptRule<'c> {
    chain: &'c str,
    address: IpAddr,
    /// It matches the source address; otherwise the destination address of replies.
    is_source: bool,
}

impl<'c> DeletePlan<'c> {
    /// Returns the plan of a change, `None` if it has other operations than can be carried
    /// out here.
    fn of(change: &'c Change) -> Option<DeletePlan<'c>> {
        let mut plan = DeletePlan::default();
        for op in &change.ops {
            match op {
                Op::DeleteChain(name) | Op::DeleteUnusedChain(name) => {
                    plan.chains.push(ChainDeletion {
                        name,
                        from: Vec::new(),
                        always: matches!(op, Op::DeleteChain(_)),
                        addresses: Vec::new(),
                    });
                }
                Op::DeleteOldChain(name) => plan.unexpected.push(name),
                _ => {}
            }
        }
        for op in &change.ops {
            let (from, target, rule) = match op {
                Op::DeleteChain(_) | Op::DeleteUnusedChain(_) | Op::DeleteOldChain(_) => continue,
                Op::DeleteJumps(from, target) => (from, target.as_str(), None),
                Op::Delete(from, rule) | Op::DeleteLeftover(from, rule) => {
                    (from, rule.target_name()?, Some(rule))
                }
                _ => return None,
            };
            let mut chains = plan.chains.iter_mut();
            match (chains.find(|chain| chain.name == target), rule) {
                (Some(chain), rule) => {
                    if !chain.from.contains(&from.as_str()) {
                        chain.from.push(from);
                    }
                    let source = rule.and_then(Rule::source_network);
                    chain.addresses.extend(source.and_then(single_address));
                }
                (None, Some(rule)) => plan.rules.push(AcceptRule::of(from, rule)?),
                (None, None) => return None,
            }
        }
        // Where to look for the rules that jump to a chain must be known.
        let has_origin = |chain: &ChainDeletion<'_>| !chain.from.is_empty();
        plan.chains.iter().all(has_origin).then_some(plan)
    }

    fn apply(&self, nft: &Nft, table: &nft::Table<'_>) -> Result<Outcome, Error> {
        let mut is_understood = true;
        let mut is_found = false;
        nft.transaction(|nft| {
            let mut batch = Batch::new();
            is_understood = self.add_to(&mut batch, nft, table)?;
            if !is_understood {
                batch = Batch::new();
            }
            is_found = !batch.is_empty();
            Ok(batch)
        })?;
        Ok(match is_understood {
            true => Outcome::Deleted(is_found),
            false => Outcome::NeedsCommands,
        })
    }

    /// Adds the deletions to a batch. Returns `false` if the commands are needed.
    fn add_to(&self, batch: &mut Batch, nft: &Nft, table: &nft::Table<'_>) -> Result<bool, Error> {
        for name in &self.unexpected {
            if nft.chain(&table.chain(name))?.is_some() {
                return Ok(false);
            }
        }
        for chain in &self.chains {
            if nft.chain(&table.chain(chain.name))?.is_some() && !chain.add_to(batch, nft, table)? {
                return Ok(false);
            }
        }
        let mut names: Vec<&str> = self.rules.iter().map(|rule| rule.chain).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let chain = table.chain(name);
            if nft.chain(&chain)?.is_none() {
                continue;
            }
            let here = || self.rules.iter().filter(|rule| rule.chain == name);
            let wanted: Vec<nft::Rule<'_>> = here().map(|rule| rule.in_nft(&chain)).collect();
            let has_address =
                |rule: &RuleView<'_>| here().any(|accept| rule.has_address(accept.address));
            for rule in nft.find_rules(&chain, has_address)? {
                if !wanted.iter().any(|wanted| rule.same_as(wanted)) {
                    return Ok(false);
                }
                batch.delete_rule(&chain, rule.handle);
            }
        }
        Ok(true)
    }
}

impl ChainDeletion<'_> {
    /// Adds the deletions to a batch. Returns `false` if the commands are needed.
    fn add_to(&self, batch: &mut Batch, nft: &Nft, table: &nft::Table<'_>) -> Result<bool, Error> {
        let jumps_here = |rule: &RuleView<'_>| rule.jumps_to(self.name);
        let is_deleted = |rule: &RuleView<'_>| {
            self.always
                || self
                    .addresses
                    .iter()
                    .any(|address| rule.has_address(*address))
        };
        for from in &self.from {
            let from = table.chain(from);
            let others = |rule: &RuleView<'_>| jumps_here(rule) && !is_deleted(rule);
            if !self.always && !nft.find_rules(&from, others)?.is_empty() {
                return Ok(false);
            }
            for rule in nft.find_rules(&from, |rule| jumps_here(rule) && is_deleted(rule))? {
                batch.delete_rule(&from, rule.handle);
            }
        }
        let chain = table.chain(self.name);
        batch.flush_chain(&chain).delete_chain(&chain);
        Ok(true)
    }
}

impl<'c> AcceptRule<'c> {
    /// Returns `None` for a rule of any other form.
    fn of(chain: &'c str, rule: &Rule) -> Option<AcceptRule<'c>> {
        let source = rule.source_network().and_then(single_address);
        let destination = rule.destination_network().and_then(single_address);
        let address = source.or(destination)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let is_source = source.is_some();
        let known = match is_source {
            true => Rule::new().source(address, width),
            false => Rule::new()
                .destination(address, width)
                .related_or_established(),
        };
        let known = known.jump("ACCEPT");
        known.same_as(rule).then_some(AcceptRule {
            chain,
            address,
            is_source,
        })
    }

    /// Returns the rule as iptables 1.8 writes it.
    fn in_nft<'n>(&self, chain: &nft::Chain<'n>) -> nft::Rule<'n> {
        let rule = chain.rule();
        match self.is_source {
            true => rule.saddr(self.address),
            false => rule.daddr(self.address).xt_related_or_established(),
        }
        .counter()
        .accept()
    }
}

/// Returns the address of a network that has only this one.
pub(super) fn single_address(network: &str) -> Option<IpAddr> {
    let (address, prefix) = network.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let width = if address.is_ipv4() { "32" } else { "128" };
    (prefix == width).then_some(address)
}
