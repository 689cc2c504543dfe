//! A rule for each mapping, in upstream's tables, chains and order, so that either
//! implementation finds what the other one added.

mod check;
mod find;
mod objects;

pub(crate) use check::check;

use super::{FAMILIES, family, has_any, has_table, stale_labels};
use crate::attachment::{comment_of, note_of};
use crate::conditions::Conditions;
use crate::config::Config;
use crate::record::{Recorded, RuleHandle, RuleLocation};
use anyhow::{Context, bail};
use cni_core::Cidr;
use cni_state::Owner;
use find::{FoundRule, find, find_recorded, located, scan};
use netfilter::nft::{Batch, Family, Nft, NftCommand, Rule, RuleInfo};
use objects::{HOSTPORTS, Objects};
use plugin_kit::Undo;
use std::net::IpAddr;

const CANNOT_ADD: &str = "unable to set up nftables rules for port mappings";

/// Adds the rules of an attachment and removes its old ones, and returns where they
/// are. `old`: what is recorded of an earlier ADD.
///
/// All of it is one transaction for both families, except for rules with conditions in
/// the language of `nft`, which `nft` adds before.
pub(crate) fn add(
    owner: &Owner,
    config: &Config,
    targets: &[Cidr],
    old: Option<&RuleLocation>,
) -> anyhow::Result<Vec<RuleHandle>> {
    let nft = Nft::open()?;
    let by_command = add_by_command(owner, config, targets)?;
    let new = located(&by_command);
    let mut undo = Undo::new();
    if !new.is_empty() {
        undo.push("remove the rules that nft added", || {
            let mut batch = Batch::new();
            delete_rules(&mut batch, &new);
            nft.commit(&batch)?;
            Ok(())
        });
    }
    let rules = native_rules(owner, config, targets)?;
    let addresses: Vec<IpAddr> = targets.iter().map(Cidr::addr).collect();
    let added = nft.transaction(|nft| {
        let mut batch = Batch::new();
        for target in targets {
            let objects = Objects::of(family(target.is_ipv4()));
            objects.write_base(nft, &mut batch, config.snat)?;
        }
        if let Some(old) = old {
            let mut found = find(nft, owner, &addresses, old.rules())?;
            found.retain(|rule| !new.contains(rule));
            delete_rules(&mut batch, &found);
        }
        batch.echo();
        for rule in &rules {
            batch.add_rule(rule);
        }
        Ok(batch)
    });
    let added = added.context(CANNOT_ADD)?;
    undo.disarm();
    let native = added
        .into_iter()
        .zip(&rules)
        .map(|(added, rule)| RuleHandle {
            ipv4: rule.chain().table.family == Family::Ip,
            chain: added.chain,
            handle: added.handle,
        });
    Ok(by_command.into_iter().chain(native).collect())
}

/// Returns the rules that are encoded here.
fn native_rules(
    owner: &Owner,
    config: &Config,
    targets: &[Cidr],
) -> anyhow::Result<Vec<Rule<'static>>> {
    let (comment, note) = (comment_of(owner), note_of(owner));
    let label = |rule: Rule<'static>| rule.comment(&comment).note(note.as_bytes());
    let mut rules = Vec::new();
    for target in targets {
        let objects = Objects::of(family(target.is_ipv4()));
        if let Conditions::Comparisons(list) = config.nft_conditions(target.is_ipv4())? {
            let mappings = objects.mapping_rules(config, &list, *target);
            rules.extend(mappings.into_iter().map(|(_, rule)| label(rule)));
        }
        let masquerades = objects.masquerade_rules(config, *target);
        rules.extend(masquerades.into_iter().map(|(_, rule)| label(rule)));
    }
    Ok(rules)
}

