//! The nftables backend: one table for both families, in which containers and
//! bridges are elements of sets. A packet passes the same few rules however many
//! there are, and so does an ADD or DEL.
//!
//! What is whose is told by the elements' comments.

use crate::attachment::Attachment;
use crate::config::{Config, Policy};
use anyhow::bail;
use cni_state::Owner;
use netfilter::Error;
use netfilter::nft::{
    Batch, COMMENT_MAX, Chain, ChainType, CtState, Element, ElementInfo, Family, Field, Hook, Nft,
    Rule, RuleInfo, Set, Table, Type, Value, Verdict,
};
use std::net::IpAddr;

/// The table. It stays, as an administrator may have filled its chain.
const TABLE: Table<'_> =
    Table::new(Family::Inet, "cni_firewall").with_comment("CNI firewall plugin");

/// Where packets come in, in the place of iptables' FORWARD.
const FORWARD: Chain<'_> = TABLE.base_chain("forward", ChainType::Filter, Hook::Forward, 0);
/// The policies of bridges.
const ISOLATION: Chain<'_> = TABLE.chain("isolation");
/// The administrator's chain, then the containers.
const CONTAINERS: Chain<'_> = TABLE.chain("containers");

const IPV4: Set<'_> = TABLE.set("container_ipv4", &[Type::Ipv4Addr]);
const IPV6: Set<'_> = TABLE.set("container_ipv6", &[Type::Ipv6Addr]);
/// Bridges that have a policy: none of them reaches another.
const BRIDGES: Set<'_> = TABLE.set("bridges", &[Type::Interface]);
/// What happens within each of them.
const WITHIN: Set<'_> = TABLE.verdict_map("within_bridges", &[Type::Interface, Type::Interface]);

fn set_of(address: IpAddr) -> &'static Set<'static> {
    match address {
        IpAddr::V4(_) => &IPV4,
        IpAddr::V6(_) => &IPV6,
    }
}

/// The rules of the shared chains, each in its order.
fn forward_rules() -> [Rule<'static>; 2] {
    [
        FORWARD.rule().jump(ISOLATION.name),
        FORWARD.rule().jump(CONTAINERS.name),
    ]
}

fn isolation_rules() -> [Rule<'static>; 2] {
    let ends = [Field::Iifname, Field::Oifname];
    [
        ISOLATION.rule().vmap(&ends, &WITHIN),
        ISOLATION
            .rule()
            .in_set(&[Field::Iifname], &BRIDGES)
            .in_set(&[Field::Oifname], &BRIDGES)
            .drop(),
    ]
}

fn container_rules() -> [Rule<'static>; 4] {
    let of = |source, destination, set| {
        let answered = CtState::RELATED | CtState::ESTABLISHED;
        let rule = CONTAINERS.rule().in_set(&[destination], set);
        [
            rule.ct_state(answered).accept(),
            CONTAINERS.rule().in_set(&[source], set).accept(),
        ]
    };
    let [to4, from4] = of(Field::Ipv4Saddr, Field::Ipv4Daddr, &IPV4);
    let [to6, from6] = of(Field::Ipv6Saddr, Field::Ipv6Daddr, &IPV6);
    [to4, from4, to6, from6]
}

/// Lets the traffic of the attachment's addresses through (with `accept`), and
/// enforces its policy, or makes no change.
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

/// Has the rules in a chain, in their order, without touching others.
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

/// Whether the jump to the administrator's chain comes before the rules that accept.
fn is_ahead(present: &[RuleInfo], jump: &Rule<'_>) -> bool {
    let accepting = container_rules();
    let first = present
        .iter()
        .find(|found| found.same_as(jump) || accepting.iter().any(|rule| found.same_as(rule)));
    first.is_some_and(|found| found.same_as(jump)) || {
        // Nothing accepts yet: the jump may be anywhere.
        first.is_none() && present.iter().any(|found| found.same_as(jump))
    }
}

fn delete_all(batch: &mut Batch, present: &[RuleInfo], rule: &Rule<'_>) {
    for found in present.iter().filter(|found| found.same_as(rule)) {
        batch.delete_rule(&TABLE.chain(&found.chain), found.handle);
    }
}

/// Adds an element. One with another comment is its predecessor's, whose the address
/// or bridge is no longer.
fn put(batch: &mut Batch, set: &Set<'_>, found: Option<ElementInfo>, element: Element<'_>) {
    if let Some(found) = found {
        batch.delete_elements(set, [found.to_element(set)]);
    }
    batch.add_elements(set, [element]);
}

/// Enforces a policy on a bridge. If it has another one, the newer configuration of
/// a network replaces the older, but between two networks the stricter one counts.
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

/// The comment of a bridge's element: its policy, and the network that has it.
fn bridge_comment(policy: Policy, network: &str) -> String {
    let text = format!(
        "{}, {:016x}, net: {network}",
        policy.as_str(),
        hash(&[network])
    );
    cut(text)
}

fn policy_of(element: &ElementInfo) -> Option<Policy> {
    let name = element.comment.as_deref()?.split(',').next()?;
    Policy::from_name(name)
}

fn is_of_network(element: &ElementInfo, network: &str) -> bool {
    let hash = format!("{:016x}", hash(&[network]));
    let comment = element.comment.as_deref().unwrap_or_default();
    comment.split(", ").nth(1) == Some(&hash)
}

