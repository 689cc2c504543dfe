//! The table `cni_hostport`: its chains, the rules that all attachments share, and the
//! rules of one attachment.

use super::super::{Bases, write_chain};
use crate::attachment::socket;
use crate::conditions::Comparison;
use crate::config::Config;
use crate::mapping::Mapping;
use cni_core::Cidr;
use netfilter::Error;
use netfilter::nft::{Batch, Chain, CtStatus, Family, NatFlags, Nft, Rule, Table};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

const COMMENT: &str = "CNI portmap plugin";

/// The chain of all mappings.
pub(super) const HOSTPORTS: &str = "hostports";

/// The objects of one family.
pub(super) struct Objects {
    pub(super) table: Table<'static>,
    /// All mappings.
    pub(super) hostports: Chain<'static>,
    /// Mappings with a host address, made by upstream 1.6 to 1.8.
    hostip_hostports: Chain<'static>,
    /// Jumps to both.
    pub(super) hostports_all: Chain<'static>,
    pub(super) bases: Bases,
}

impl Objects {
    pub(super) const fn of(family: Family) -> Objects {
        let table = Table::new(family, "cni_hostport").with_comment(COMMENT);
        Objects {
            table,
            hostports: table.chain(HOSTPORTS),
            hostip_hostports: table.chain("hostip_hostports"),
            hostports_all: table.chain("hostports_all"),
            bases: Bases::of(table),
        }
    }

    /// The chains that hold the rules of attachments.
    pub(super) fn attachment_chains(&self) -> [Chain<'static>; 3] {
        [
            self.hostports,
            self.hostip_hostports,
            self.bases.masquerading,
        ]
    }

    /// The rules of the base chains: only packets to a local address are mapped.
    pub(super) fn base_rules(&self) -> [Rule<'static>; 2] {
        let all = self.hostports_all.name;
        [self.bases.prerouting, self.bases.output]
            .map(|chain| chain.rule().daddr_is_local().jump(all))
    }

    /// The rules of `hostports_all`.
    pub(super) fn hostport_jumps(&self) -> [Rule<'static>; 2] {
        [self.hostip_hostports, self.hostports]
            .map(|chain| self.hostports_all.rule().jump(chain.name))
    }

    /// Adds what is missing of the table, chains and rules that all attachments
    /// share. Chains that are right are not written again, since the kernel takes
    /// time to free the old rules.
    pub(super) fn write_base(&self, nft: &Nft, batch: &mut Batch, snat: bool) -> Result<(), Error> {
        batch.add_table(&self.table);
        batch.add_chain(&self.hostports);
        batch.add_chain(&self.hostip_hostports);
        let [prerouting, output] = self.base_rules();
        let shared: [(Chain<'_>, &[Rule<'_>]); 3] = [
            (self.hostports_all, &self.hostport_jumps()),
            (self.bases.prerouting, &[prerouting]),
            (self.bases.output, &[output]),
        ];
        for (chain, rules) in shared {
            write_chain(nft, batch, &chain, rules)?;
        }
        if snat {
            batch.add_chain(&self.bases.masquerading);
        }
        Ok(())
    }

    /// Returns the rule of each mapping of the family, in their order.
    pub(super) fn mapping_rules<'c>(
        &self,
        config: &'c Config,
        comparisons: &[Comparison],
        target: Cidr,
    ) -> Vec<(&'c Mapping, Rule<'static>)> {
        let rule_of = |mapping: &Mapping| {
            let rule = self.hostports.rule();
            let mut rule = comparisons.iter().fold(rule, |rule, c| c.apply(rule));
            if let Some(host) = mapping.destination() {
                rule = rule.daddr(host);
            }
            rule.dport(mapping.protocol.nft(), mapping.host_port)
                .dnat(socket(target, mapping))
        };
        let mappings = config.mappings_for(target.is_ipv4());
        mappings
            .map(|mapping| (mapping, rule_of(mapping)))
            .collect()
    }

    /// Returns the same rules, with conditions in the words of the user, as a script
    /// for `nft`. It creates the table and chain, so that it is valid on its own.
    /// `th dport` instead of `tcp dport`: conditions may name another protocol, which
    /// matches nothing, but is not an error.
    pub(super) fn mapping_script(
        &self,
        config: &Config,
        conditions: &str,
        target: Cidr,
        comment: &str,
    ) -> String {
        let family = self.table.family.as_str();
        let table = format!("{family} {}", self.table.name);
        let chain = format!("{table} {}", self.hostports.name);
        let mut script =
            format!("add table {table} {{ comment \"{COMMENT}\" ; }}\nadd chain {chain}\n");
        for mapping in config.mappings_for(target.is_ipv4()) {
            let daddr = match mapping.destination() {
                Some(host) => format!("{family} daddr {host} "),
                None => String::new(),
            };
            // Writing to a string does not fail.
            let _ = writeln!(
                script,
                "add rule {chain} {conditions} {daddr}meta l4proto {} th dport {} dnat to {} \
                 comment \"{comment}\"",
                mapping.protocol.as_str(),
                mapping.host_port,
                socket(target, mapping),
            );
        }
        script
    }

    /// Returns the end of such a rule, the same for all mappings to one port.
    pub(super) fn dnat_rule(&self, mapping: &Mapping, target: Cidr) -> Rule<'static> {
        self.hostports.rule().dnat(socket(target, mapping))
    }

    /// Returns the rules that masquerade, each with the clients that it is for.
    ///
    /// Upstream compares the source with the container's own address. Here it is the
    /// container's network, as with iptables: a neighbour's answer would not pass this
    /// host, which has to reverse the translation. And only translated connections are
    /// masqueraded.
    pub(super) fn masquerade_rules(
        &self,
        config: &Config,
        target: Cidr,
    ) -> Vec<(&'static str, Rule<'static>)> {
        if !config.snat {
            return Vec::new();
        }
        let chain = self.bases.masquerading;
        let address = target.addr();
        let masquerade = |rule: Rule<'static>| rule.masquerade(NatFlags::NONE);
        if config.masq_all {
            let rule = chain.rule().daddr(address).ct_status(CtStatus::DNAT);
            return vec![("all clients", masquerade(rule))];
        }
        let network = (target.network(), target.prefix());
        let neighbours = chain.rule().saddr(network).daddr(address);
        let mut rules = vec![(
            "clients of the container's network",
            masquerade(neighbours.ct_status(CtStatus::DNAT)),
        )];
        if target.is_ipv4() {
            let local = chain.rule().saddr(IpAddr::V4(Ipv4Addr::LOCALHOST));
            rules.push(("clients on localhost", masquerade(local.daddr(address))));
        }
        rules
    }

    /// Returns the first masquerade rule as upstream writes it.
    pub(super) fn upstream_masquerade_rule(&self, config: &Config, target: Cidr) -> Rule<'static> {
        let address = target.addr();
        let source = match (config.masq_all, target.is_ipv4()) {
            (true, _) => (address, 0),
            (false, true) => (address, 32),
            (false, false) => (address, 128),
        };
        let rule = self.bases.masquerading.rule().saddr(source).daddr(address);
        rule.masquerade(NatFlags::NONE)
    }
}
