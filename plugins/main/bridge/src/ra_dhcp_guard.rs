//! `raGuard` and `dhcpGuard`: drops router advertisements and DHCP server messages of
//! containers where they enter the bridge.
//!
//! One table serves all bridges. Each guarded port is an element of a set, so that the
//! cost of a frame does not depend on their number.

use crate::config::may_ask_for;
use anyhow::{Context, bail};
use cni_core::Call;
use netfilter::nft::{
    Batch, Chain, ChainType, Element, Family, Field, Hook, Nft, Protocol, Rule, RuleInfo, Set,
    Table, Type, Value,
};
use plugin_kit::{FilterRecord, Undo, names};
use rtnl::Link;

const TABLE: Table<'_> = Table::new(Family::Bridge, "cni_port_guard")
    .with_comment("Ports of containers that may be neither routers nor DHCP servers");
const RA_PORTS: Set<'_> = TABLE.set("ra_ports", &[Type::Interface]);
const DHCP_PORTS: Set<'_> = TABLE.set("dhcp_ports", &[Type::Interface]);
/// Runs before the bridge's own rules and those of spoof checks.
const PREROUTING: Chain<'_> =
    TABLE.base_chain("prerouting", ChainType::Filter, Hook::Prerouting, -300);

/// `ND_ROUTER_ADVERT` (RFC 4861, section 4.2).
const ROUTER_ADVERTISEMENT: u8 = 134;
/// The port that servers send from (RFC 2131, section 4.1).
const DHCP_SERVER: u16 = 67;
/// The port that servers send from (RFC 8415, section 7.2).
const DHCPV6_SERVER: u16 = 547;

/// Topic of the filter record: the name of the guarded port.
const TOPIC: &str = "guard";

/// The guards that are configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guards {
    /// `raGuard`: no router advertisements.
    pub ra: bool,
    /// `dhcpGuard`: no messages of DHCP servers.
    pub dhcp: bool,
}

fn rules() -> [Rule<'static>; 3] {
    let from = |set: &Set<'_>| PREROUTING.rule().in_set(&[Field::Iifname], set);
    [
        from(&RA_PORTS)
            .protocol(Protocol::Icmpv6)
            .icmpv6_type(ROUTER_ADVERTISEMENT)
            .drop(),
        from(&DHCP_PORTS).sport(Protocol::Udp, DHCP_SERVER).drop(),
        from(&DHCP_PORTS).sport(Protocol::Udp, DHCPV6_SERVER).drop(),
    ]
}

fn add_table(batch: &mut Batch) {
    batch.add_table(&TABLE);
    batch.add_set(&RA_PORTS).add_set(&DHCP_PORTS);
    batch.add_chain(&PREROUTING).flush_chain(&PREROUTING);
    for rule in rules() {
        batch.add_rule(&rule);
    }
}

/// Whether the rules of the chain are those of this version.
fn is_complete(present: &[RuleInfo]) -> bool {
    let wanted = rules();
    present.len() == wanted.len()
        && present
            .iter()
            .zip(&wanted)
            .all(|(rule, wanted)| rule.same_as(wanted))
}

/// Whether the kernel has the table, or could create it.
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
        add_table(&mut batch);
        nft.check(&batch)
    };
    Nft::open()
        .and_then(probe)
        .context("raGuard and dhcpGuard need nftables for bridges in the kernel")
}

impl Guards {
    /// Whether any is configured.
    pub(crate) fn any(self) -> bool {
        self.ra || self.dhcp
    }

