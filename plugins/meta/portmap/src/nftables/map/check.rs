//! CHECK of the elements of one attachment and of the rules that all attachments share.

use super::super::{family, rules_are};
use super::is_of;
use super::objects::{NAME, Objects};
use crate::config::Config;
use anyhow::bail;
use cni_core::Cidr;
use cni_core::quote::quote;
use cni_state::Owner;
use netfilter::nft::Nft;

/// Compares the elements of an attachment, and the rules that all share, with what ADD
/// makes.
///
/// # Errors
/// At the first difference.
pub(crate) fn check(owner: &Owner, config: &Config, targets: &[Cidr]) -> anyhow::Result<()> {
    let nft = Nft::open()?;
    for target in targets {
        let objects = Objects::of(family(target.is_ipv4()));
        let table = format!("table {} {NAME}", objects.table.family.as_str());
        check_elements(&nft, &objects, owner, config, *target, &table)?;
        check_rules(&nft, &objects, target.prefix(), &table)?;
    }
    Ok(())
}

fn check_elements(
    nft: &Nft,
    objects: &Objects,
    owner: &Owner,
    config: &Config,
    target: Cidr,
    table: &str,
) -> anyhow::Result<()> {
    for entry in objects.mapping_entries(&config.mappings, Some(target)) {
        let present = nft.element(&objects.set(&entry.set), &entry.element)?;
        let is_right = present.is_some_and(|present| {
            is_of(&present, owner) && present.data == entry.element.data_bytes()
        });
        if !is_right {
            bail!(
                "map {} of {table} does not map {} to the container",
                quote(&entry.set),
                entry.what
            );
        }
    }
    for entry in objects.client_entries(Some(config), target) {
        let present = nft.element(&objects.set(&entry.set), &entry.element)?;
        if present.is_none() {
            bail!(
                "set {} of {table} does not contain the container, so {} are not masqueraded",
                quote(&entry.set),
                entry.what
            );
        }
    }
    Ok(())
}

fn check_rules(nft: &Nft, objects: &Objects, prefix: u8, table: &str) -> anyhow::Result<()> {
    for (chain, rules) in &objects.fixed_rules() {
        if !rules_are(&nft.rules(chain)?, rules) {
            bail!(
                "chain {} of {table} has other rules than the plugin's",
                quote(chain.name)
            );
        }
    }
    let present = nft.rules(&objects.clients)?;
    let mut rules = objects.client_rules();
    rules.push(objects.network_rule(prefix));
    let is_present = |rule| present.iter().any(|found| found.same_as(rule));
    if !rules.iter().all(is_present) {
        bail!("chain \"clients\" of {table} lacks a rule of the plugin");
    }
    Ok(())
}
