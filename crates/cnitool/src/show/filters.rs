//! The packet filter rules of attachments, in both backends.
//!
//! Rules belong to an attachment by their comments, which are those of the plugins of both implementations. Only the
//! firewall plugin with iptables has none: there, the address decides.

use netfilter::iptables::{self, Saved};
use netfilter::nft::{Family, Nft, Table};
use plugin_kit::names;

use super::model::Rule;

/// A table of nf_tables in which plugins have rules or elements of attachments.
struct Source {
    table: Table<'static>,
    purpose: &'static str,
    sets: &'static [&'static str],
}

const PORT_SETS: &[&str] = &["by_address", "by_port", "from_localhost", "from_anywhere"];

const SOURCES: &[Source] = &[
    Source::of(Family::Inet, "cni_plugins_masquerade", MASQUERADE, &[]),
    Source::of(Family::Ip, "cni_hostport", PORTMAP, &[]),
    Source::of(Family::Ip6, "cni_hostport", PORTMAP, &[]),
    Source::of(Family::Ip, "cni_portmap", PORTMAP, PORT_SETS),
    Source::of(Family::Ip6, "cni_portmap", PORTMAP, PORT_SETS),
    Source::of(
        Family::Inet,
        "cni_firewall",
        FIREWALL,
        &["container_ipv4", "container_ipv6"],
    ),
    Source::of(Family::Bridge, "nat", SPOOF_CHECK, &[]),
    Source::of(
        Family::Bridge,
        "cni_port_guard",
        "guard",
        &["ra_ports", "dhcp_ports"],
    ),
];

const MASQUERADE: &str = "masquerade";
pub(super) const PORTMAP: &str = "portmap";
const FIREWALL: &str = "firewall";
const SPOOF_CHECK: &str = "macspoofchk";

impl Source {
    const fn of(
        family: Family,
        table: &'static str,
        purpose: &'static str,
        sets: &'static [&'static str],
    ) -> Source {
        Source {
            table: Table::new(family, table),
            purpose,
            sets,
        }
    }

    fn read(&self, nft: &Nft) -> Result<Vec<Labelled>, netfilter::Error> {
        let mut found = Vec::new();
        for rule in nft.table_rules(&self.table)? {
            let comment = rule.comment.unwrap_or_default();
            found.push(self.labelled(&rule.chain, Some(rule.handle), comment, rule.note));
        }
        for name in self.sets {
            let elements = match nft.elements(&self.table.set(name, &[])) {
                Err(error) if error.is_not_found() => continue,
                elements => elements?,
            };
            for element in elements {
                let comment = element.comment.unwrap_or_default();
                found.push(self.labelled(name, None, comment, element.note));
            }
        }
        Ok(found)
    }

    fn labelled(
        &self,
        chain: &str,
        handle: Option<u64>,
        comment: String,
        note: Option<Vec<u8>>,
    ) -> Labelled {
        Labelled {
            purpose: self.purpose,
            table: format!("{} {}", self.table.family.as_str(), self.table.name),
            chain: chain.to_owned(),
            handle,
            comment,
            note,
        }
    }
}

/// A rule or element of nf_tables with what names its attachment.
struct Labelled {
    purpose: &'static str,
    table: String,
    chain: String,
    handle: Option<u64>,
    comment: String,
    /// What portmap adds to its comment, the container ID, from our version on.
    note: Option<Vec<u8>>,
}

/// The texts by which plugins label the rules of an attachment.
struct Labels<'a> {
    container_id: &'a str,
    /// The note of portmap.
    note: Vec<u8>,
    spoof_check: String,
    /// The beginning of all other comments.
    hash: String,
    /// The end of the comments of iptables.
    iptables: String,
}

impl<'a> Labels<'a> {
    fn of(owner: &Owner<'a>) -> Labels<'a> {
        let Owner {
            network,
            container_id,
            if_name,
            ..
        } = *owner;
        let note = names::of_attachment("", network, "", 16) + " " + if_name;
        Labels {
            container_id,
            note: note.into_bytes(),
            spoof_check: format!("macspoofchk-{container_id}-{if_name}"),
            hash: names::attachment_hash(network, container_id, if_name),
            iptables: format!("name: \"{network}\" id: \"{container_id}\""),
        }
    }

    fn are_on(&self, rule: &Labelled) -> bool {
        match rule.purpose {
            PORTMAP => {
                let is_own = |note: &Vec<u8>| *note == self.note;
                rule.comment == self.container_id && rule.note.as_ref().is_none_or(is_own)
            }
            SPOOF_CHECK => rule.comment == self.spoof_check,
            _ => rule.comment.starts_with(&self.hash),
        }
    }
}

/// A table of iptables as one of its variants has it.
struct XTable {
    family: iptables::Family,
    table: iptables::Table,
    rules: Vec<XRule>,
}

/// A rule of iptables.
struct XRule {
    chain: String,
    text: String,
    comment: String,
    target: String,
}

impl XTable {
    fn new(family: iptables::Family, table: iptables::Table, saved: &Saved) -> XTable {
        let rules = saved.rules().map(|rule| {
            let parsed = rule.parse();
            XRule {
                chain: rule.chain.to_owned(),
                text: rule.text.to_owned(),
                comment: parsed.comment_text().unwrap_or_default().to_owned(),
                target: parsed.target_name().unwrap_or_default().to_owned(),
            }
        });
        XTable {
            family,
            table,
            rules: rules.collect(),
        }
    }

