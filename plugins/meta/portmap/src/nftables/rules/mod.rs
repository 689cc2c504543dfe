//! A rule for each mapping, in upstream's tables, chains and order, so that either
//! implementation finds what the other one added.

mod check;
mod objects;

pub(crate) use check::check;

use super::{FAMILIES, family, has_any, has_table, is_of};
use crate::attachment::{Attachment, note_of_network};
use crate::conditions::Conditions;
use crate::config::Config;
use crate::record::Place;
use anyhow::Context;
use cni_core::Cidr;
use netfilter::Error;
use netfilter::nft::{Batch, Chain, Nft, NftCommand, Rule, RuleInfo, RuleView};
use objects::Objects;
use plugin_kit::Undo;
use std::net::IpAddr;

const CANNOT_ADD: &str = "unable to set up nftables rules for port mappings";

/// Adds the rules of an attachment and removes its old ones, in one transaction for
/// both families; rules with conditions in the language of `nft` are added before, in
/// a transaction of `nft`. Returns where they are. `old`: where its old ones are, if
/// it has any.
pub(crate) fn add(
    attachment: &Attachment<'_>,
    config: &Config,
    targets: &[Cidr],
    old: Option<&[Place]>,
) -> anyhow::Result<Vec<Place>> {
    let nft = Nft::open()?;
    let by_command = add_by_command(attachment, config, targets)?;
    let mut undo = Undo::new();
    if !by_command.is_empty() {
        undo.push("remove the rules that nft added", || {
            nft.transaction(|_| Ok(deletion(&located(&by_command))))?;
            Ok(())
        });
    }
    let rules = native_rules(attachment, config, targets)?;
    let addresses: Vec<IpAddr> = targets.iter().map(Cidr::addr).collect();
    let added = nft.transaction(|nft| {
        let mut batch = Batch::new();
        for target in targets {
            let objects = Objects::of(family(target.is_ipv4()));
            objects.write_base(nft, &mut batch, config.snat)?;
        }
        if let Some(old) = old {
            let mut found = find(nft, attachment, &addresses, old)?;
            let new = located(&by_command);
            found.retain(|rule| !new.contains(rule));
            delete_found(&mut batch, &found);
        }
        batch.echo();
        for rule in &rules {
            batch.add_rule(rule);
        }
        Ok(batch)
    });
    let added = added.context(CANNOT_ADD)?;
    undo.disarm();
    let native = added.into_iter().zip(&rules).map(|(added, rule)| Place {
        family: rule.chain().table.family,
        chain: added.chain,
        handle: added.handle,
    });
    Ok(by_command.iter().cloned().chain(native).collect())
}

/// The rules that are encoded here.
fn native_rules(
    attachment: &Attachment<'_>,
    config: &Config,
    targets: &[Cidr],
) -> anyhow::Result<Vec<Rule<'static>>> {
    let note = attachment.note();
    let label = |rule: Rule<'static>| rule.comment(attachment.container_id).note(note.as_bytes());
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
    attachment: &Attachment<'_>,
    config: &Config,
    targets: &[Cidr],
) -> anyhow::Result<Vec<Place>> {
    let mut script = String::new();
    let mut chains = Vec::new();
    for target in targets {
        let objects = Objects::of(family(target.is_ipv4()));
        if let Conditions::Script(words) = config.nft_conditions(target.is_ipv4())? {
            script += &objects.mapping_script(config, &words, *target, attachment.container_id);
            let mappings = config.mappings_for(target.is_ipv4());
            chains.extend(mappings.map(|_| objects.hostports));
        }
    }
    if chains.is_empty() {
        return Ok(Vec::new());
    }
    let handles = NftCommand::find().and_then(|nft| nft.add_rules(&script));
    let handles = handles.context(CANNOT_ADD)?;
    let places = chains.into_iter().zip(handles);
    Ok(places
        .map(|(chain, handle)| Place {
            family: chain.table.family,
            chain: chain.name.to_owned(),
            handle,
        })
        .collect())
}

/// Removes the rules of an attachment, of both families, wherever they are, and
/// mends what old versions have left behind the hooks. `places` is where they were.
pub(crate) fn delete(
    attachment: &Attachment<'_>,
    addresses: &[IpAddr],
    places: &[Place],
) -> anyhow::Result<()> {
    let nft = Nft::open()?;
    nft.transaction(|nft| {
        let mut batch = Batch::new();
        mend(nft, &mut batch)?;
        delete_found(&mut batch, &find(nft, attachment, addresses, places)?);
        Ok(batch)
    })
    .context("error deleting nftables rules")?;
    Ok(())
}

