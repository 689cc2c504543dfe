//! The table of maps: its sets, chains and rules, and the elements of an attachment.

use super::super::{Bases, has_table, write_chain};
use crate::attachment::socket;
use crate::config::{Config, Mapping};
use cni_core::Cidr;
use netfilter::Error;
use netfilter::nft::{
    Batch, Chain, CtStatus, Element, ElementInfo, Family, Field, NatFlags, Nft, Rule, Set, Table,
    Type, Value,
};
use std::net::{IpAddr, Ipv4Addr};

pub(super) const NAME: &str = "cni_portmap";

/// The objects of one family.
pub(super) struct Objects {
    pub(super) table: Table<'static>,
    pub(super) ipv4: bool,
    pub(super) bases: Bases,
    /// Looks destinations up.
    pub(super) mappings: Chain<'static>,
    /// Looks at where mapped connections come from.
    pub(super) clients: Chain<'static>,
    /// Mappings of one address of the host.
    pub(super) by_address: Set<'static>,
    /// Mappings of all addresses.
    pub(super) by_port: Set<'static>,
    /// Containers that localhost reaches.
    pub(super) from_localhost: Set<'static>,
    /// Containers all of whose clients are masqueraded.
    pub(super) from_anywhere: Set<'static>,
}

/// An element of a set, by the set's name: sets of networks come and go.
pub(super) struct Entry {
    pub(super) set: String,
    pub(super) element: Element<'static>,
    pub(super) what: String,
}

impl Objects {
    pub(super) const fn of(family: Family) -> Objects {
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

    pub(super) fn source(&self) -> Field {
        if self.ipv4 {
            Field::Ipv4Saddr
        } else {
            Field::Ipv6Saddr
        }
    }

    pub(super) fn destination(&self) -> Field {
        if self.ipv4 {
            Field::Ipv4Daddr
        } else {
            Field::Ipv6Daddr
        }
    }

    /// Containers and their networks, those of one length of prefix.
    pub(super) fn networks<'n>(&self, name: &'n str) -> Set<'n> {
        let key: &[Type] = match self.ipv4 {
            true => &[Type::Ipv4Addr, Type::Ipv4Addr],
            false => &[Type::Ipv6Addr, Type::Ipv6Addr],
        };
        self.table.set(name, key)
    }

    pub(super) fn set<'n>(&self, name: &'n str) -> Set<'n> {
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
    pub(super) fn fixed_rules(&self) -> [(Chain<'static>, Vec<Rule<'static>>); 4] {
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
    pub(super) fn client_rules(&self) -> Vec<Rule<'static>> {
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

    pub(super) fn network_rule(&self, len: u8) -> Rule<'static> {
        let name = from_network(len);
        let fields = [self.source(), self.destination()];
        let rule = self.clients.rule();
        rule.network_in_set(len, &fields, &self.networks(&name))
            .masquerade(NatFlags::NONE)
    }

    /// What is missing of the table, of what is nobody's in particular.
    pub(super) fn write_base(&self, nft: &Nft, batch: &mut Batch, len: u8) -> Result<(), Error> {
        if !has_table(nft, &self.table)? {
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
            write_chain(nft, batch, chain, rules)?;
        }
        let there = nft.rules(&self.clients)?;
        for rule in self.client_rules() {
            if !there.iter().any(|found| found.same_as(&rule)) {
                batch.add_rule(&rule);
            }
        }
        let rule = self.network_rule(len);
        if !there.iter().any(|found| found.same_as(&rule)) {
            let name = from_network(len);
            batch.add_set(&self.networks(&name)).add_rule(&rule);
        }
        Ok(())
    }

    /// The elements of mappings, each key once: the first one counts.
    pub(super) fn mapping_entries(&self, mappings: &[Mapping], target: Option<Cidr>) -> Vec<Entry> {
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
    pub(super) fn client_entries(&self, config: Option<&Config>, target: Cidr) -> Vec<Entry> {
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
    pub(super) fn scan(
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
            rules.iter().any(|found| found.same_as(&rule))
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

    pub(super) fn delete(&self, batch: &mut Batch, entries: Vec<(String, Element<'static>)>) {
        for (name, element) in entries {
            batch.delete_elements(&self.set(&name), [element]);
        }
    }
}

/// The name of the set of containers whose networks have prefixes of this length.
pub(super) fn from_network(len: u8) -> String {
    format!("from_network_{len}")
}
