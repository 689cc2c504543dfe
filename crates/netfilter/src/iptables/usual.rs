//! Adds rules of the nf_tables variant over netlink, without its commands, to a table in the usual state: shared chains
//! and their rules are there, and what is added is not.
//!
//! An `iptables-restore` takes 1 to 2 ms, a transaction over netlink a tenth of that. Where the table is in another state,
//! the kernel refuses, or `CNI_IPTABLES=commands` is set, the commands add the rules.

use std::net::IpAddr;

use nix::libc;

use super::change::{Change, Op};
use super::native::single_address;
use super::presence::nft_table;
use super::{Family, Rule};
use crate::error::Error;
use crate::nft::{self, Batch, Nft, RuleView};

/// Applies a change. Returns `false` if the commands are needed, because the table is in
/// another state, or the change has other rules than can be written here; then nothing
/// was changed.
///
/// # Errors
/// Those for which the commands are no remedy: a timeout, a failure of the socket.
pub(super) fn add(family: Family, change: &Change) -> Result<bool, Error> {
    let table = nft_table(family, change.table);
    let added = Nft::open().and_then(|nft| {
        let mut is_usual = true;
        nft.transaction(|nft| {
            let batch = Addition::new(family, change, &table).batch(nft)?;
            is_usual = batch.is_some();
            Ok(batch.unwrap_or_default())
        })?;
        Ok(is_usual)
    });
    match added {
        Err(error) if is_refusal(&error) => {
            log::debug!("not added over netlink: {error}");
            Ok(false)
        }
        outcome => outcome,
    }
}

/// Returns whether the kernel has refused the change as it is written here: the commands
/// may write another one, or say better what is wrong.
fn is_refusal(error: &Error) -> bool {
    error.is_not_found()
        || error.is_exists()
        || error.is_unsupported()
        || error.is_permission()
        || error.errno() == Some(libc::EINVAL)
}

/// A change, and the chains that it names.
struct Addition<'c> {
    change: &'c Change,
    table: &'c nft::Table<'static>,
    is_ipv4: bool,
    /// Chains that must not exist.
    own: Vec<&'c str>,
    /// Chains that must exist.
    shared: Vec<&'c str>,
}

impl<'c> Addition<'c> {
    fn new(family: Family, change: &'c Change, table: &'c nft::Table<'static>) -> Addition<'c> {
        let (mut own, mut shared) = (Vec::new(), Vec::new());
        for op in &change.ops {
            match op {
                Op::OwnChain(name) | Op::NewChain(name) => own.push(name.as_str()),
                Op::Chain(name) => shared.push(name.as_str()),
                _ => {}
            }
        }
        Addition {
            change,
            table,
            is_ipv4: family == Family::V4,
            own,
            shared,
        }
    }

    /// Returns the change as a batch, `None` if the commands are needed.
    fn batch(&self, nft: &Nft) -> Result<Option<Batch>, Error> {
        if !nft.has_table(self.table)? {
            return Ok(None);
        }
        let mut batch = Batch::new();
        for name in &self.own {
            if nft.chain(&self.table.chain(name))?.is_some() {
                return Ok(None);
            }
            batch.add_chain(&self.table.chain(name));
        }
        for name in &self.shared {
            if nft.chain(&self.table.chain(name))?.is_none() {
                return Ok(None);
            }
        }
        for op in &self.change.ops {
            let is_known = match op {
                Op::Append(chain, rule) => self.add(nft, &mut batch, chain, rule, false)?,
                Op::Insert(chain, rule) => self.add(nft, &mut batch, chain, rule, true)?,
                Op::Chain(_) | Op::OwnChain(_) | Op::NewChain(_) => true,
                // As in a change that is written without reading the table: what only old releases left is not looked
                // for, and no rule jumps to a chain that did not exist.
                Op::DeleteOldChain(_) | Op::DeleteLeftover(..) => true,
                Op::DeleteJumps(_, target) => self.own.contains(&target.as_str()),
                Op::Delete(..) | Op::DeleteChain(_) | Op::DeleteUnusedChain(_) => false,
            };
            if !is_known {
                return Ok(None);
            }
        }
        Ok(Some(batch))
    }

    /// Adds a rule to the batch, unless it is one that all containers share. Returns whether that could be decided.
    fn add(
        &self,
        nft: &Nft,
        batch: &mut Batch,
        chain: &str,
        rule: &Rule,
        is_first: bool,
    ) -> Result<bool, Error> {
        let place = self.table.chain(chain);
        let chains = [self.own.as_slice(), &self.shared].concat();
        let Some(encoded) = rule.encode(&place, self.is_ipv4, &chains) else {
            return Ok(false);
        };
        let is_new = |name: &str| self.own.contains(&name);
        if !is_new(chain) && !rule.target_name().is_some_and(is_new) {
            let Some(address) = address_of(rule) else {
                // A rule of the same meaning in other expressions is a case for the commands.
                let target = chains
                    .iter()
                    .find(|name| rule.target_name() == Some(**name));
                let is_candidate =
                    |found: &RuleView<'_>| target.is_none_or(|target| found.jumps_to(target));
                let found = nft.find_rules(&place, is_candidate)?;
                return Ok(found.iter().any(|found| found.same_as(&encoded)));
            };
            let others = nft.find_rules(&place, |found| found.has_address(address))?;
            if !others.is_empty() {
                return Ok(false);
            }
        }
        match is_first {
            true => batch.insert_rule(&encoded),
            false => batch.add_rule(&encoded),
        };
        Ok(true)
    }
}

/// Returns the address that a rule is for.
fn address_of(rule: &Rule) -> Option<IpAddr> {
    let source = rule.source_network().and_then(single_address);
    source.or_else(|| rule.destination_network().and_then(single_address))
}
