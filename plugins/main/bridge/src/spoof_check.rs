//! `macspoofchk`: drops frames of a container with another source MAC address than its own
//! where they enter the bridge.
//!
//! Table, chains, rules and comments are upstream's.

use crate::config::may_ask_for;
use anyhow::{Context, bail};
use cni_core::{Call, Code, Error};
use netfilter::nft::{
    Batch, COMMENT_MAX, Chain, ChainType, Family, Hook, Nft, Policy, Rule, RuleInfo, Table,
};
use plugin_kit::{FilterRecord, Undo};
use rtnl::{Handle, Link};

const TABLE: Table<'_> = Table::new(Family::Bridge, "nat");
/// `NF_BR_PRI_NAT_DST_BRIDGED`.
const PREROUTING: Chain<'_> = TABLE
    .base_chain("PREROUTING", ChainType::Filter, Hook::Prerouting, -300)
    .with_policy(Policy::Accept);

/// Topic of the filter record: handle and reference.
const TOPIC: &str = "macspoofchk";

/// Prefix of the comments of the rules.
const COMMENT_PREFIX: &str = "macspoofchk-";

/// Names of the objects of one attachment.
struct Names {
    comment: String,
    port_chain: String,
    mac_chain: String,
}

impl Names {
    /// `reference` is the container's ID, a dash, and its interface.
    fn new(reference: &str) -> Names {
        Names {
            comment: format!("{COMMENT_PREFIX}{reference}"),
            port_chain: format!("cni-br-iface-{reference}"),
            mac_chain: format!("cni-br-iface-{reference}-mac"),
        }
    }

    fn chains(&self) -> [Chain<'_>; 2] {
        [TABLE.chain(&self.port_chain), TABLE.chain(&self.mac_chain)]
    }

    /// The rules, in the order in which they are added.
    fn rules(&self, port: &str, mac: [u8; 6]) -> [Rule<'_>; 4] {
        let [port_chain, mac_chain] = self.chains();
        [
            PREROUTING.rule().iifname(port).jump(&self.port_chain),
            port_chain.rule().jump(&self.mac_chain),
            mac_chain.rule().ether_saddr(mac).return_(),
            mac_chain.rule().drop(),
        ]
        .map(|rule| rule.comment(&self.comment))
    }
}

fn reference(call: &Call) -> String {
    format!("{}-{}", call.container_id, call.if_name)
}

/// Refuses a container ID that fits no comment, and a kernel without support, before any
/// change.
pub(crate) fn require(call: &Call) -> anyhow::Result<()> {
    let names = Names::new(&reference(call));
    if names.comment.len() > COMMENT_MAX {
        let room = COMMENT_MAX - COMMENT_PREFIX.len() - 1 - call.if_name.len();
        let msg = format!(
            "container ID of {} bytes is too long for macspoofchk (at most {room})",
            call.container_id.len()
        );
        return Err(Error::new(Code::INVALID_ENVIRONMENT, msg).into());
    }
    probe()
}

/// Whether the kernel has the base chain, or could create it.
///
/// # Errors
/// Why it could not.
pub(crate) fn probe() -> anyhow::Result<()> {
    let probe = |nft: Nft| {
        // Checking a transaction waits for an RCU grace period.
        if nft.chain(&PREROUTING)?.is_some() {
            return Ok(());
        }
        let mut batch = Batch::new();
        batch.add_table(&TABLE).add_chain(&PREROUTING);
        nft.check(&batch)
    };
    Nft::open()
        .and_then(probe)
        .context("macspoofchk needs nftables for bridges in the kernel")
}

/// Creates the rules for the container behind `port`.
pub(crate) fn create<'u>(
    call: &'u Call,
    port: &Link,
    inside: &Link,
    record: &mut FilterRecord,
    undo: &mut Undo<'u>,
) -> anyhow::Result<()> {
    let reference = reference(call);
    let names = Names::new(&reference);
    let mac = mac(inside)?;
    record.begin();
    undo.push("delete the spoof check", move || {
        delete(&Nft::open()?, call, &FilterRecord::of(call))
    });
    let added = Nft::open()
        .and_then(|nft| nft.transaction(|nft| creation(nft, &names, &port.name, mac)))
        .context("failed to setup spoof-check")?;
    let handle = added.first().map(|rule| rule.handle.to_string());
    record.set(TOPIC, &[handle.unwrap_or_default(), reference]);
    Ok(())
}

/// The batch that creates the rules, and replaces those of an earlier attachment.
fn creation(nft: &Nft, names: &Names, port: &str, mac: [u8; 6]) -> Result<Batch, netfilter::Error> {
    let mut batch = Batch::new();
    // A socket that adds a chain that exists waits for an RCU grace period when it is closed.
    if nft.chain(&PREROUTING)?.is_none() {
        batch.add_table(&TABLE).add_chain(&PREROUTING);
    }
    // Without its chain an attachment has no rules.
    let is_new = nft.chain(&names.chains()[0])?.is_none();
    if !is_new {
        for stale in jumps(nft, names)? {
            batch.delete_rule(&PREROUTING, stale.handle);
        }
    }
    for chain in names.chains() {
        batch.add_chain(&chain);
        if !is_new {
            batch.flush_chain(&chain);
        }
    }
    batch.echo();
    for rule in names.rules(port, mac) {
        batch.add_rule(&rule);
    }
    Ok(batch)
}

