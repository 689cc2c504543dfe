//! `conditionsV4` and `conditionsV6`: what a connection must match besides.
//!
//! With iptables they are words for iptables, whatever those mean. Of nftables'
//! language, as no `nft` is there to be asked, the matches are understood that tell
//! connections apart by interface and address.

use anyhow::{Context, bail};
use cni_core::Cidr;
use cni_core::quote::quote;
use netfilter::backend::Backend;
use netfilter::nft::{Prefix, Rule};

/// A match of nftables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    what: What,
    inverted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    InInterface(String),
    OutInterface(String),
    Source(Cidr),
    Destination(Cidr),
}

/// Whose language the words are in, told as upstream tells it: by the first
/// character. `None` if they are in no one's.
pub(crate) fn language(words: &[String]) -> Option<Backend> {
    match words.first()?.chars().next()? {
        '-' | '!' => Some(Backend::Iptables),
        _ => Some(Backend::Nftables),
    }
}

/// Reads matches of nftables: `iifname "eth0"`, `ip saddr != 10.0.0.0/8`, several of
/// them one behind the other.
///
/// # Errors
/// For a word that is none of these.
pub(crate) fn parse(words: &[String], ipv4: bool) -> anyhow::Result<Vec<Condition>> {
    let mut words = words
        .iter()
        .flat_map(|word| word.split_ascii_whitespace())
        .peekable();
    let mut conditions = Vec::new();
    while let Some(word) = words.next() {
        let keyword = match word {
            "meta" | "ip" | "ip6" => words.next().unwrap_or_default(),
            other => other,
        };
        let inverted = words.next_if(|next| matches!(*next, "!=" | "==")) == Some("!=");
        let mut value = || {
            words
                .next()
                .map(|value| value.trim_matches('"'))
                .with_context(|| format!("a value is missing behind {}", quote(keyword)))
        };
        let family = if ipv4 { "ip" } else { "ip6" };
        let what = match (word, keyword) {
            (_, "iifname") if word != "ip" && word != "ip6" => {
                What::InInterface(interface(value()?)?)
            }
            (_, "oifname") if word != "ip" && word != "ip6" => {
                What::OutInterface(interface(value()?)?)
            }
            (header, "saddr") if header == family => What::Source(network(value()?, ipv4)?),
            (header, "daddr") if header == family => What::Destination(network(value()?, ipv4)?),
            _ => bail!(
                "{} is no match that is known here: iifname, oifname, {family} saddr and \
                 {family} daddr are, each with == or != and one value",
                quote(word)
            ),
        };
        conditions.push(Condition { what, inverted });
    }
    Ok(conditions)
}

fn interface(name: &str) -> anyhow::Result<String> {
    if name.is_empty() || name.len() > 15 || name.contains(['*', '{', '$', '@', '/']) {
        bail!("{} is no name of an interface", quote(name));
    }
    Ok(name.to_owned())
}

fn network(text: &str, ipv4: bool) -> anyhow::Result<Cidr> {
    let network: Cidr = match text.contains('/') {
        true => text.parse()?,
        false => Cidr::host(cni_core::cidr::parse_ip(text)?),
    };
    if network.is_ipv4() != ipv4 {
        bail!("{} is an address of the other family", quote(text));
    }
    Ok(network)
}

impl Condition {
    /// Appends the match to a rule.
    pub(crate) fn apply<'r>(&self, rule: Rule<'r>) -> Rule<'r> {
        let prefix = |network: &Cidr| Prefix::new(network.addr(), network.prefix());
        match (&self.what, self.inverted) {
            (What::InInterface(name), false) => rule.iifname(name),
            (What::InInterface(name), true) => rule.not_iifname(name),
            (What::OutInterface(name), false) => rule.oifname(name),
            (What::OutInterface(name), true) => rule.not_oifname(name),
            (What::Source(network), false) => rule.saddr(prefix(network)),
            (What::Source(network), true) => rule.not_saddr(prefix(network)),
            (What::Destination(network), false) => rule.daddr(prefix(network)),
            (What::Destination(network), true) => rule.not_daddr(prefix(network)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str], ipv4: bool) -> Result<usize, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        parse(&words, ipv4)
            .map(|list| list.len())
            .map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn matches_are_read_in_words_or_whole() {
        assert_eq!(read(&[], true), Ok(0));
        assert_eq!(read(&["iifname", "eth0"], true), Ok(1));
        assert_eq!(read(&["meta iifname != \"eth0\""], true), Ok(1));
        let two = ["ip", "saddr", "!=", "10.0.0.0/8", "oifname", "==", "eth0"];
        assert_eq!(read(&two, true), Ok(2));
        assert_eq!(read(&["ip6 daddr fd00::/8"], false), Ok(1));
        for (words, error) in [
            ("ip saddr 10.0.0.0/8", "is no match"),
            ("ip6 saddr 10.0.0.0/8", "other family"),
            ("ip6 saddr", "a value is missing"),
            ("ip6 saddr x", "invalid"),
            ("ip6", "is no match"),
            ("tcp dport 5", "is no match"),
            ("iifname eth*", "no name"),
            ("ip6 iifname eth0", "is no match"),
            ("iifname { eth0, eth1 }", "no name"),
        ] {
            let text = read(&[words], false).unwrap_err();
            assert!(text.contains(error), "{words}: {text}");
        }
    }

    #[test]
    fn the_first_character_tells_the_language() {
        let of = |word: &str| language(&[word.to_owned()]);
        assert_eq!(of("-s"), Some(Backend::Iptables));
        assert_eq!(of("!"), Some(Backend::Iptables));
        assert_eq!(of("ip"), Some(Backend::Nftables));
        assert_eq!(of(""), None);
        assert_eq!(language(&[]), None);
    }

    proptest::proptest! {
        #[test]
        fn any_words_are_read(words in proptest::collection::vec("[a-z!=./{} \"]{0,12}", 0..6), ipv4: bool) {
            let _ = parse(&words, ipv4);
        }
    }
}
