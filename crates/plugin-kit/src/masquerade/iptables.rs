//! Masquerade by iptables: a chain for each container in a network, and a rule an
//! address that leads to it.

use super::{Identity, Masquerade};
use crate::join::join;
use anyhow::{Context, bail};
use cni_core::{Cidr, IpConfig};
use netfilter::iptables::{Change, Family, Iptables, Rule, Saved, Table};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The chain of iptables that the packets come through.
const POSTROUTING: &str = "POSTROUTING";
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// The longest comment that all versions of iptables keep, in bytes.
pub(super) const COMMENT_MAX: usize = 255;

fn multicast(family: Family) -> (IpAddr, u8) {
    match family {
        Family::V4 => (Ipv4Addr::new(224, 0, 0, 0).into(), 4),
        Family::V6 => (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0).into(), 8),
    }
}

/// A rule that leads to the chain. Old releases of upstream had the whole network
/// of an address in it.
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
    /// The networks that are let be, as rules of the chain.
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

    /// The last rule of the chain.
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
        // Before it, whatever a second address of the container finds in the chain.
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

/// Makes the rules of all addresses, in one transaction a family.
pub(super) fn set_up(
    masquerade: &Masquerade,
    who: &Identity<'_>,
    ips: &[&IpConfig],
) -> Result<(), netfilter::Error> {
    let set_up = |family: Family| {
        let own = of_family(ips, family);
        Iptables::find(family)?.apply(&masquerade.change(who, family, &own))
    };
    match FAMILIES.map(|family| !of_family(ips, family).is_empty()) {
        // A process each, which mostly waits for the kernel.
        [true, true] => {
            let (v6, v4) = join(|| set_up(Family::V6), || set_up(Family::V4));
            v4.and(v6)
        }
        [true, false] => set_up(Family::V4),
        [false, true] => set_up(Family::V6),
        [false, false] => Ok(()),
    }
}

/// What of an attachment is to go.
pub(super) struct Doomed<'a> {
    /// The addresses that are known to be its; none if it is not known which.
    pub(super) addresses: &'a [Cidr],
    /// All attachments of the container have gone, which may share a chain.
    pub(super) container_gone: bool,
    /// The legacy variant has nothing.
    pub(super) nft_only: bool,
}

/// Deletes the rules of an attachment, as far as there are any. Where there are
/// none no command is run.
pub(super) fn tear_down(who: &Identity<'_>, doomed: &Doomed<'_>) -> Result<(), netfilter::Error> {
    let has_rules = |family: &Family| match doomed.nft_only {
        true => Iptables::has_nft_chain(*family, Table::Nat, &who.chain),
        false => Iptables::may_have_chain(*family, Table::Nat, &who.chain),
    };
    let [v4, v6] = FAMILIES.map(|family| has_rules(&family));
    let tear_down = |family: Family| tear_down_family(who, doomed, family);
    match (v4, v6) {
        (true, true) => {
            let (v6, v4) = join(|| tear_down(Family::V6), || tear_down(Family::V4));
            v4.and(v6)
        }
        (true, false) => tear_down(Family::V4),
        (false, true) => tear_down(Family::V6),
        (false, false) => Ok(()),
    }
}

fn tear_down_family(
    who: &Identity<'_>,
    doomed: &Doomed<'_>,
    family: Family,
) -> Result<(), netfilter::Error> {
    let iptables = match Iptables::find(family) {
        // Without the command nothing can be done; and if only the table is there, of
        // somebody else, nothing has to be.
        Err(e) if e.is_missing_command() => {
            log_missing(who, &e);
            return Ok(());
        }
        found => found?,
    };
    let own = doomed.addresses.iter().copied();
    let own = own.filter(|cidr| Family::of(cidr.addr()) == family);
    iptables.apply(&removal(who, own, doomed))
}

fn removal(who: &Identity<'_>, own: impl Iterator<Item = Cidr>, doomed: &Doomed<'_>) -> Change {
    let mut change = Change::new(Table::Nat);
    for cidr in own {
        change = change
            .delete(POSTROUTING, own_entry(who, cidr.addr()))
            .delete_leftover(POSTROUTING, entry(who, cidr.addr(), cidr.prefix()));
    }
    if doomed.container_gone || doomed.addresses.is_empty() {
        change.delete_chain(&who.chain)
    } else {
        change.delete_unused_chain(&who.chain)
    }
}

fn log_missing(who: &Identity<'_>, error: &netfilter::Error) {
    use std::io::Write;
    // Nothing better can be done when standard error is closed.
    let _ = writeln!(
        std::io::stderr(),
        "rules of chain {} stay, if there are any: {error}",
        who.chain
    );
}

/// Deletes what belongs to containers of a network none of which is among `valid`.
/// `begin` is what the comments of the network begin with.
pub(super) fn collect(begin: &str, valid: &[Identity<'_>]) -> Result<(), netfilter::Error> {
    for family in FAMILIES {
        if !Iptables::is_table_in_use(family, Table::Nat) {
            continue;
        }
        let iptables = match Iptables::find(family) {
            Err(e) if e.is_missing_command() => continue,
            found => found?,
        };
        let saved = iptables.read(Table::Nat)?;
        let mut change = Change::new(Table::Nat);
        for chain in dead_chains(&saved, begin, valid) {
            change = change.delete_chain(&chain);
        }
        if !change.is_empty() {
            iptables.apply(&change)?;
        }
    }
    Ok(())
}

fn dead_chains(saved: &Saved, begin: &str, valid: &[Identity<'_>]) -> Vec<String> {
    let mut chains: Vec<String> = Vec::new();
    for found in saved
        .rules()
        .filter(|rule| rule.text.contains("CNI-") || is_chain(rule.chain))
    {
        let rule = found.parse();
        let comment = rule.comment_text().unwrap_or_default();
        if !comment.starts_with(begin) || valid.iter().any(|who| who.comment == comment) {
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

/// Whether it is the name of a chain for masquerade.
fn is_chain(name: &str) -> bool {
    name.strip_prefix(super::CHAIN_PREFIX)
        .is_some_and(|digits| {
            digits.len() == super::CHAIN_LENGTH - super::CHAIN_PREFIX.len()
                && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
}

/// Compares the rules with what they should be.
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
        let mut wanted = masquerade.accepts(who, &own);
        wanted.push(masquerade.translation(who, family));
        let in_chain = wanted.iter().map(|rule| (who.chain.as_str(), rule));
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

/// Whether the command that has to be there in any case is.
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
    fn only_chains_of_the_dead_are_collected() {
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
            dead_chains(&saved, &begin, std::slice::from_ref(&live)),
            [dead.chain.as_str()]
        );
        assert_eq!(dead_chains(&saved, &begin, &[live, dead]), [""; 0]);
    }
}