/// Whether an address of the attachment is let through here.
pub(crate) fn is_served(attachment: &Attachment) -> bool {
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

/// Takes back what [`add`] did for these addresses of the owner (without any address,
/// all that bears the owner's comment), and for bridges that are gone.
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

/// Removes the elements of a network's attachments other than `valid`, and bridges
/// that are `gone`.
///
/// # Errors
/// The kernel's refusal, other than for having no nf_tables.
pub(crate) fn gc(network: &str, valid: &[Owner], gone: impl Fn(&str) -> bool) -> Result<(), Error> {
    let network = network_tag(network);
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

/// The name that a key begins with.
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
        // Where it cannot be, it is not.
        Err(error) if error.is_unsupported() => Ok(()),
        outcome => outcome.map(drop),
    }
}

fn delete_where(nft: &Nft, batch: &mut Batch, doomed: impl Fn(&str) -> bool) -> Result<(), Error> {
    for set in [&IPV4, &IPV6] {
        for found in elements(nft, set)? {
            if found.comment.as_deref().is_some_and(&doomed) {
                batch.delete_elements(set, [found.to_element(set)]);
            }
        }
    }
    Ok(())
}

/// The elements of a set; none if it does not exist.
fn elements(nft: &Nft, set: &Set<'_>) -> Result<Vec<ElementInfo>, Error> {
    match nft.elements(set) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        elements => elements,
    }
}

/// Whether everything is as [`add`] made it.
///
/// # Errors
/// At the first thing that differs.
pub(crate) fn check(config: &Config, attachment: &Attachment, accept: bool) -> anyhow::Result<()> {
    let nft = Nft::open()?;
    match nft.chain(&FORWARD)? {
        Some(found)
            if found.base.map(|b| (b.hook, b.kind)) == FORWARD.base.map(|b| (b.hook, b.kind)) => {}
        Some(_) => {
            bail!("chain forward of table inet cni_firewall is no longer where packets pass")
        }
        None => bail!("chain forward of table inet cni_firewall not found"),
    }
    let containers = nft.rules(&CONTAINERS)?;
    for (chain, present, rules) in [
        (FORWARD, &nft.rules(&FORWARD)?, forward_rules().to_vec()),
        (
            ISOLATION,
            &nft.rules(&ISOLATION)?,
            isolation_rules().to_vec(),
        ),
        (CONTAINERS, &containers, container_rules().to_vec()),
    ] {
        if !in_order(present, &rules) {
            bail!(
                "chain {} of table inet cni_firewall lacks a rule of the firewall plugin, \
                 or has them in another order",
                chain.name
            );
        }
    }
    if !is_ahead(&containers, &CONTAINERS.rule().jump(&config.admin_chain)) {
        bail!(
            "chain containers of table inet cni_firewall does not begin with the jump to {}",
            config.admin_chain
        );
    }
    let tag = tag(&attachment.owner);
    for address in attachment.addresses.iter().filter(|_| accept) {
        let set = set_of(*address);
        let found = nft.element(set, &Element::new(&[Value::Address(*address)]))?;
        let Some(found) = found else {
            bail!(
                "address {address} not found in set {} of table inet cni_firewall",
                set.name
            );
        };
        let comment = found.comment.unwrap_or_default();
        if !comment.starts_with(&tag) {
            bail!(
                "address {address} in set {} of table inet cni_firewall is that of another \
                 attachment ({comment:?})",
                set.name
            );
        }
    }
    match &attachment.bridge {
        Some(bridge) => check_policy(&nft, bridge, config.policy),
        None => Ok(()),
    }
}

/// Whether the part of a policy is as it was made.
fn check_policy(nft: &Nft, bridge: &str, policy: Policy) -> anyhow::Result<()> {
    let name = Value::Interface(bridge);
    if nft.element(&BRIDGES, &Element::new(&[name]))?.is_none() {
        bail!("bridge {bridge} not found in set bridges of table inet cni_firewall");
    }
    let within = nft.element(&WITHIN, &Element::new(&[name, name]))?;
    let Some(found) = within.as_ref().and_then(policy_of) else {
        bail!("bridge {bridge} not found in map within_bridges of table inet cni_firewall");
    };
    // Another network on the bridge may have a stricter one.
    if found != policy && found != Policy::Isolated {
        bail!(
            "bridge {bridge} has ingress policy {} in table inet cni_firewall, configured is {}",
            found.as_str(),
            policy.as_str()
        );
    }
    Ok(())
}

/// The comment of an attachment's elements: first what it is found by, then what an
/// administrator reads, as far as there is room.
fn comment(owner: &Owner) -> String {
    let Owner {
        network,
        container_id,
        if_name,
    } = owner;
    cut(format!(
        "{}, net: {network}, if: {if_name}, id: {container_id}",
        tag(owner)
    ))
}

fn network_tag(network: &str) -> String {
    format!("{:016x}-", hash(&[network]))
}

/// What the comment of an attachment's elements begins with.
fn tag(owner: &Owner) -> String {
    let attachment = hash(&[&owner.container_id, &owner.if_name]);
    format!("{}{attachment:016x}", network_tag(&owner.network))
}

fn cut(mut text: String) -> String {
    while text.len() > COMMENT_MAX {
        text.pop();
    }
    text
}

/// FNV-1a of 64 bits; a zero byte, which no name has, between the parts.
fn hash(parts: &[&str]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(BASIS, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    })
}
