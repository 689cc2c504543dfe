//! Masquerade by iptables: a chain for each container in a network, and a rule for each
//! address that jumps to it.

use super::{Identity, Masquerade};
use crate::join::join;
use anyhow::{Context, bail};
use cni_core::{Cidr, IpConfig};
use netfilter::iptables::{self, COMMENT_MAX, Change, Family, Iptables, Rule, Saved, Table};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The built-in chain that packets leave through.
const POSTROUTING: &str = "POSTROUTING";
const FAMILIES: [Family; 2] = Family::ALL;

fn multicast(family: Family) -> (IpAddr, u8) {
    match family {
        Family::V4 => (Ipv4Addr::new(224, 0, 0, 0).into(), 4),
        Family::V6 => (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0).into(), 8),
    }
}

/// Returns a rule that jumps to the chain. Old releases of upstream matched the whole
/// network of an address.
fn entry(who: &Identity<'_>, source: IpAddr, prefix: u8) -> Rule {
    Rule::new()
        .source(source, prefix)
        .comment(&who.comment)
        .jump(&who.chain)
}

fn own_entry(who: &Identity<'_>, address: IpAddr) -> Rule {
    entry(who, address, Cidr::host(address).prefix())
}

impl Masquerade {
    /// Returns the chain's rules for networks that are not masqueraded.
    fn accepts(&self, who: &Identity<'_>, ips: &[&IpConfig]) -> Vec<Rule> {
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
                .comment(&who.comment)
                .jump("ACCEPT")
        };
        networks.into_iter().map(accept).collect()
    }

    /// Returns the last rule of the chain, which translates the address.
    fn translation(&self, who: &Identity<'_>, family: Family) -> Rule {
        let (address, prefix) = multicast(family);
        let beyond = Rule::new()
            .not_destination(address, prefix)
            .comment(&who.comment);
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

    fn change(&self, who: &Identity<'_>, family: Family, ips: &[&IpConfig]) -> Change {
        let mut change = Change::new(Table::Nat)
            .new_chain(&who.chain)
            .append(&who.chain, self.translation(who, family));
        // Inserted, since a second address of the container finds rules in the chain.
        for accept in self.accepts(who, ips).into_iter().rev() {
            change = change.insert(&who.chain, accept);
        }
        for ip in ips {
            change = change.append(POSTROUTING, own_entry(who, ip.address.addr()));
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
    who: &Identity<'_>,
    ips: &[&IpConfig],
) -> Result<(), netfilter::Error> {
    let [v4, v6] = FAMILIES.map(|family| of_family(ips, family));
    let create = |family: Family, ips: &[&IpConfig]| match ips {
        [] => Ok(()),
        ips => Iptables::find(family)?.apply(&masquerade.change(who, family, ips)),
    };
    if v4.is_empty() || v6.is_empty() {
        return create(Family::V4, &v4).and_then(|()| create(Family::V6, &v6));
    }
    // A command mostly waits for the kernel.
    let (v6, v4) = join(|| create(Family::V6, &v6), || create(Family::V4, &v4));
    v4.and(v6)
}

/// Which rules of an attachment to delete.
pub(super) struct Deletion<'a> {
    /// The attachment's addresses; empty if they are unknown.
    pub(super) addresses: &'a [Cidr],
    /// All attachments of the container are gone, which may share a chain.
    pub(super) container_gone: bool,
}

/// Deletes the rules of an attachment in both variants of iptables. Runs no command where
/// there are none.
pub(super) fn delete(who: &Identity<'_>, what: &Deletion<'_>) -> Result<(), netfilter::Error> {
    let delete = |family| iptables::delete(family, &what.change(who, family));
    let needs_command = |family| iptables::is_table_in_legacy_use(family, Table::Nat);
    let (v4, v6) = match FAMILIES.into_iter().all(needs_command) {
        true => {
            let (v6, v4) = join(|| delete(Family::V6), || delete(Family::V4));
            (v4, v6)
        }
        false => (delete(Family::V4), delete(Family::V6)),
    };
    v4.and(v6)
}

impl Deletion<'_> {
    fn change(&self, who: &Identity<'_>, family: Family) -> Change {
        let mut change = Change::new(Table::Nat);
        for cidr in self.addresses {
            if Family::of(cidr.addr()) == family {
                change = change
                    .delete(POSTROUTING, own_entry(who, cidr.addr()))
                    .delete_leftover(POSTROUTING, entry(who, cidr.addr(), cidr.prefix()));
            }
        }
        if !self.container_gone && !self.addresses.is_empty() {
            return change.delete_unused_chain(&who.chain);
        }
        if change.is_empty() {
            change = change.delete_jumps(POSTROUTING, &who.chain);
        }
        change.delete_chain(&who.chain)
    }
}

/// Deletes the rules of the network's containers that are not among `valid`.
/// `comment_begin` is what the comments of the network begin with.
pub(super) fn collect(comment_begin: &str, valid: &[Identity<'_>]) -> Result<(), netfilter::Error> {
    // A comment that is cut before its container ID could be another network's.
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
        let is_valid = valid.iter().any(|who| who.chain == chain);
        if is_chain(chain) && !is_valid && !chains.iter().any(|known| known == chain) {
            chains.push(chain.to_owned());
        }
    }
    chains
}

/// Returns whether `name` is a chain for masquerade.
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
    who: &Identity<'_>,
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
        if !saved.has_chain(&who.chain) {
            bail!(
                "chain {} for masquerade not found in table nat of {command}",
                who.chain
            );
        }
        let mut expected = masquerade.accepts(who, &own);
        expected.push(masquerade.translation(who, family));
        let in_chain = expected.iter().map(|rule| (who.chain.as_str(), rule));
        let entries: Vec<Rule> = own
            .iter()
            .map(|ip| own_entry(who, ip.address.addr()))
            .collect();
        for (chain, rule) in in_chain.chain(entries.iter().map(|rule| (POSTROUTING, rule))) {
            if !saved.has_rule(chain, rule) {
                bail!("masquerade rule not found in table nat of {command}: -A {chain} {rule}");
            }
        }
    }
    Ok(())
}

/// Checks that the commands are installed of at least one of the families.
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

    fn who(id: &str) -> Identity<'static> {
        Identity::new("net", id.to_owned(), "eth0".to_owned())
    }

    #[test]
    fn gc_collects_only_chains_of_stale_attachments() {
        let (dead, live) = (who("dead"), who("live"));
        let other = Identity::new("other", "dead".to_owned(), "eth0".to_owned());
        let mut text = String::from("*nat\n:POSTROUTING ACCEPT [0:0]\n");
        for who in [&dead, &live, &other] {
            text += &format!(":{} - [0:0]\n", who.chain);
            let address: IpAddr = "10.0.0.2".parse().unwrap();
            text += &format!("-A POSTROUTING {}\n", own_entry(who, address));
            let accept = Rule::new().comment(&who.comment).jump("ACCEPT");
            text += &format!("-A {} {accept}\n", who.chain);
        }
        // Another plugin's, and one that only looks like it.
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