/// Removes the rules of a network's attachments that `is_stale` names by container
/// ID and interface. `recorded`: stale attachments with the places of their rules,
/// some of which may have no note.
pub(crate) fn collect(
    network: &str,
    is_stale: &dyn Fn(&str, &str) -> bool,
    recorded: &[(Attachment<'_>, Vec<Place>)],
) -> anyhow::Result<()> {
    let nft = Nft::open()?;
    let prefix = note_of_network(network);
    let stale = |rule: &RuleView<'_>| {
        let note = rule.note.and_then(|note| std::str::from_utf8(note).ok());
        let if_name = note.and_then(|note| note.strip_prefix(&prefix));
        matches!((rule.comment, if_name), (Some(id), Some(name)) if is_stale(id, name))
    };
    nft.transaction(|nft| {
        let mut batch = Batch::new();
        mend(nft, &mut batch)?;
        let mut found = scan(nft, &stale)?;
        for (attachment, places) in recorded {
            for place in places {
                let rule = rule_at(nft, attachment, place)?;
                found.extend(rule.filter(|rule| !found.contains(rule)));
            }
        }
        delete_found(&mut batch, &found);
        Ok(batch)
    })
    .context("error deleting nftables rules")?;
    Ok(())
}

type Found = Vec<(Chain<'static>, u64)>;

fn delete_found(batch: &mut Batch, found: &Found) {
    for (chain, handle) in found {
        batch.delete_rule(chain, *handle);
    }
}

fn deletion(found: &Found) -> Batch {
    let mut batch = Batch::new();
    delete_found(&mut batch, found);
    batch
}

/// The rules at these places.
fn located(places: &[Place]) -> Found {
    places
        .iter()
        .filter_map(|place| Some((chain_of(place)?, place.handle)))
        .collect()
}

fn chain_of(place: &Place) -> Option<Chain<'static>> {
    let chains = Objects::of(place.family).attachment_chains();
    chains.into_iter().find(|chain| chain.name == place.chain)
}

/// The rules of an attachment: those remembered, if all of them are still there and
/// the attachment's, else whatever is found among all.
fn find(
    nft: &Nft,
    attachment: &Attachment<'_>,
    addresses: &[IpAddr],
    places: &[Place],
) -> Result<Found, Error> {
    if !places.is_empty()
        && let Some(found) = verify(nft, attachment, places)?
    {
        return Ok(found);
    }
    scan(nft, &|rule| is_of(rule, attachment, addresses))
}

/// Returns the rules at these places if all of them are there and the attachment's.
fn verify(
    nft: &Nft,
    attachment: &Attachment<'_>,
    places: &[Place],
) -> Result<Option<Found>, Error> {
    let found = places.iter().map(|place| rule_at(nft, attachment, place));
    found.collect()
}

/// Returns the rule at a place if it is there and the attachment's.
fn rule_at(
    nft: &Nft,
    attachment: &Attachment<'_>,
    place: &Place,
) -> Result<Option<(Chain<'static>, u64)>, Error> {
    let Some(chain) = chain_of(place) else {
        return Ok(None);
    };
    let note = attachment.note();
    // Rules that nft added have no note.
    let is_own = |rule: RuleInfo| {
        rule.comment.as_deref() == Some(attachment.container_id)
            && rule.note.is_none_or(|found| found == note.as_bytes())
    };
    let rule = nft.rule(&chain, place.handle)?;
    Ok(rule.is_some_and(is_own).then_some((chain, place.handle)))
}

/// All rules of attachments for which `wanted` says yes.
fn scan(nft: &Nft, wanted: &dyn Fn(&RuleView<'_>) -> bool) -> Result<Found, Error> {
    let mut found = Vec::new();
    for family in FAMILIES {
        let objects = Objects::of(family);
        if !has_table(nft, &objects.table)? {
            continue;
        }
        for chain in objects.attachment_chains() {
            let rules = nft.find_rules(&chain, wanted)?;
            found.extend(rules.iter().map(|rule| (chain, rule.handle)));
        }
    }
    Ok(found)
}

/// Rules behind the hooks that lead to the mappings whatever the destination is
/// (CVE-2025-67499) are replaced at the first opportunity.
fn mend(nft: &Nft, batch: &mut Batch) -> Result<(), Error> {
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

/// Whether a rule does not look at the type of the destination at all.
fn catches_foreign(rule: &RuleInfo) -> bool {
    const FIB: &[u8] = b"fib\0";
    !rule
        .expressions()
        .windows(FIB.len())
        .any(|part| part == FIB)
}

/// Whether the table of either family exists.
pub(crate) fn in_use(nft: &Nft) -> Result<bool, Error> {
    has_any(nft, FAMILIES.map(|family| Objects::of(family).table))
}
