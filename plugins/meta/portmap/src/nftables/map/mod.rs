//! Mappings as elements of maps: however many there are, a packet is looked up
//! once, and adding or removing one costs the same.
//!
//! In a table of its own, as upstream would not find the elements.

mod objects;

use super::{FAMILIES, family, has_any, has_table, rules_are};
use crate::attachment::{Attachment, note_of_network};
use crate::config::{Config, Mapping};
use anyhow::{Context, anyhow};
use cni_core::Cidr;
use cni_core::quote::quote;
use netfilter::Error;
use netfilter::nft::{Batch, ElementInfo, Nft};
use objects::{NAME, Objects};

fn is_of(element: &ElementInfo, attachment: &Attachment<'_>) -> bool {
    element.comment.as_deref() == Some(attachment.container_id)
        && element.note.as_deref() == Some(attachment.note().as_bytes())
}

/// Adds the elements of an attachment, in one transaction for both families, and
/// removes those that it had.
pub(crate) fn add(
    attachment: &Attachment<'_>,
    config: &Config,
    targets: &[Cidr],
    again: bool,
) -> anyhow::Result<()> {
    let nft = Nft::open()?;
    let note = attachment.note();
    let mut taken = None;
    let outcome = nft.transaction(|nft| {
        let mut batch = Batch::new();
        taken = None;
        if again {
            delete_all(nft, &mut batch, attachment)?;
        }
        for target in targets {
            let objects = Objects::of(family(target.is_ipv4()));
            objects.write_base(nft, &mut batch, target.prefix())?;
            for entry in objects.mapping_entries(&config.mappings, Some(*target)) {
                let set = objects.set(&entry.set);
                if let Some(there) = nft.element(&set, &entry.element)? {
                    if !is_of(&there, attachment) {
                        taken = Some((entry.what, there.comment.unwrap_or_default()));
                        return Ok(Batch::new());
                    }
                    // Of an ADD that is not remembered, with another address.
                    if !again && there.data != entry.element.data_bytes() {
                        batch.delete_elements(&set, [there.to_element(&set)]);
                    }
                }
                let element = entry.element.comment(attachment.container_id);
                batch.add_elements(&set, [element.note(note.as_bytes())]);
            }
            for entry in objects.client_entries(Some(config), *target) {
                let set = objects.set(&entry.set);
                // What is left of a container that had the address before.
                if let Some(there) = nft.element(&set, &entry.element)?
                    && !is_of(&there, attachment)
                {
                    batch.delete_elements(&set, [there.to_element(&set)]);
                }
                let element = entry.element.comment(attachment.container_id);
                batch.add_elements(&set, [element.note(note.as_bytes())]);
            }
        }
        Ok(batch)
    });
    outcome.context("unable to set up nftables rules for port mappings")?;
    match taken {
        None => Ok(()),
        Some((what, holder)) => Err(anyhow!(
            "{what} of the host is mapped to container {} already; \
             choose another hostPort, or remove that container",
            quote(holder)
        )),
    }
}

/// Removes the elements of an attachment. `targets` are the container's addresses,
/// as far as they are known.
pub(crate) fn delete(
    attachment: &Attachment<'_>,
    mappings: &[Mapping],
    targets: &[Cidr],
) -> anyhow::Result<()> {
    let nft = Nft::open()?;
    nft.transaction(|nft| {
        let mut batch = Batch::new();
        if !delete_expected(nft, &mut batch, attachment, mappings, targets)? {
            batch = Batch::new();
            delete_all(nft, &mut batch, attachment)?;
        }
        Ok(batch)
    })
    .context("error deleting elements of nftables maps")?;
    Ok(())
}

