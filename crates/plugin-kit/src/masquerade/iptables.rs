//! Masquerade rules of iptables: a chain for each container in a network, and for each
//! address a rule that jumps to it.

use super::{Identity, Masquerade};
use anyhow::{Context, bail};
use cni_core::{Cidr, IpConfig};
use netfilter::iptables::{self, COMMENT_MAX, Change, Family, Iptables, Rule, Saved, Table};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The built-in chain that packets traverse last.
const POSTROUTING: &str = "POSTROUTING";
const FAMILIES: [Family; 2] = Family::ALL;

fn multicast(family: Family) -> (IpAddr, u8) {
    match family {
        Family::V4 => (Ipv4Addr::new(224, 0, 0, 0).into(), 4),
        Family::V6 => (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0).into(), 8),
    }
}

/// Returns the rule that jumps to the chain. Old releases of upstream match the whole
/// network of an address, current ones the address.
fn entry(identity: &Identity<'_>, source: IpAddr, prefix: u8) -> Rule {
    Rule::new()
        .source(source, prefix)
        .comment(&identity.comment)
        .jump(&identity.chain)
}

fn own_entry(identity: &Identity<'_>, address: IpAddr) -> Rule {
    entry(identity, address, Cidr::host(address).prefix())
}

impl Masquerade {
    /// Returns the rules of the chain for destinations that are not masqueraded.
    fn accepts(&self, identity: &Identity<'_>, ips: &[&IpConfig]) -> Vec<Rule> {
        let mut networks: Vec<Cidr> = Vec::new();
        for ip in ips {
            let excluded = self
                .excluded(ip.address.addr())
                .map(|network| network.masked());
            for network in [ip.address.masked()].into_iter().chain(excluded) {
                if !networks.contains(&network) {
                    networks.push(network);
                }
            }
        }
        let accept = |network: Cidr| {
            Rule::new()
                .destination(network.addr(), network.prefix())
                .comment(&identity.comment)
                .jump("ACCEPT")
        };
        networks.into_iter().map(accept).collect()
    }

    /// Returns the last rule of the chain, which translates the address.
    fn translation(&self, identity: &Identity<'_>, family: Family) -> Rule {
        let (address, prefix) = multicast(family);
        let beyond = Rule::new()
            .not_destination(address, prefix)
            .comment(&identity.comment);
        let source = self.snat_ip(address).map(|source| source.to_string());
        let mut words = Vec::new();
        if let Some(source) = &source {
            words.extend(["--to-source", source.as_str()]);
        }
        if self.options.fully_random {
            words.push("--random-fully");
        }
        let target = if source.is_some() {
            "SNAT"
        } else {
            "MASQUERADE"
        };
        beyond.target(target, &words)
    }

    fn change(&self, identity: &Identity<'_>, family: Family, ips: &[&IpConfig]) -> Change {
        let mut change = Change::new(Table::Nat)
            .new_chain(&identity.chain)
            .append(&identity.chain, self.translation(identity, family));
        // Inserted, since the chain already has rules if the container has a second address.
        for accept in self.accepts(identity, ips).into_iter().rev() {
            change = change.insert(&identity.chain, accept);
        }
        for ip in ips {
            change = change.append(POSTROUTING, own_entry(identity, ip.address.addr()));
        }
        change
    }
}

fn of_family<'i>(ips: &[&'i IpConfig], family: Family) -> Vec<&'i IpConfig> {
    let mut own = ips.to_vec();
    own.retain(|ip| Family::of(ip.address.addr()) == family);
    own
}

/// Adds the rules of all addresses, in one transaction per family.
pub(super) fn create(
    masquerade: &Masquerade,
    identity: &Identity<'_>,
    ips: &[&IpConfig],
) -> Result<(), netfilter::Error> {
    let [v4, v6] = FAMILIES.map(|family| of_family(ips, family));
    let create = |family: Family, ips: &[&IpConfig]| match ips {
        [] => Ok(()),
        ips => Iptables::find(family)?.apply(&masquerade.change(identity, family, ips)),
    };
    create(Family::V4, &v4).and_then(|()| create(Family::V6, &v6))
}

/// Which rules of an attachment to delete.
pub(super) struct Deletion<'a> {
    /// The attachment's addresses; empty if they are unknown.
    pub(super) addresses: &'a [Cidr],
    /// Whether all attachments of the container are gone, which share the chain.
    pub(super) container_gone: bool,
}

/// Deletes the rules of an attachment in both variants of iptables. Runs no command if
/// there are none.
pub(super) fn delete(identity: &Identity<'_>, what: &Deletion<'_>) -> Result<(), netfilter::Error> {
    let delete = |family| iptables::delete(family, &what.change(identity, family));
    let [v4, v6] = FAMILIES.map(delete);
    v4.and(v6)
}

impl Deletion<'_> {
    fn change(&self, identity: &Identity<'_>, family: Family) -> Change {
        let mut change = Change::new(Table::Nat);
        for cidr in self.addresses {
            if Family::of(cidr.addr()) == family {
                change = change
                    .delete(POSTROUTING, own_entry(identity, cidr.addr()))
                    .delete_leftover(POSTROUTING, entry(identity, cidr.addr(), cidr.prefix()));
            }
        }
        if !self.container_gone && !self.addresses.is_empty() {
            return change.delete_unused_chain(&identity.chain);
        }
        if change.is_empty() {
            change = change.delete_jumps(POSTROUTING, &identity.chain);
        }
        change.delete_chain(&identity.chain)
    }
}

