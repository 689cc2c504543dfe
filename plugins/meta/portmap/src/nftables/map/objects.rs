//! The table of maps: its sets, chains and rules, and the elements of one attachment.

use super::super::{Bases, has_table, write_chain};
use crate::attachment::socket;
use crate::config::Config;
use crate::mapping::Mapping;
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
    /// Looks up the destinations of packets.
    pub(super) mappings: Chain<'static>,
    /// Masquerades mapped connections by their source.
    pub(super) clients: Chain<'static>,
    /// Mappings on one address of the host.
    pub(super) by_address: Set<'static>,
    /// Mappings on all addresses.
    pub(super) by_port: Set<'static>,
    /// Containers whose clients on localhost are masqueraded.
    pub(super) from_localhost: Set<'static>,
    /// Containers all of whose clients are masqueraded.
    pub(super) from_anywhere: Set<'static>,
}

/// An element and the name of its set: sets of networks are created as needed.
pub(super) struct Entry {
    pub(super) set: String,
    pub(super) element: Element,
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

    /// Returns the set of containers and their networks, for one prefix length.
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

    /// Returns the chains that hold no other rules than these.
    pub(super) fn fixed_rules(&self) -> [(Chain<'static>, Vec<Rule<'static>>); 4] {
        let Bases {
            prerouting,
            output,
            masquerading,
        } = self.bases;
        // Only packets to a local address are mapped.
        let entry =
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
            (prerouting, entry(prerouting)),
            (output, entry(output)),
            (masquerading, vec![mapped.goto(self.clients.name)]),
        ]
    }

    /// Returns the rules of the chain `clients`, which has one more for each prefix
    /// length.
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

    /// Adds what is missing of the table, sets, chains and rules that all share.
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
        let present = nft.rules(&self.clients)?;
        for rule in self.client_rules() {
            if !present.iter().any(|found| found.same_as(&rule)) {
                batch.add_rule(&rule);
            }
        }
        let rule = self.network_rule(len);
        if !present.iter().any(|found| found.same_as(&rule)) {
            let name = from_network(len);
            batch.add_set(&self.networks(&name)).add_rule(&rule);
        }
        Ok(())
    }

    /// Returns the elements of mappings, each key once: the first one counts.
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

    /// Returns the elements that masquerade a container's clients: as configured, or
    /// without a configuration all that are possible.
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

    /// Returns all elements that `wanted` selects.
    pub(super) fn scan(
        &self,
        nft: &Nft,
        wanted: &dyn Fn(&ElementInfo) -> bool,
    ) -> Result<Vec<(String, Element)>, Error> {
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

    pub(super) fn delete(&self, batch: &mut Batch, entries: Vec<(String, Element)>) {
        for (name, element) in entries {
            batch.delete_elements(&self.set(&name), [element]);
        }
    }
}

/// Returns the name of the set of networks of this prefix length.
pub(super) fn from_network(len: u8) -> String {
    format!("from_network_{len}")
}
