//! Writes rules as iptables-nft writes them.

use std::net::IpAddr;

use super::Rule;
use super::rule::{DESTINATION, SOURCE};
use crate::nft::{self, Prefix};

impl Rule {
    /// Returns the rule in a chain of nf_tables, `None` if it has other parts than addresses, comments,
    /// `--ctstate RELATED,ESTABLISHED`, and a target without options: a verdict, `MASQUERADE`, or one of `chains`.
    pub(super) fn encode<'n>(
        &self,
        chain: &nft::Chain<'n>,
        is_ipv4: bool,
        chains: &[&str],
    ) -> Option<nft::Rule<'n>> {
        let mut rule = chain.rule();
        for (index, basic) in self.basics.iter().enumerate() {
            let Some(basic) = basic else { continue };
            if !matches!(index, SOURCE | DESTINATION) {
                return None;
            }
            let network = prefix(&basic.value)?;
            rule = rule.xt_network(index == SOURCE, basic.inverted, network);
        }
        for extension in &self.matches {
            let words: Vec<&str> = extension.words.iter().map(String::as_str).collect();
            rule = match (extension.name.as_str(), words.as_slice()) {
                ("comment", ["--comment", text]) => rule.xt_comment(text),
                ("conntrack", ["--ctstate", "RELATED,ESTABLISHED"]) => {
                    rule.xt_related_or_established()
                }
                _ => return None,
            };
        }
        let target = self.target.as_ref()?;
        if target.goto || !target.words.is_empty() || self.has_user_args() {
            return None;
        }
        let rule = rule.counter();
        Some(match target.name.as_str() {
            "ACCEPT" => rule.accept(),
            "DROP" => rule.drop(),
            "RETURN" => rule.return_(),
            "MASQUERADE" => rule.xt_masquerade(is_ipv4),
            name if chains.contains(&name) => rule.jump(name),
            _ => return None,
        })
    }
}

fn prefix(network: &str) -> Option<Prefix> {
    let (address, len) = network.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    Some(Prefix::new(address, len.parse().ok()?))
}