/// Deletes the rules of the network's containers that are not among `valid`.
/// `comment_begin` is the beginning of the comments of the network.
pub(super) fn collect(comment_begin: &str, valid: &[Identity<'_>]) -> Result<(), netfilter::Error> {
    // A comment that is cut before its container ID may belong to another network.
    if comment_begin.len() >= COMMENT_MAX {
        return Ok(());
    }
    let [v4, v6] = FAMILIES.map(|family| {
        iptables::delete_where(family, Table::Nat, |saved| {
            let stale = stale_chains(saved, comment_begin, valid);
            let stale = stale.iter();
            stale.fold(Change::new(Table::Nat), |change, chain| {
                change.delete_chain(chain)
            })
        })
    });
    v4.and(v6)
}

fn stale_chains(saved: &Saved, comment_begin: &str, valid: &[Identity<'_>]) -> Vec<String> {
    let mut chains: Vec<String> = Vec::new();
    for found in saved
        .rules()
        .filter(|rule| rule.text.contains("CNI-") || is_chain(rule.chain))
    {
        let rule = found.parse();
        let comment = rule.comment_text().unwrap_or_default();
        if !comment.starts_with(comment_begin) {
            continue;
        }
        let chain = match found.chain {
            POSTROUTING => rule.target_name().unwrap_or_default(),
            chain => chain,
        };
        let is_valid = valid.iter().any(|identity| identity.chain == chain);
        if is_chain(chain) && !is_valid && !chains.iter().any(|known| known == chain) {
            chains.push(chain.to_owned());
        }
    }
    chains
}

/// Returns whether `name` is the name of a masquerade chain.
fn is_chain(name: &str) -> bool {
    name.strip_prefix(super::CHAIN_PREFIX)
        .is_some_and(|digits| {
            digits.len() == super::CHAIN_LENGTH - super::CHAIN_PREFIX.len()
                && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
}

/// Compares the rules with those that [`create`] adds.
pub(super) fn check(
    masquerade: &Masquerade,
    identity: &Identity<'_>,
    ips: &[&IpConfig],
) -> anyhow::Result<()> {
    for family in FAMILIES {
        let own = of_family(ips, family);
        if own.is_empty() {
            continue;
        }
        let iptables = Iptables::find(family)?;
        let saved = iptables.read(Table::Nat)?;
        let command = family.command();
        if !saved.has_chain(&identity.chain) {
            bail!(
                "chain {} for masquerade not found in table nat of {command}",
                identity.chain
            );
        }
        let mut expected = masquerade.accepts(identity, &own);
        expected.push(masquerade.translation(identity, family));
        let in_chain = expected.iter().map(|rule| (identity.chain.as_str(), rule));
        let entries: Vec<Rule> = own
            .iter()
            .map(|ip| own_entry(identity, ip.address.addr()))
            .collect();
        for (chain, rule) in in_chain.chain(entries.iter().map(|rule| (POSTROUTING, rule))) {
            if !saved.has_rule(chain, rule) {
                bail!("masquerade rule not found in table nat of {command}: -A {chain} {rule}");
            }
        }
    }
    Ok(())
}

/// Checks that the commands of at least one of the configured families are installed.
pub(super) fn require(masquerade: &Masquerade) -> anyhow::Result<()> {
    let wanted = [
        (masquerade.options.ipv4, Family::V4),
        (masquerade.options.ipv6, Family::V6),
    ];
    let mut missing = None;
    for (_, family) in wanted.into_iter().filter(|(wanted, _)| *wanted) {
        match Iptables::find(family) {
            Ok(_) => return Ok(()),
            Err(e) => missing = missing.or(Some(e)),
        }
    }
    match missing {
        Some(e) => Err(e).context("ipMasq needs iptables"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(id: &str) -> Identity<'static> {
        Identity::new("net", id.to_owned(), "eth0".to_owned())
    }

    #[test]
    fn gc_collects_only_chains_of_stale_attachments() {
        let (dead, live) = (identity("dead"), identity("live"));
        let other = Identity::new("other", "dead".to_owned(), "eth0".to_owned());
        let mut text = String::from("*nat\n:POSTROUTING ACCEPT [0:0]\n");
        for identity in [&dead, &live, &other] {
            text += &format!(":{} - [0:0]\n", identity.chain);
            let address: IpAddr = "10.0.0.2".parse().unwrap();
            text += &format!("-A POSTROUTING {}\n", own_entry(identity, address));
            let accept = Rule::new().comment(&identity.comment).jump("ACCEPT");
            text += &format!("-A {} {accept}\n", identity.chain);
        }
        // A rule of another plugin, and a rule with the same comment and another target.
        let portmap = Rule::new()
            .comment(&format!("dnat {}", dead.comment))
            .jump("CNI-DN-0123456789abcdef01234");
        text += &format!("-A CNI-HOSTPORT-DNAT {portmap}\n");
        text += &format!(
            "-A POSTROUTING {}\n",
            Rule::new().comment(&dead.comment).jump("KEPT")
        );
        let saved = Saved::parse(text);
        let begin = Identity::comment_begin("net");
        assert_eq!(
            stale_chains(&saved, &begin, std::slice::from_ref(&live)),
            [dead.chain.as_str()]
        );
        assert_eq!(stale_chains(&saved, &begin, &[live, dead]), [""; 0]);
    }
}
