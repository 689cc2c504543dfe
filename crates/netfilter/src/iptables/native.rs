//! Deleting what is in nf_tables without running the commands of that variant: chains,
//! the rules that lead to them, and rules that let the packets of one address through,
//! go by one transaction like any other.

use std::net::IpAddr;

use super::change::{Change, Wish};
use super::presence::nft_table;
use super::{Family, Rule};
use crate::error::Error;
use crate::nft::{self, Batch, Nft, RuleView};

/// A chain that is to go.
struct DoomedChain<'c> {
    name: &'c str,
    /// The chains with rules that lead to it.
    from: Vec<&'c str>,
    /// It goes with whatever leads to it. Otherwise it only does if nothing but rules
    /// for these addresses does.
    anyway: bool,
    addresses: Vec<IpAddr>,
}

/// A rule that is to go, in a chain that all share.
struct DoomedRule<'c> {
    chain: &'c str,
    address: IpAddr,
    /// The address is the source's, else the destination's of what is answered.
    is_source: bool,
}

/// What a change is about.
#[derive(Default)]
struct Wanted<'c> {
    chains: Vec<DoomedChain<'c>>,
    rules: Vec<DoomedRule<'c>>,
    /// Chains that are not expected to be there.
    unexpected: Vec<&'c str>,
}

/// Fulfils a change that is about nothing but what can be deleted here. False if it
/// is about something else, or about what only the commands understand; nothing is
/// changed then.
///
/// # Errors
/// What the kernel refuses.
pub(super) fn apply(family: Family, change: &Change) -> Result<bool, Error> {
    let Some(wanted) = Wanted::of(change) else {
        return Ok(false);
    };
    let table = nft_table(family, change.table);
    let nft = match Nft::open() {
        Err(error) if error.is_unsupported() => return Ok(false),
        nft => nft?,
    };
    let mut understood = true;
    let done = nft.transaction(|nft| {
        let mut batch = Batch::new();
        understood = wanted.plan(nft, &table, &mut batch)?;
        Ok(if understood { batch } else { Batch::new() })
    });
    match done {
        // A rule leads there that is nowhere where it was looked for.
        Err(error) if error.is_busy() => Ok(false),
        Err(error) if error.is_unsupported() => {
            log::debug!("without nf_tables: {error}");
            Ok(false)
        }
        Err(error) => Err(error),
        Ok(_) => Ok(understood),
    }
}

impl<'c> Wanted<'c> {
    fn of(change: &'c Change) -> Option<Wanted<'c>> {
        let mut wanted = Wanted::default();
        for wish in &change.wishes {
            match wish {
                Wish::DeleteChain(name) | Wish::DeleteUnusedChain(name) => {
                    wanted.chains.push(DoomedChain {
                        name,
                        from: Vec::new(),
                        anyway: matches!(wish, Wish::DeleteChain(_)),
                        addresses: Vec::new(),
                    });
                }
                Wish::DeleteOldChain(name) => wanted.unexpected.push(name),
                _ => {}
            }
        }
        for wish in &change.wishes {
            let (from, target, rule) = match wish {
                Wish::DeleteChain(_) | Wish::DeleteUnusedChain(_) | Wish::DeleteOldChain(_) => {
                    continue;
                }
                Wish::DeleteJumps(from, target) => (from, target.as_str(), None),
                Wish::Delete(from, rule) | Wish::DeleteLeftover(from, rule) => {
                    (from, rule.target_name()?, Some(rule))
                }
                _ => return None,
            };
            let mut chains = wanted.chains.iter_mut();
            match (chains.find(|chain| chain.name == target), rule) {
                (Some(chain), rule) => {
                    if !chain.from.contains(&from.as_str()) {
                        chain.from.push(from);
                    }
                    // What is left of old releases is found where it leads, or not
                    // understood.
                    let source = rule.and_then(Rule::source_network);
                    chain.addresses.extend(source.and_then(host));
                }
                (None, Some(rule)) => wanted.rules.push(DoomedRule::of(from, rule)?),
                (None, None) => return None,
            }
        }
        // Of others nobody knows where to look.
        let is_clear = |chain: &DoomedChain<'_>| !chain.from.is_empty();
        wanted.chains.iter().all(is_clear).then_some(wanted)
    }

    /// Puts the deletions into a batch; false if it takes the commands to tell.
    fn plan(&self, nft: &Nft, table: &nft::Table<'_>, batch: &mut Batch) -> Result<bool, Error> {
        for name in &self.unexpected {
            if nft.chain(&table.chain(name))?.is_some() {
                return Ok(false);
            }
        }
        for chain in &self.chains {
            if nft.chain(&table.chain(chain.name))?.is_some() && !chain.plan(nft, table, batch)? {
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
            let about = |rule: &RuleView<'_>| here().any(|doomed| rule.has_address(doomed.address));
            for rule in nft.find_rules(&chain, about)? {
                if !wanted.iter().any(|wanted| rule.same_as(wanted)) {
                    return Ok(false);
                }
                batch.delete_rule(&chain, rule.handle);
            }
        }
        Ok(true)
    }
}

impl DoomedChain<'_> {
    fn plan(&self, nft: &Nft, table: &nft::Table<'_>, batch: &mut Batch) -> Result<bool, Error> {
        let leads = |rule: &RuleView<'_>| rule.jumps_to(self.name);
        let goes = |rule: &RuleView<'_>| {
            self.anyway
                || self
                    .addresses
                    .iter()
                    .any(|address| rule.has_address(*address))
        };
        for from in &self.from {
            let from = table.chain(from);
            let others = |rule: &RuleView<'_>| leads(rule) && !goes(rule);
            if !self.anyway && !nft.find_rules(&from, others)?.is_empty() {
                return Ok(false);
            }
            for rule in nft.find_rules(&from, |rule| leads(rule) && goes(rule))? {
                batch.delete_rule(&from, rule.handle);
            }
        }
        let chain = table.chain(self.name);
        batch.flush_chain(&chain).delete_chain(&chain);
        Ok(true)
    }
}

impl<'c> DoomedRule<'c> {
    /// `None` of any other form than these.
    fn of(chain: &'c str, rule: &Rule) -> Option<DoomedRule<'c>> {
        let source = rule.source_network().and_then(host);
        let destination = rule.destination_network().and_then(host);
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
        known.same(rule).then_some(DoomedRule {
            chain,
            address,
            is_source,
        })
    }

    /// As iptables 1.8 writes it.
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

/// The address of a network that is of nothing else.
fn host(network: &str) -> Option<IpAddr> {
    let (address, prefix) = network.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let width = if address.is_ipv4() { "32" } else { "128" };
    (prefix == width).then_some(address)
}
