//! The nftables backend: one table for both families, in which containers and bridges
//! are set elements. The number of rules does not depend on theirs.
//!
//! The comment of an element names its owner.

mod check;
mod labels;
mod objects;

pub(crate) use check::check;

use crate::attachment::Attachment;
use crate::config::{Config, Policy};
use cni_state::Owner;
use labels::{bridge_comment, comment, is_of_network, policy_of, tag};
use netfilter::Error;
use netfilter::nft::{Batch, Element, ElementInfo, Nft, Rule, RuleInfo, Set, Value, Verdict};
use objects::{
    BRIDGES, CONTAINERS, FORWARD, IPV4, IPV6, ISOLATION, TABLE, WITHIN, container_rules,
    forward_rules, isolation_rules, set_of,
};
use plugin_kit::names::network_prefix;
use std::net::IpAddr;

/// Accepts the traffic of the attachment's addresses (with `accept`), and enforces its
/// policy, in one transaction.
///
/// # Errors
/// The kernel's refusal.
pub(crate) fn add(config: &Config, attachment: &Attachment, accept: bool) -> Result<(), Error> {
    let comment = comment(&attachment.owner);
    let nft = Nft::open()?;
    nft.transaction(|nft| {
        let mut batch = Batch::new();
        batch.add_table(&TABLE);
        for set in [&IPV4, &IPV6, &BRIDGES, &WITHIN] {
            batch.add_set(set);
        }
        let admin = TABLE.chain(&config.admin_chain);
        for chain in [&FORWARD, &ISOLATION, &CONTAINERS, &admin] {
            batch.add_chain(chain);
        }
        ensure(&mut batch, &nft.rules(&FORWARD)?, &forward_rules());
        ensure(&mut batch, &nft.rules(&ISOLATION)?, &isolation_rules());
        let present = nft.rules(&CONTAINERS)?;
        ensure(&mut batch, &present, &container_rules());
        let jump = CONTAINERS.rule().jump(&config.admin_chain);
        if !is_ahead(&present, &jump) {
            delete_all(&mut batch, &present, &jump);
            batch.insert_rule(&jump);
        }
        for address in attachment.addresses.iter().filter(|_| accept) {
            let set = set_of(*address);
            let key = || Element::new(&[Value::Address(*address)]);
            let found = nft.element(set, &key())?;
            put(&mut batch, set, found, key().comment(&comment));
        }
        if let Some(bridge) = &attachment.bridge {
            isolate(nft, &mut batch, bridge, config.policy, &attachment.owner)?;
        }
        Ok(batch)
    })?;
    Ok(())
}