/// Deletes what an attachment ought to have; false if there may be more, or other.
fn delete_expected(
    nft: &Nft,
    batch: &mut Batch,
    attachment: &Attachment<'_>,
    mappings: &[Mapping],
    targets: &[Cidr],
) -> Result<bool, Error> {
    if targets.is_empty() || mappings.is_empty() {
        return Ok(false);
    }
    for target in targets {
        let objects = Objects::of(family(target.is_ipv4()));
        if !has_table(nft, &objects.table)? {
            continue;
        }
        for entry in objects.mapping_entries(mappings, None) {
            let set = objects.set(&entry.set);
            match nft.element(&set, &entry.element)? {
                Some(there) if is_of(&there, attachment) => {
                    batch.delete_elements(&set, [entry.element]);
                }
                _ => return Ok(false),
            }
        }
        for entry in objects.client_entries(None, *target) {
            let set = objects.set(&entry.set);
            if let Some(there) = nft.element(&set, &entry.element)?
                && is_of(&there, attachment)
            {
                batch.delete_elements(&set, [entry.element]);
            }
        }
    }
    Ok(true)
}

fn delete_all(nft: &Nft, batch: &mut Batch, attachment: &Attachment<'_>) -> Result<(), Error> {
    delete_where(nft, batch, &|element| is_of(element, attachment))
}

fn delete_where(
    nft: &Nft,
    batch: &mut Batch,
    wanted: &dyn Fn(&ElementInfo) -> bool,
) -> Result<(), Error> {
    for family in FAMILIES {
        let objects = Objects::of(family);
        if has_table(nft, &objects.table)? {
            let found = objects.scan(nft, wanted)?;
            objects.delete(batch, found);
        }
    }
    Ok(())
}

/// Removes the elements of a network's attachments that `is_stale` names by
/// container ID and interface.
pub(crate) fn collect(network: &str, is_stale: &dyn Fn(&str, &str) -> bool) -> anyhow::Result<()> {
    let nft = Nft::open()?;
    let prefix = note_of_network(network);
    let stale = |element: &ElementInfo| {
        let note = element.note.as_deref();
        let note = note.and_then(|note| std::str::from_utf8(note).ok());
        let if_name = note.and_then(|note| note.strip_prefix(&prefix));
        matches!((&element.comment, if_name), (Some(id), Some(name)) if is_stale(id, name))
    };
    nft.transaction(|nft| {
        let mut batch = Batch::new();
        delete_where(nft, &mut batch, &stale)?;
        Ok(batch)
    })
    .context("error deleting elements of nftables maps")?;
    Ok(())
}

/// Whether the table of either family exists.
pub(crate) fn in_use(nft: &Nft) -> Result<bool, Error> {
    has_any(nft, FAMILIES.map(|family| Objects::of(family).table))
}

/// Compares the elements of an attachment, and the rules that all share, with what
/// they ought to be.
pub(crate) fn check(
    attachment: &Attachment<'_>,
    config: &Config,
    targets: &[Cidr],
) -> anyhow::Result<()> {
    let nft = Nft::open()?;
    for target in targets {
        let objects = Objects::of(family(target.is_ipv4()));
        let place = format!("table {} {NAME}", objects.table.family.as_str());
        for entry in objects.mapping_entries(&config.mappings, Some(*target)) {
            let there = nft.element(&objects.set(&entry.set), &entry.element)?;
            let right = there.is_some_and(|there| {
                is_of(&there, attachment) && there.data == entry.element.data_bytes()
            });
            if !right {
                return Err(anyhow!(
                    "map {} of {place} does not lead {} to the container",
                    quote(&entry.set),
                    entry.what
                ));
            }
        }
        for entry in objects.client_entries(Some(config), *target) {
            if nft
                .element(&objects.set(&entry.set), &entry.element)?
                .is_none()
            {
                return Err(anyhow!(
                    "set {} of {place} lacks the container, so that {} are not masqueraded",
                    quote(&entry.set),
                    entry.what
                ));
            }
        }
        for (chain, rules) in &objects.fixed_rules() {
            let there = nft.rules(chain)?;
            if !rules_are(&there, rules) {
                return Err(anyhow!(
                    "{} chain of {place} is not as it ought to be",
                    quote(chain.name)
                ));
            }
        }
        let there = nft.rules(&objects.clients)?;
        let mut rules = objects.client_rules();
        rules.push(objects.network_rule(target.prefix()));
        if !rules
            .iter()
            .all(|rule| there.iter().any(|found| found.same_as(rule)))
        {
            return Err(anyhow!(
                "\"clients\" chain of {place} is not as it ought to be"
            ));
        }
    }
    Ok(())
}
