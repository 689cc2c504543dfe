//! Mappings as elements of maps: however many there are, a packet is looked up
//! once, and adding or removing one costs the same.
//!
//! In a table of its own, as upstream would not find the elements.

use super::{Bases, FAMILIES, are, family, has_table};
use crate::attachment::{Attachment, note_of_network, socket};
use crate::config::{Config, Mapping};
use anyhow::{Context, anyhow};
use cni_core::Cidr;
use cni_core::quote::quote;
use netfilter::Error;
use netfilter::nft::{
    Batch, Chain, CtStatus, Element, ElementInfo, Family, Field, NatFlags, Nft, Rule, Set, Table,
    Type, Value,
};
use std::net::{IpAddr, Ipv4Addr};

const NAME: &str = "cni_portmap";

/// The objects of one family.
struct Objects {
    table: Table<'static>,
    ipv4: bool,
    bases: Bases,
    /// Looks destinations up.
    mappings: Chain<'static>,
    /// Looks at where mapped connections come from.
    clients: Chain<'static>,
    /// Mappings of one address of the host.
    by_address: Set<'static>,
    /// Mappings of all addresses.
    by_port: Set<'static>,
    /// Containers that localhost reaches.
    from_localhost: Set<'static>,
    /// Containers all of whose clients are masqueraded.
    from_anywhere: Set<'static>,
}

/// An element of a set, by the set's name: sets of networks come and go.
struct Entry {
    set: String,
    element: Element<'static>,
    what: String,
}

impl Objects {
    const fn of(family: Family) -> Objects {
        let table = Table::new(family, NAME).with_comment("Host ports of containers");
        let ipv4 = matches!(family, Family::Ip);
        let (address, destination): (&[Type], &[Type]) = match ipv4 {
            true => (&[Type::Ipv4Addr], &[Type::Ipv4Addr, Type::Port]),
            false => (&[Type::Ipv6Addr], &[Type::Ipv6Addr, Type::Port]),
        };
        let socket: &[Type] = match ipv4 {
            true => &[Type::Ipv4Addr, Type::Protocol, Type::Port],
            false => &[Type::Ipv6Addr, Type::Protocol, Type::Port],
        };
        Objects {
            table,
            ipv4,
            bases: Bases::of(table),
            mappings: table.chain("mappings"),
            clients: table.chain("clients"),
            by_address: table.map("by_address", socket, destination),
            by_port: table.map("by_port", &[Type::Protocol, Type::Port], destination),
            from_localhost: table.set("from_localhost", address),
            from_anywhere: table.set("from_anywhere", address),
        }
    }

    fn source(&self) -> Field {
        if self.ipv4 {
            Field::Ipv4Saddr
        } else {
            Field::Ipv6Saddr
        }
    }

    fn destination(&self) -> Field {
        if self.ipv4 {
            Field::Ipv4Daddr
        } else {
            Field::Ipv6Daddr
        }
    }