/// Makes sure that a chain has the rules in this order, without touching others.
fn ensure(batch: &mut Batch, present: &[RuleInfo], rules: &[Rule<'_>]) {
    if in_order(present, rules) {
        return;
    }
    for rule in rules {
        delete_all(batch, present, rule);
        batch.add_rule(rule);
    }
}

fn in_order(present: &[RuleInfo], rules: &[Rule<'_>]) -> bool {
    let mut rest = present.iter();
    rules
        .iter()
        .all(|rule| rest.any(|found| found.same_as(rule)))
}

/// Returns whether the jump to the administrator's chain precedes the rules that accept.
fn is_ahead(present: &[RuleInfo], jump: &Rule<'_>) -> bool {
    let accepting = container_rules();
    let first = present
        .iter()
        .find(|found| found.same_as(jump) || accepting.iter().any(|rule| found.same_as(rule)));
    first.is_some_and(|found| found.same_as(jump)) || {
        // There is no accepting rule yet: the jump may be anywhere.
        first.is_none() && present.iter().any(|found| found.same_as(jump))
    }
}

fn delete_all(batch: &mut Batch, present: &[RuleInfo], rule: &Rule<'_>) {
    for found in present.iter().filter(|found| found.same_as(rule)) {
        batch.delete_rule(&TABLE.chain(&found.chain), found.handle);
    }
}

/// Adds an element in place of the one that is `found`, which may be a former owner's.
fn put(batch: &mut Batch, set: &Set<'_>, found: Option<ElementInfo>, element: Element) {
    if let Some(found) = found {
        batch.delete_elements(set, [found.to_element(set)]);
    }
    batch.add_elements(set, [element]);
}

/// Enforces a policy on a bridge. A network's newer configuration replaces the older
/// one, but of two networks the stricter one applies.
fn isolate(
    nft: &Nft,
    batch: &mut Batch,
    bridge: &str,
    policy: Policy,
    owner: &Owner,
) -> Result<(), Error> {
    let name = Value::Interface(bridge);
    let member = nft.element(&BRIDGES, &Element::new(&[name]))?;
    let within = nft.element(&WITHIN, &Element::new(&[name, name]))?;
    let theirs = within.as_ref().and_then(policy_of);
    let is_own = within
        .as_ref()
        .is_some_and(|found| is_of_network(found, &owner.network));
    if member.is_some() && (theirs == Some(policy) || (theirs == Some(Policy::Isolated) && !is_own))
    {
        return Ok(());
    }
    let comment = bridge_comment(policy, &owner.network);
    put(batch, &BRIDGES, member, Element::new(&[name]));
    let verdict = match policy {
        Policy::Isolated => Verdict::Drop,
        Policy::SameBridge | Policy::Open => Verdict::Return,
    };
    let element = Element::new(&[name, name]).verdict(verdict);
    put(batch, &WITHIN, within, element.comment(&comment));
    Ok(())
}

/// Returns whether the sets contain an address of the attachment.
pub(crate) fn has_addresses(attachment: &Attachment) -> bool {
    let tag = tag(&attachment.owner);
    let Ok(nft) = Nft::open() else {
        return false;
    };
    attachment.addresses.iter().any(|address| {
        let key = Element::new(&[Value::Address(*address)]);
        let found = nft.element(set_of(*address), &key).ok().flatten();
        let comment = found.and_then(|found| found.comment);
        comment.is_some_and(|comment| comment.starts_with(&tag))
    })
}

/// Deletes the elements of these addresses that have the owner's comment (without
/// addresses, all that have it), and those of bridges that are `gone`.
///
/// # Errors
/// The kernel's refusal, other than for having no nf_tables.
pub(crate) fn del(owner: &Owner, addresses: &[IpAddr], gone: &[String]) -> Result<(), Error> {
    let tag = tag(owner);
    remove(|nft, batch| {
        for bridge in gone {
            let name = Value::Interface(bridge);
            for (set, key) in [
                (&BRIDGES, Element::new(&[name])),
                (&WITHIN, Element::new(&[name, name])),
            ] {
                if let Some(found) = nft.element(set, &key)? {
                    batch.delete_elements(set, [found.to_element(set)]);
                }
            }
        }
        if addresses.is_empty() {
            return delete_where(nft, batch, |comment| comment.starts_with(&tag));
        }
        for address in addresses {
            let set = set_of(*address);
            let found = nft.element(set, &Element::new(&[Value::Address(*address)]))?;
            let own = |found: &ElementInfo| {
                let comment = found.comment.as_deref();
                comment.is_some_and(|comment| comment.starts_with(&tag))
            };
            if let Some(found) = found.filter(own) {
                batch.delete_elements(set, [found.to_element(set)]);
            }
        }
        Ok(())
    })
}

/// Deletes the elements of a network's attachments other than `valid`, and those of
/// bridges that are `gone`.
///
/// # Errors
/// The kernel's refusal, other than for having no nf_tables.
pub(crate) fn gc(network: &str, valid: &[Owner], gone: impl Fn(&str) -> bool) -> Result<(), Error> {
    let network = network_prefix(network);
    let valid: Vec<String> = valid.iter().map(tag).collect();
    remove(|nft, batch| {
        delete_where(nft, batch, |comment| {
            comment.starts_with(&network) && !valid.iter().any(|tag| comment.starts_with(tag))
        })?;
        for set in [&BRIDGES, &WITHIN] {
            for found in elements(nft, set)? {
                if gone(&interface_name(&found.key)) {
                    batch.delete_elements(set, [found.to_element(set)]);
                }
            }
        }
        Ok(())
    })
}

/// Returns the interface name at the beginning of a key.
fn interface_name(key: &[u8]) -> String {
    let end = key.iter().position(|byte| *byte == 0).unwrap_or(key.len());
    String::from_utf8_lossy(&key[..end]).into_owned()
}

fn remove(mut choose: impl FnMut(&Nft, &mut Batch) -> Result<(), Error>) -> Result<(), Error> {
    let outcome = Nft::open().and_then(|nft| {
        nft.transaction(|nft| {
            let mut batch = Batch::new();
            if nft.has_table(&TABLE)? {
                choose(nft, &mut batch)?;
            }
            Ok(batch)
        })
    });
    match outcome {
        // Without nf_tables there are no elements.
        Err(error) if error.is_unsupported() => Ok(()),
        outcome => outcome.map(drop),
    }
}

fn delete_where(
    nft: &Nft,
    batch: &mut Batch,
    is_stale: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    for set in [&IPV4, &IPV6] {
        for found in elements(nft, set)? {
            if found.comment.as_deref().is_some_and(&is_stale) {
                batch.delete_elements(set, [found.to_element(set)]);
            }
        }
    }
    Ok(())
}

/// Returns the elements of a set; none if it does not exist.
fn elements(nft: &Nft, set: &Set<'_>) -> Result<Vec<ElementInfo>, Error> {
    match nft.elements(set) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        elements => elements,
    }
}
