//! `raGuard` and `dhcpGuard`: containers that announce themselves as routers or give
//! out addresses are not heard by anybody.
//!
//! One table for all bridges, in which each port is an element of a set: a frame
//! costs the same however many there are.

use crate::filters::is_asked_for;
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
/// Before the bridge and all others look at a frame.
const PREROUTING: Chain<'_> =
    TABLE.base_chain("prerouting", ChainType::Filter, Hook::Prerouting, -300);

/// `ND_ROUTER_ADVERT` (RFC 4861, section 4.2).
const ROUTER_ADVERTISEMENT: u8 = 134;
/// What servers send from (RFC 2131, section 4.1).
const DHCP_SERVER: u16 = 67;
/// What servers send from (RFC 8415, section 7.2).
const DHCPV6_SERVER: u16 = 547;

/// Topic of the filter record: the name of the guarded port.
const TOPIC: &str = "guard";

/// Which guards are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// `raGuard`: no router advertisements.
    pub ra: bool,
    /// `dhcpGuard`: no messages of DHCP servers.
    pub dhcp: bool,
}

fn rules() -> [Rule<'static>; 3] {
    let from = |set: &Set<'_>| PREROUTING.rule().in_set(&[Field::Iifname], set);
    [
        // Whatever the protocol is tested for last: frames may have a VLAN tag.
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

/// Whether these are the rules.
fn is_complete(present: &[RuleInfo]) -> bool {
    let wanted = rules();
    present.len() == wanted.len()
        && present
            .iter()
            .zip(&wanted)
            .all(|(rule, wanted)| rule.same_as(wanted))
}

/// Whether the kernel has the table, or would take it.
pub(crate) fn probe() -> anyhow::Result<()> {
    let probe = |nft: Nft| {
        // A transaction that is not to be carried out takes much longer than others.
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

impl Guard {
    /// Whether any is wanted.
    pub fn is_wanted(self) -> bool {
        self.ra || self.dhcp
    }

    fn sets(self) -> impl Iterator<Item = Set<'static>> {
        let both = [(self.ra, RA_PORTS), (self.dhcp, DHCP_PORTS)];
        both.into_iter()
            .filter(|(wanted, _)| *wanted)
            .map(|(_, set)| set)
    }

    /// Guards `port`.
    pub(crate) fn set_up<'u>(
        self,
        call: &'u Call,
        port: &Link,
        record: &mut FilterRecord,
        undo: &mut Undo<'u>,
    ) -> anyhow::Result<()> {
        record.begin();
        undo.push("remove the guards of the port", move || {
            tear_down(&Nft::open()?, call, &FilterRecord::of(call))
        });
        let whose = names::attachment_hash(&call.name, &call.container_id, &call.if_name);
        let add = |nft: &Nft, is_complete: bool| {
            let mut batch = Batch::new();
            if !is_complete {
                add_table(&mut batch);
            }
            for set in self.sets() {
                batch.add_elements(&set, [element(&port.name).comment(&whose)]);
            }
            nft.commit(&batch)
        };
        let guard = |nft: Nft| {
            // Whoever deletes rules waits, when it closes its socket, until nobody can
            // be using them any more.
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

    /// Compares what is guarded with what should be.
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

fn element(port: &str) -> Element<'static> {
    Element::new(&[Value::Interface(port)])
}

/// Whether an attachment has, or may have, guards.
pub(crate) fn concerns(call: &Call, record: &FilterRecord) -> bool {
    is_asked_for(call, "raGuard") || is_asked_for(call, "dhcpGuard") || record.get(TOPIC).is_some()
}

/// Removes the guards of the attachment that `call` is about.
pub(crate) fn tear_down(nft: &Nft, call: &Call, record: &FilterRecord) -> anyhow::Result<()> {
    let whose = names::attachment_hash(&call.name, &call.container_id, &call.if_name);
    let noted = record.get(TOPIC);
    let port = noted.as_ref().and_then(|words| words.first());
    let done = match port {
        Some(port) => remove_port(nft, port),
        None => remove(nft, |comment| comment == whose),
    };
    match done {
        Err(e) if !e.is_unsupported() => Err(e).context("failed to remove the guards of the port"),
        _ => Ok(()),
    }
}

/// GC: removes the guards of all attachments of a network but the valid ones.
/// `network` is what the comments of the network begin with.
pub(crate) fn collect(network: &str, valid: &[String]) -> anyhow::Result<()> {
    let is_dead =
        |comment: &str| comment.starts_with(network) && !valid.iter().any(|whose| whose == comment);
    match Nft::open().and_then(|nft| remove(&nft, is_dead)) {
        Err(e) if !e.is_unsupported() => Err(e).context("failed to collect guards of ports"),
        _ => Ok(()),
    }
}

fn remove_port(nft: &Nft, port: &str) -> Result<(), netfilter::Error> {
    nft.transaction(|nft| {
        let mut batch = Batch::new();
        for set in [RA_PORTS, DHCP_PORTS] {
            if nft.element(&set, &element(port))?.is_some() {
                batch.delete_elements(&set, [element(port)]);
            }
        }
        Ok(batch)
    })?;
    Ok(())
}

fn remove(nft: &Nft, is_doomed: impl Fn(&str) -> bool) -> Result<(), netfilter::Error> {
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
            let doomed: Vec<Element<'_>> = elements
                .iter()
                .filter(|element| element.comment.as_deref().is_some_and(&is_doomed))
                .map(|element| element.to_element(&set))
                .collect();
            if !doomed.is_empty() {
                batch.delete_elements(&set, doomed);
            }
        }
        Ok(batch)
    })?;
    Ok(())
}