fn mac(link: &Link) -> anyhow::Result<[u8; 6]> {
    let mac = link.mac.as_slice().try_into();
    mac.with_context(|| format!("{} has no Ethernet address", link.name))
}

/// The rules that lead to the chains of an attachment.
fn jumps(nft: &Nft, names: &Names) -> Result<Vec<RuleInfo>, netfilter::Error> {
    nft.find_rules(&PREROUTING, |rule| {
        rule.comment == Some(names.comment.as_str())
    })
}

/// Whether an attachment has, or may have, a spoof check.
pub(crate) fn concerns(call: &Call, record: &FilterRecord) -> bool {
    may_ask_for(call, "macspoofchk") || record.get(TOPIC).is_some()
}

/// Deletes the rules and chains of the attachment that `call` is about.
pub(crate) fn delete(nft: &Nft, call: &Call, record: &FilterRecord) -> anyhow::Result<()> {
    let words = record.get(TOPIC).unwrap_or_default();
    let handle = words.first().and_then(|word| word.parse().ok());
    match delete_rules(nft, &reference(call), handle) {
        Err(e) if !e.is_unsupported() => Err(e).context("failed to teardown spoof-check"),
        _ => Ok(()),
    }
}

/// `recorded` is the handle of the rule that jumps to the chains, if it is known.
fn delete_rules(nft: &Nft, reference: &str, recorded: Option<u64>) -> Result<(), netfilter::Error> {
    let names = Names::new(reference);
    let is_own = |rule: &RuleInfo| rule.comment.as_ref() == Some(&names.comment);
    nft.transaction(|nft| {
        let mut chains = Vec::new();
        for chain in names.chains() {
            if nft.chain(&chain)?.is_some() {
                chains.push(chain);
            }
        }
        let mut batch = Batch::new();
        if chains.is_empty() {
            return Ok(batch);
        }
        let known = match recorded {
            Some(handle) => nft.rule(&PREROUTING, handle)?.filter(is_own),
            None => None,
        };
        let stale = match known {
            Some(rule) => vec![rule],
            None => jumps(nft, &names)?,
        };
        for rule in stale {
            batch.delete_rule(&PREROUTING, rule.handle);
        }
        for chain in &chains {
            batch.flush_chain(chain);
        }
        for chain in &chains {
            batch.delete_chain(chain);
        }
        Ok(batch)
    })?;
    Ok(())
}

/// Compares the rules with those that ADD creates.
pub(crate) fn check(call: &Call, port: &Link, inside: &Link) -> anyhow::Result<()> {
    let names = Names::new(&reference(call));
    let nft = Nft::open()?;
    let wanted = names.rules(&port.name, mac(inside)?);
    let [port_chain, mac_chain] = names.chains();
    let [to_port, to_mac, own, other] = &wanted;
    let present = jumps(&nft, &names)?;
    if !present.iter().any(|rule| rule.same_as(to_port)) {
        bail!(
            "spoof-check of interface {} not found in chain {} of the bridge's nftables table nat",
            port.name,
            PREROUTING.name
        );
    }
    for (chain, wanted) in [(port_chain, vec![to_mac]), (mac_chain, vec![own, other])] {
        let present = nft.rules(&chain)?;
        let same = present.len() == wanted.len()
            && present
                .iter()
                .zip(wanted)
                .all(|(rule, wanted)| rule.same_as(wanted));
        if !same {
            bail!(
                "spoof-check of interface {}: chain {} of the bridge's nftables table nat is not \
                 as it should be for {}",
                port.name,
                chain.name,
                inside.mac_string()
            );
        }
    }
    Ok(())
}

/// GC: deletes the rules of the attachments whose records are `stale`, and those of ports
/// that are gone, whatever network they belonged to: neither rules nor chains name it.
pub(crate) fn collect(host: &Handle, stale: &[FilterRecord]) -> anyhow::Result<()> {
    match Nft::open().and_then(|nft| collect_with(&nft, host, stale)) {
        Err(e) if !e.is_unsupported() => Err(e).context("failed to collect spoof-checks"),
        _ => Ok(()),
    }
}

fn collect_with(nft: &Nft, host: &Handle, stale: &[FilterRecord]) -> Result<(), netfilter::Error> {
    for record in stale {
        if let Some([handle, reference]) = record.get(TOPIC).as_deref() {
            delete_rules(nft, reference, handle.parse().ok())?;
        }
    }
    let checks = nft.find_rules(&PREROUTING, |rule| {
        rule.comment
            .is_some_and(|text| text.starts_with(COMMENT_PREFIX))
    })?;
    for rule in checks {
        let gone = rule
            .iifname()
            .is_some_and(|port| host.link_by_name(&port).is_err_and(|e| e.is_not_found()));
        let reference = rule
            .comment
            .as_deref()
            .and_then(|c| c.strip_prefix(COMMENT_PREFIX));
        if let (true, Some(reference)) = (gone, reference) {
            // Not those of a new attachment of the same name: it has replaced this rule.
            delete_rules(nft, reference, None)?;
        }
    }
    Ok(())
}