    fn sets(self) -> impl Iterator<Item = Set<'static>> {
        let both = [(self.ra, RA_PORTS), (self.dhcp, DHCP_PORTS)];
        both.into_iter()
            .filter(|(wanted, _)| *wanted)
            .map(|(_, set)| set)
    }

    /// Adds `port` to the sets of the guards, and creates the table if need be.
    pub(crate) fn create<'u>(
        self,
        call: &'u Call,
        port: &Link,
        record: &mut FilterRecord,
        undo: &mut Undo<'u>,
    ) -> anyhow::Result<()> {
        record.begin();
        undo.push("delete the guards of the port", move || {
            delete(&Nft::open()?, call, &FilterRecord::of(call))
        });
        let comment = comment(call);
        let add = |nft: &Nft, is_complete: bool| {
            let mut batch = Batch::new();
            if !is_complete {
                add_table(&mut batch);
            }
            for set in self.sets() {
                batch.add_elements(&set, [element(&port.name).comment(&comment)]);
            }
            nft.commit(&batch)
        };
        let guard = |nft: Nft| {
            // A socket that deleted rules waits for an RCU grace period when it is closed.
            let is_complete = is_complete(&nft.rules(&PREROUTING)?);
            match add(&nft, is_complete) {
                Err(e) if is_complete && e.is_not_found() => add(&nft, false),
                added => added,
            }
        };
        Nft::open()
            .and_then(guard)
            .with_context(|| format!("failed to guard port {}", port.name))?;
        record.set(TOPIC, std::slice::from_ref(&port.name));
        Ok(())
    }

    /// Compares the rules and the elements of `port`.
    pub(crate) fn check(self, port: &Link) -> anyhow::Result<()> {
        let nft = Nft::open()?;
        if !is_complete(&nft.rules(&PREROUTING)?) {
            bail!(
                "chain {} of the bridge's nftables table {} is not as it should be",
                PREROUTING.name,
                TABLE.name
            );
        }
        for set in self.sets() {
            if nft.element(&set, &element(&port.name))?.is_none() {
                bail!(
                    "interface {} not found in set {} of the bridge's nftables table {}",
                    port.name,
                    set.name,
                    TABLE.name
                );
            }
        }
        Ok(())
    }
}

fn element(port: &str) -> Element {
    Element::new(&[Value::Interface(port)])
}

/// The comment of an attachment's elements.
fn comment(call: &Call) -> String {
    names::attachment_hash(&call.name, &call.container_id, &call.if_name)
}

/// Whether an attachment has, or may have, guards.
pub(crate) fn concerns(call: &Call, record: &FilterRecord) -> bool {
    may_ask_for(call, "raGuard") || may_ask_for(call, "dhcpGuard") || record.get(TOPIC).is_some()
}

/// Deletes the elements of the attachment that `call` is about.
pub(crate) fn delete(nft: &Nft, call: &Call, record: &FilterRecord) -> anyhow::Result<()> {
    let comment = comment(call);
    let words = record.get(TOPIC).unwrap_or_default();
    let deleted = match words.first() {
        Some(port) => delete_port(nft, port, &comment),
        None => delete_elements(nft, |other| other == comment),
    };
    match deleted {
        Err(e) if !e.is_unsupported() => Err(e).context("failed to delete the guards of the port"),
        _ => Ok(()),
    }
}

/// GC: deletes the elements of a network's attachments except the `valid` ones.
/// Comments of the network's attachments begin with `network`.
pub(crate) fn collect(network: &str, valid: &[String]) -> anyhow::Result<()> {
    let is_stale =
        |comment: &str| comment.starts_with(network) && !valid.iter().any(|valid| valid == comment);
    match Nft::open().and_then(|nft| delete_elements(&nft, is_stale)) {
        Err(e) if !e.is_unsupported() => Err(e).context("failed to collect guards of ports"),
        _ => Ok(()),
    }
}

/// Deletes the elements of `port` that have `comment`. The name may be another link's by
/// now, whose elements stay.
fn delete_port(nft: &Nft, port: &str, comment: &str) -> Result<(), netfilter::Error> {
    nft.transaction(|nft| {
        let mut batch = Batch::new();
        for set in [RA_PORTS, DHCP_PORTS] {
            let present = nft.element(&set, &element(port))?;
            if present.is_some_and(|present| present.comment.as_deref() == Some(comment)) {
                batch.delete_elements(&set, [element(port)]);
            }
        }
        Ok(batch)
    })?;
    Ok(())
}

/// Deletes the elements whose comment `is_stale`.
fn delete_elements(nft: &Nft, is_stale: impl Fn(&str) -> bool) -> Result<(), netfilter::Error> {
    if !nft.has_table(&TABLE)? {
        return Ok(());
    }
    nft.transaction(|nft| {
        let mut batch = Batch::new();
        for set in [RA_PORTS, DHCP_PORTS] {
            let elements = match nft.elements(&set) {
                Err(e) if e.is_not_found() => continue,
                found => found?,
            };
            let stale: Vec<Element> = elements
                .iter()
                .filter(|element| element.comment.as_deref().is_some_and(&is_stale))
                .map(|element| element.to_element(&set))
                .collect();
            if !stale.is_empty() {
                batch.delete_elements(&set, stale);
            }
        }
        Ok(batch)
    })?;
    Ok(())
}