/// Has `nft` add the mappings whose conditions are in its language, and returns where
/// they are.
fn add_by_command(
    owner: &Owner,
    config: &Config,
    targets: &[Cidr],
) -> anyhow::Result<Vec<RuleHandle>> {
    let mut script = String::new();
    let mut families = Vec::new();
    for target in targets {
        let objects = Objects::of(family(target.is_ipv4()));
        if let Conditions::Script(words) = config.nft_conditions(target.is_ipv4())? {
            script += &objects.mapping_script(config, &words, *target, &comment_of(owner));
            let mappings = config.mappings_for(target.is_ipv4());
            families.extend(mappings.map(|_| target.is_ipv4()));
        }
    }
    if families.is_empty() {
        return Ok(Vec::new());
    }
    let handles = NftCommand::find().and_then(|nft| nft.add_rules(&script));
    let handles = handles.context(CANNOT_ADD)?;
    if handles.len() != families.len() {
        bail!("{CANNOT_ADD}: nft does not report what it added; install nft 1.0.1 or later");
    }
    let rules = families.into_iter().zip(handles);
    Ok(rules
        .map(|(ipv4, handle)| RuleHandle {
            ipv4,
            chain: HOSTPORTS.to_owned(),
            handle,
        })
        .collect())
}

/// Deletes the rules of an attachment in both families. `handles`: where they are
/// recorded to be.
pub(crate) fn delete(
    owner: &Owner,
    addresses: &[IpAddr],
    handles: &[RuleHandle],
) -> anyhow::Result<()> {
    transaction(|nft, batch| {
        delete_rules(batch, &find(nft, owner, addresses, handles)?);
        Ok(())
    })
}

/// Deletes the rules of a network's attachments that are not valid. `recorded`: what is
/// recorded of these, whose rules need not have a note.
pub(crate) fn collect(
    network: &str,
    valid: &[Owner],
    recorded: &[(Owner, Recorded)],
) -> anyhow::Result<()> {
    let is_stale = stale_labels(network, valid);
    transaction(|nft, batch| {
        let mut found = scan(nft, &|rule| is_stale(rule.comment, rule.note))?;
        for (owner, recorded) in recorded {
            let rules = find_recorded(nft, owner, recorded)?;
            found.extend(rules);
        }
        found.sort_unstable_by_key(|rule| (rule.ipv4(), rule.handle));
        found.dedup();
        delete_rules(batch, &found);
        Ok(())
    })
}

/// Commits what `change` adds to a batch, together with the repair of base chains.
fn transaction(
    change: impl Fn(&Nft, &mut Batch) -> Result<(), netfilter::Error>,
) -> anyhow::Result<()> {
    let done = Nft::open()?.transaction(|nft| {
        let mut batch = Batch::new();
        repair_base_chains(nft, &mut batch)?;
        change(nft, &mut batch)?;
        Ok(batch)
    });
    done.context("error deleting nftables rules")?;
    Ok(())
}

fn delete_rules(batch: &mut Batch, rules: &[FoundRule]) {
    for rule in rules {
        batch.delete_rule(&rule.chain, rule.handle);
    }
}

/// Replaces the base chains of old versions, which map packets to other machines, too
/// (CVE-2025-67499).
fn repair_base_chains(nft: &Nft, batch: &mut Batch) -> Result<(), netfilter::Error> {
    for family in FAMILIES {
        let objects = Objects::of(family);
        if !has_table(nft, &objects.table)? {
            continue;
        }
        for chain in [&objects.bases.prerouting, &objects.bases.output] {
            if nft.rules(chain)?.iter().any(catches_foreign) {
                objects.write_base(nft, batch, false)?;
                break;
            }
        }
    }
    Ok(())
}

/// Returns whether a rule does not test the type of the destination address.
fn catches_foreign(rule: &RuleInfo) -> bool {
    const FIB: &[u8] = b"fib\0";
    let mut windows = rule.expressions().windows(FIB.len());
    !windows.any(|part| part == FIB)
}

/// Returns whether the table of either family exists.
pub(crate) fn in_use(nft: &Nft) -> Result<bool, netfilter::Error> {
    has_any(nft, FAMILIES.map(|family| Objects::of(family).table))
}