    /// Containers and their networks, those of one length of prefix.
    fn networks<'n>(&self, name: &'n str) -> Set<'n> {
        let key: &[Type] = match self.ipv4 {
            true => &[Type::Ipv4Addr, Type::Ipv4Addr],
            false => &[Type::Ipv6Addr, Type::Ipv6Addr],
        };
        self.table.set(name, key)
    }

    fn set<'n>(&self, name: &'n str) -> Set<'n> {
        let fixed = [
            self.by_address,
            self.by_port,
            self.from_localhost,
            self.from_anywhere,
        ];
        fixed
            .into_iter()
            .find(|set| set.name == name)
            .unwrap_or_else(|| self.networks(name))
    }

    /// Chains whose rules are all known.
    fn fixed_rules(&self) -> [(Chain<'static>, Vec<Rule<'static>>); 4] {
        let Bases {
            prerouting,
            output,
            masquerading,
        } = self.bases;
        // Only what is sent to this host itself may be caught.
        let entrance =
            |chain: Chain<'static>| vec![chain.rule().daddr_is_local().jump(self.mappings.name)];
        let (daddr, protocol, port) = (self.destination(), Field::L4Proto, Field::Dport);
        let mapped = masquerading.rule().ct_status(CtStatus::DNAT);
        let by_address = [daddr, protocol, port];
        [
            (
                self.mappings,
                vec![
                    self.mappings.rule().dnat_map(&by_address, &self.by_address),
                    self.mappings
                        .rule()
                        .dnat_map(&[protocol, port], &self.by_port),
                ],
            ),
            (prerouting, entrance(prerouting)),
            (output, entrance(output)),
            (masquerading, vec![mapped.goto(self.clients.name)]),
        ]
    }

    /// Rules of the chain that grows with the lengths of prefixes.
    fn client_rules(&self) -> Vec<Rule<'static>> {
        let daddr = [self.destination()];
        let rule = self.clients.rule();
        let mut rules = vec![rule.in_set(&daddr, &self.from_anywhere)];
        if self.ipv4 {
            let rule = self.clients.rule().saddr(IpAddr::V4(Ipv4Addr::LOCALHOST));
            rules.push(rule.in_set(&daddr, &self.from_localhost));
        }
        rules
            .into_iter()
            .map(|rule| rule.masquerade(NatFlags::NONE))
            .collect()
    }

    fn network_rule(&self, len: u8) -> Rule<'static> {
        let name = from_network(len);
        let fields = [self.source(), self.destination()];
        let rule = self.clients.rule();
        rule.network_in_set(len, &fields, &self.networks(&name))
            .masquerade(NatFlags::NONE)
    }

    /// What is missing of the table, of what is nobody's in particular.
    fn write_base(&self, nft: &Nft, batch: &mut Batch, len: u8) -> Result<(), Error> {
        let is_new = !has_table(nft, &self.table)?;
        let network = from_network(len);
        if is_new {
            batch.add_table(&self.table);
            for set in [
                &self.by_address,
                &self.by_port,
                &self.from_localhost,
                &self.from_anywhere,
            ] {
                batch.add_set(set);
            }
            batch.add_chain(&self.clients);
        }
        for (chain, rules) in &self.fixed_rules() {
            let there = if is_new {
                Vec::new()
            } else {
                nft.rules(chain)?
            };
            if !are(&there, rules) {
                batch.add_chain(chain);
                if !there.is_empty() {
                    batch.flush_chain(chain);
                }
                for rule in rules {
                    batch.add_rule(rule);
                }
            }
        }
        let there = if is_new {
            Vec::new()
        } else {
            nft.rules(&self.clients)?
        };
        for rule in self.client_rules() {
            if !there.iter().any(|found| found.does_as(&rule)) {
                batch.add_rule(&rule);
            }
        }
        let rule = self.network_rule(len);
        if !there.iter().any(|found| found.does_as(&rule)) {
            batch.add_set(&self.networks(&network)).add_rule(&rule);
        }
        Ok(())
    }

    /// The elements of mappings, each key once: the first one counts.
    fn mapping_entries(&self, mappings: &[Mapping], target: Option<Cidr>) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for mapping in mappings.iter().filter(|m| m.is_for(self.ipv4)) {
            let protocol = Value::Protocol(mapping.protocol.nft());
            let port = Value::Port(mapping.host_port);
            let (set, element) = match mapping.destination() {
                Some(host) => {
                    let key = [Value::Address(host), protocol, port];
                    (self.by_address.name, Element::new(&key))
                }
                None => (self.by_port.name, Element::new(&[protocol, port])),
            };
            let element = match target {
                Some(target) => element.data(&Value::socket(socket(target, mapping))),
                None => element,
            };
            let known = entries
                .iter()
                .any(|entry| entry.set == set && entry.element.key_bytes() == element.key_bytes());
            if !known {
                entries.push(Entry {
                    set: set.to_owned(),
                    element,
                    what: format!("{} port {}", mapping.protocol.as_str(), mapping.host_port),
                });
            }
        }
        entries
    }

    /// The elements that have a container's clients masqueraded: as configured, or
    /// all that there can be.
    fn client_entries(&self, config: Option<&Config>, target: Cidr) -> Vec<Entry> {
        let container = Value::Address(target.addr());
        let entry = |set: &str, key: &[Value<'_>], what: &str| Entry {
            set: set.to_owned(),
            element: Element::new(key),
            what: what.to_owned(),
        };
        let (any, all) = (config.is_none(), config.is_some_and(|c| c.masq_all));
        if config.is_some_and(|config| !config.snat) {
            return Vec::new();
        }
        let mut entries = Vec::new();
        if any || all {
            entries.push(entry(self.from_anywhere.name, &[container], "all clients"));
        }
        if any || !all {
            let network = [Value::Address(target.network()), container];
            let name = from_network(target.prefix());
            entries.push(entry(&name, &network, "clients of the container's network"));
            if self.ipv4 {
                let name = self.from_localhost.name;
                entries.push(entry(name, &[container], "clients on localhost"));
            }
        }
        entries
    }

    /// Every element there is that `wanted` picks.
    fn scan(
        &self,
        nft: &Nft,
        wanted: &dyn Fn(&ElementInfo) -> bool,
    ) -> Result<Vec<(String, Element<'static>)>, Error> {
        let mut names: Vec<String> = [
            self.by_address.name,
            self.by_port.name,
            self.from_localhost.name,
            self.from_anywhere.name,
        ]
        .map(str::to_owned)
        .into();
        let rules = nft.rules(&self.clients)?;
        let lens = (0..=128).filter(|len| {
            let rule = self.network_rule(*len);
            rules.iter().any(|found| found.does_as(&rule))
        });
        names.extend(lens.map(from_network));
        let mut found = Vec::new();
        for name in names {
            let set = self.set(&name);
            let elements = match nft.elements(&set) {
                Err(error) if error.is_not_found() => Vec::new(),
                elements => elements?,
            };
            let elements = elements.iter().filter(|element| wanted(element));
            found.extend(elements.map(|info| (name.clone(), info.to_element(&set))));
        }
        Ok(found)
    }

    fn delete(&self, batch: &mut Batch, entries: Vec<(String, Element<'static>)>) {
        for (name, element) in entries {
            batch.delete_elements(&self.set(&name), [element]);
        }
    }
}

/// The name of the set of containers whose networks have prefixes of this length.
fn from_network(len: u8) -> String {
    format!("from_network_{len}")
}

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
    for family in FAMILIES {
        if has_table(nft, &Objects::of(family).table)? {
            return Ok(true);
        }
    }
    Ok(false)
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
            if !are(&there, rules) {
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
            .all(|rule| there.iter().any(|found| found.does_as(rule)))
        {
            return Err(anyhow!(
                "\"clients\" chain of {place} is not as it ought to be"
            ));
        }
    }
    Ok(())
}
