//! Deleting chains of the nf_tables variant without running its commands: a chain, and
//! the rules that lead to it, go by one transaction like any other.

use std::net::IpAddr;

use super::change::{Change, Wish};
use super::command::nft_table;
use super::{Family, Rule};
use crate::error::Error;
use crate::nft::{Batch, Nft, RuleView};

/// A chain that is to go.
struct Doomed<'c> {
    name: &'c str,
    /// The chains with rules that lead to it.
    from: Vec<&'c str>,
    /// It goes with whatever leads to it. Otherwise it only does if nothing but rules
    /// for these addresses does.
    anyway: bool,
    addresses: Vec<IpAddr>,
}

/// Fulfils a change that is about deleting chains with what leads to them. False if it
/// is about something else, or about what cannot be told without the commands; nothing
/// is changed then.
///
/// # Errors
/// What the kernel refuses.
pub(super) fn apply(family: Family, change: &Change) -> Result<bool, Error> {
    let Some((doomed, unexpected)) = doomed(change) else {
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
        understood = true;
        for name in &unexpected {
            understood &= nft.chain(&table.chain(name))?.is_none();
        }
        for chain in &doomed {
            let object = table.chain(chain.name);
            if nft.chain(&object)?.is_none() {
                continue;
            }
            for from in &chain.from {
                let from = table.chain(from);
                let mut others = false;
                let leads = |rule: &RuleView<'_>| rule.leads_to(chain.name);
                let known = |rule: &RuleView<'_>| {
                    chain.anyway || chain.addresses.iter().any(|address| rule.names(*address))
                };
                let rules = nft.find_rules(&from, |rule| leads(rule) && known(rule))?;
                if !chain.anyway {
                    others = !nft
                        .find_rules(&from, |rule| leads(rule) && !known(rule))?
                        .is_empty();
                }
                understood &= !others;
                for rule in rules {
                    batch.delete_rule(&from, rule.handle);
                }
            }
            batch.flush_chain(&object).delete_chain(&object);
        }
        Ok(if understood { batch } else { Batch::new() })
    });
    match done {
        // A rule leads there that is nowhere where it was looked for.
        Err(error) if error.is_busy() => Ok(false),
        // Without nf_tables, as requests are refused then.
        Err(error) if error.is_unsupported() || error.errno() == Some(nix::libc::EINVAL) => {
            log::debug!("without nf_tables: {error}");
            Ok(false)
        }
        Err(error) => Err(error),
        Ok(_) => Ok(understood),
    }
}

/// The chains that are to go, and those that are not expected to be there.
fn doomed(change: &Change) -> Option<(Vec<Doomed<'_>>, Vec<&str>)> {
    let (mut doomed, mut unexpected) = (Vec::new(), Vec::new());
    for wish in &change.wishes {
        match wish {
            Wish::DeleteChain(name) | Wish::DeleteUnusedChain(name) => doomed.push(Doomed {
                name,
                from: Vec::new(),
                anyway: matches!(wish, Wish::DeleteChain(_)),
                addresses: Vec::new(),
            }),
            Wish::DeleteOldChain(name) => unexpected.push(name.as_str()),
            _ => {}
        }
    }
    for wish in &change.wishes {
        let (from, target, rule) = match wish {
            Wish::DeleteChain(_) | Wish::DeleteUnusedChain(_) | Wish::DeleteOldChain(_) => continue,
            Wish::DeleteJumps(from, target) => (from, target.as_str(), None),
            Wish::Delete(from, rule) | Wish::DeleteLeftover(from, rule) => {
                (from, rule.target_name()?, Some(rule))
            }
            _ => return None,
        };
        let chain = doomed.iter_mut().find(|chain| chain.name == target)?;
        if !chain.from.contains(&from.as_str()) {
            chain.from.push(from);
        }
        // What is left of old releases is found where it leads, or not understood.
        chain.addresses.extend(rule.and_then(host));
    }
    // Nobody knows where to look.
    let is_clear = |chain: &Doomed<'_>| !chain.from.is_empty();
    (!doomed.is_empty() && doomed.iter().all(is_clear)).then_some((doomed, unexpected))
}

/// The only address that a rule is about.
fn host(rule: &Rule) -> Option<IpAddr> {
    let (address, prefix) = rule.source_network()?.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let width = if address.is_ipv4() { "32" } else { "128" };
    (prefix == width).then_some(address)
}
