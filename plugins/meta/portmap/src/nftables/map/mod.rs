//! A map element for each mapping: a packet takes one lookup, and the time to add or
//! delete a mapping does not depend on their number.
//!
//! They are in a table of their own, because upstream would not find them.

mod check;
mod objects;

pub(crate) use check::check;

use super::{FAMILIES, family, has_any, has_table, stale_labels};
use crate::attachment::{comment_of, note_of};
use crate::config::Config;
use crate::mapping::Mapping;
use anyhow::{Context, anyhow};
use cni_core::Cidr;
use cni_core::quote::quote;
use cni_state::Owner;
use netfilter::Error;
use netfilter::nft::{Batch, ElementInfo, Nft};
use objects::{Entry, Objects};

const CANNOT_DELETE: &str = "error deleting elements of nftables maps";

fn is_of(element: &ElementInfo, owner: &Owner) -> bool {
    element.comment.as_deref() == Some(comment_of(owner).as_str())
        && element.note.as_deref() == Some(note_of(owner).as_bytes())
}

/// Adds the elements of an attachment in one transaction for both families, and deletes
/// its old ones if it `is_recorded`.
///
/// # Errors
/// If a host port is mapped to another container, or the kernel refuses.
pub(crate) fn add(
    owner: &Owner,
    config: &Config,
    targets: &[Cidr],
    is_recorded: bool,
) -> anyhow::Result<()> {
    let nft = Nft::open()?;
    let mut conflict = None;
    let outcome = nft.transaction(|nft| {
        let mut addition = Addition {
            nft,
            batch: Batch::new(),
            owner,
            is_recorded,
        };
        if is_recorded {
            delete_all(nft, &mut addition.batch, owner)?;
        }
        conflict = None;
        for target in targets {
            conflict = conflict.take().or(addition.add(config, *target)?);
        }
        Ok(match conflict {
            Some(_) => Batch::new(),
            None => addition.batch,
        })
    });
    outcome.context("unable to set up nftables rules for port mappings")?;
    match conflict {
        None => Ok(()),
        Some(Conflict { port, holder }) => Err(anyhow!(
            "{port} of the host is already mapped to container {}; \
             choose another hostPort, or remove that container",
            quote(holder)
        )),
    }
}

/// A host port that is mapped to another container.
struct Conflict {
    port: String,
    holder: String,
}

struct Addition<'a> {
    nft: &'a Nft,
    batch: Batch,
    owner: &'a Owner,
    is_recorded: bool,
}

impl Addition<'_> {
    /// Adds the elements for one address.
    fn add(&mut self, config: &Config, target: Cidr) -> Result<Option<Conflict>, Error> {
        let objects = Objects::of(family(target.is_ipv4()));
        objects.write_base(self.nft, &mut self.batch, target.prefix())?;
        for entry in objects.mapping_entries(&config.mappings, Some(target)) {
            let set = objects.set(&entry.set);
            if let Some(present) = self.nft.element(&set, &entry.element)? {
                if !is_of(&present, self.owner) {
                    return Ok(Some(Conflict {
                        port: entry.what,
                        holder: present.comment.unwrap_or_default(),
                    }));
                }
                // Of an earlier ADD without a record, with another address.
                if !self.is_recorded && present.data != entry.element.data_bytes() {
                    self.batch.delete_elements(&set, [present.to_element(&set)]);
                }
            }
            self.put(&objects, entry);
        }
        for entry in objects.client_entries(Some(config), target) {
            let set = objects.set(&entry.set);
            // Left by a container that had the address before.
            if let Some(present) = self.nft.element(&set, &entry.element)?
                && !is_of(&present, self.owner)
            {
                self.batch.delete_elements(&set, [present.to_element(&set)]);
            }
            self.put(&objects, entry);
        }
        Ok(None)
    }

    fn put(&mut self, objects: &Objects, entry: Entry) {
        let note = note_of(self.owner);
        let element = entry.element.comment(&comment_of(self.owner));
        let element = element.note(note.as_bytes());
        self.batch.add_elements(&objects.set(&entry.set), [element]);
    }
}

/// Deletes the elements of an attachment. `targets`: the container's addresses, as far
/// as they are known.
pub(crate) fn delete(owner: &Owner, mappings: &[Mapping], targets: &[Cidr]) -> anyhow::Result<()> {
    let nft = Nft::open()?;
    nft.transaction(|nft| {
        let mut batch = Batch::new();
        if !delete_expected(nft, &mut batch, owner, mappings, targets)? {
            batch = Batch::new();
            delete_all(nft, &mut batch, owner)?;
        }
        Ok(batch)
    })
    .context(CANNOT_DELETE)?;
    Ok(())
}

/// Deletes the elements that an attachment should have. Returns `false` if there may be
/// others.
fn delete_expected(
    nft: &Nft,
    batch: &mut Batch,
    owner: &Owner,
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
                Some(present) if is_of(&present, owner) => {
                    batch.delete_elements(&set, [entry.element]);
                }
                _ => return Ok(false),
            }
        }
        for entry in objects.client_entries(None, *target) {
            let set = objects.set(&entry.set);
            if let Some(present) = nft.element(&set, &entry.element)?
                && is_of(&present, owner)
            {
                batch.delete_elements(&set, [entry.element]);
            }
        }
    }
    Ok(true)
}

fn delete_all(nft: &Nft, batch: &mut Batch, owner: &Owner) -> Result<(), Error> {
    delete_where(nft, batch, &|element| is_of(element, owner))
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

/// Deletes the elements of a network's attachments that are not valid.
pub(crate) fn collect(network: &str, valid: &[Owner]) -> anyhow::Result<()> {
    let is_stale = stale_labels(network, valid);
    let nft = Nft::open()?;
    nft.transaction(|nft| {
        let mut batch = Batch::new();
        delete_where(nft, &mut batch, &|element| {
            is_stale(element.comment.as_deref(), element.note.as_deref())
        })?;
        Ok(batch)
    })
    .context(CANNOT_DELETE)?;
    Ok(())
}

/// Returns whether the table of either family exists.
pub(crate) fn in_use(nft: &Nft) -> Result<bool, Error> {
    has_any(nft, FAMILIES.map(|family| Objects::of(family).table))
}