    fn rules_of(&self, labels: &Labels<'_>, addresses: &[&str]) -> Vec<Rule> {
        // The chains of the attachment, with the purpose of their rules.
        let own: Vec<(&str, &str)> = self
            .rules
            .iter()
            .filter(|rule| rule.target.starts_with("CNI-"))
            .filter_map(|rule| {
                let before = rule.comment.strip_suffix(&labels.iptables)?;
                let purpose = if before.is_empty() {
                    MASQUERADE
                } else {
                    PORTMAP
                };
                Some((rule.target.as_str(), purpose))
            })
            .collect();
        let purpose_of = |rule: &XRule| {
            let is_own = |(own, _): &&(&str, &str)| rule.chain == *own || rule.target == *own;
            let purpose = own.iter().find(is_own).map(|(_, purpose)| *purpose);
            let is_accept = || rule.chain == "CNI-FORWARD" && has_address(&rule.text, addresses);
            purpose.or_else(|| is_accept().then_some(FIREWALL))
        };
        let rules = self.rules.iter().filter_map(|rule| {
            Some(Rule {
                purpose: purpose_of(rule)?,
                tool: self.family.command(),
                table: self.table.as_str().to_owned(),
                chain: rule.chain.clone(),
                text: rule.text.clone(),
                handle: None,
            })
        });
        rules.collect()
    }
}

/// The attachment whose rules are wanted.
pub(super) struct Owner<'a> {
    pub(super) network: &'a str,
    pub(super) container_id: &'a str,
    pub(super) if_name: &'a str,
    /// Without prefix lengths.
    pub(super) addresses: Vec<&'a str>,
}

/// All rules that plugins have made on this host.
#[derive(Default)]
pub(super) struct Filters {
    nft: Vec<Labelled>,
    iptables: Vec<XTable>,
}

impl Filters {
    /// Reads the rules, and adds to `problems` what cannot be read.
    pub(super) fn read(problems: &mut Vec<String>) -> Filters {
        let mut filters = Filters::default();
        if let Err(error) = filters.read_nft() {
            // Without nf_tables in the kernel there are no such rules.
            if !error.is_unsupported() {
                problems.push(format!("rules of nf_tables: {error}"));
            }
        }
        for family in iptables::Family::ALL {
            for table in [iptables::Table::Nat, iptables::Table::Filter] {
                match iptables::read_all(family, table) {
                    Ok(all) => {
                        let tables = all.iter().map(|saved| XTable::new(family, table, saved));
                        filters.iptables.extend(tables);
                    }
                    Err(error) => problems.push(format!("rules of {}: {error}", family.command())),
                }
            }
        }
        filters
    }

    fn read_nft(&mut self) -> Result<(), netfilter::Error> {
        let nft = Nft::open()?;
        for source in SOURCES {
            if nft.has_table(&source.table)? {
                self.nft.extend(source.read(&nft)?);
            }
        }
        Ok(())
    }

    /// Returns the rules of an attachment.
    pub(super) fn of(&self, owner: &Owner<'_>) -> Vec<Rule> {
        let labels = Labels::of(owner);
        let labelled = self.nft.iter().filter(|rule| labels.are_on(rule));
        let mut rules: Vec<Rule> = labelled
            .map(|rule| Rule {
                purpose: rule.purpose,
                tool: "nft",
                table: rule.table.clone(),
                chain: rule.chain.clone(),
                text: rule.comment.clone(),
                handle: rule.handle,
            })
            .collect();
        let tables = self.iptables.iter();
        rules.extend(tables.flat_map(|table| table.rules_of(&labels, &owner.addresses)));
        rules
    }
}

/// Whether a rule compares with one of the addresses.
fn has_address(text: &str, addresses: &[&str]) -> bool {
    let mut words = text.split(' ').filter_map(|word| word.rsplit_once('/'));
    words.any(|(word, len)| matches!(len, "32" | "128") && addresses.contains(&word))
}
