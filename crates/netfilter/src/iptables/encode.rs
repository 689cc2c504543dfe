//! Writes rules as iptables-nft writes them.

use std::net::IpAddr;

use super::Rule;
use super::rule::{Basic, Extension, Target};
use crate::nft::{self, Prefix, Protocol};

impl Rule {
    /// Returns the rule in a chain of nf_tables, `None` if it has parts other than those that the plugins use: addresses,
    /// TCP and UDP ports, comments, marks, and some more; as targets verdicts, translations, and `chains`.
    pub(super) fn encode<'n>(
        &self,
        chain: &nft::Chain<'n>,
        is_ipv4: bool,
        chains: &[&str],
    ) -> Option<nft::Rule<'n>> {
        let [source, destination, None, None, protocol] = &self.basics else {
            return None;
        };
        if self.has_user_args() {
            return None;
        }
        let mut rule = chain.rule();
        let protocol = match protocol {
            Some(basic) => Some(transport(basic)?),
            None => None,
        };
        if let Some(protocol) = protocol {
            rule = rule.xt_protocol(protocol);
        }
        for (is_source, basic) in [(true, source), (false, destination)] {
            if let Some(basic) = basic {
                rule = rule.xt_network(is_source, basic.inverted, prefix(&basic.value)?);
            }
        }
        for extension in &self.matches {
            rule = matching(rule, extension, protocol)?;
        }
        target(rule.counter(), self.target.as_ref()?, is_ipv4, chains)
    }
}

fn matching<'n>(
    rule: nft::Rule<'n>,
    extension: &Extension,
    protocol: Option<Protocol>,
) -> Option<nft::Rule<'n>> {
    let [option, value] = extension.words.as_slice() else {
        return None;
    };
    Some(
        match (extension.name.as_str(), option.as_str(), value.as_str()) {
            ("comment", "--comment", text) => rule.xt_comment(text),
            ("conntrack", "--ctstate", "RELATED,ESTABLISHED") => rule.xt_related_or_established(),
            ("addrtype", "--dst-type", "LOCAL") => rule.xt_local_destination(),
            ("mark", "--mark", text) => {
                let (value, mask) = mark(text)?;
                rule.xt_mark(value, mask)
            }
            ("multiport", "--dports", list) => {
                protocol?;
                let ports: Result<Vec<u16>, _> = list.split(',').map(str::parse).collect();
                rule.xt_dports(&ports.ok()?)
            }
            (name, "--dport", port) if protocol == transport_of(name) => {
                rule.xt_dport(protocol?, port.parse().ok()?)
            }
            _ => return None,
        },
    )
}

fn target<'n>(
    rule: nft::Rule<'n>,
    target: &Target,
    is_ipv4: bool,
    chains: &[&str],
) -> Option<nft::Rule<'n>> {
    let words: Vec<&str> = target.words.iter().map(String::as_str).collect();
    Some(match (target.name.as_str(), words.as_slice()) {
        _ if target.goto => return None,
        ("ACCEPT", []) => rule.accept(),
        ("DROP", []) => rule.drop(),
        ("RETURN", []) => rule.return_(),
        ("MASQUERADE", []) => rule.xt_masquerade(is_ipv4),
        ("MARK", ["--set-xmark", text]) => {
            let (value, mask) = mark(text)?;
            rule.xt_set_mark(value, mask)
        }
        ("DNAT", ["--to-destination", text]) => rule.xt_dnat(text.parse().ok()?),
        (name, []) if chains.contains(&name) => rule.jump(name),
        _ => return None,
    })
}

fn transport(basic: &Basic) -> Option<Protocol> {
    if basic.inverted {
        return None;
    }
    transport_of(&basic.value)
}

fn transport_of(name: &str) -> Option<Protocol> {
    match name {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        _ => None,
    }
}

/// Parses `0xvalue/0xmask`.
fn mark(text: &str) -> Option<(u32, u32)> {
    let (value, mask) = text.split_once('/')?;
    let number = |text: &str| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    Some((number(value)?, number(mask)?))
}

fn prefix(network: &str) -> Option<Prefix> {
    let (address, len) = network.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    Some(Prefix::new(address, len.parse().ok()?))
}
