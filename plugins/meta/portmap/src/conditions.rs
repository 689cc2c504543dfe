//! `conditionsV4` and `conditionsV6`: additional matches of a mapping.
//!
//! For iptables they are arguments, passed on as they are. For nftables, plain
//! comparisons of interface names and addresses are encoded here, which needs no
//! `nft`. Everything else (sets, ranges, `ct state`, named sets, …) is left to the
//! `nft` command: its language is too large to be repeated.

use anyhow::bail;
use cni_core::quote::quote;
use cni_core::{Cidr, cidr};
use netfilter::backend::Backend;
use netfilter::nft::{Prefix, Rule, is_statement_part};

/// The conditions of one address family in the language of nftables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conditions {
    /// Comparisons that are encoded natively; there may be none.
    Comparisons(Vec<Comparison>),
    /// A part of a statement for the `nft` command.
    Script(String),
}

/// A comparison of one field with one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    field: Field,
    is_negated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    InInterface(String),
    OutInterface(String),
    Source(Cidr),
    Destination(Cidr),
}

/// Returns the backend whose language the words are in, told as upstream does by the
/// first character; `None` for no words or an empty first one.
pub(crate) fn language(words: &[String]) -> Option<Backend> {
    match words.first()?.chars().next()? {
        '-' | '!' => Some(Backend::Iptables),
        _ => Some(Backend::Nftables),
    }
}

/// Parses conditions in the language of nftables: the words, joined with spaces.
///
/// # Errors
/// For a character that would end the statement.
pub(crate) fn parse(words: &[String], ipv4: bool) -> anyhow::Result<Conditions> {
    let text = words.join(" ");
    if !is_statement_part(&text) {
        bail!(
            "{} cannot be part of a rule: remove control characters, \";\", \"#\" and \"\\\"",
            quote(&text)
        );
    }
    Ok(match comparisons(&text, ipv4) {
        Some(comparisons) => Conditions::Comparisons(comparisons),
        None => Conditions::Script(text),
    })
}

/// Reads text that consists of nothing but comparisons, such as
/// `iifname "eth0" ip saddr != 10.0.0.0/8`.
fn comparisons(text: &str, ipv4: bool) -> Option<Vec<Comparison>> {
    let family = if ipv4 { "ip" } else { "ip6" };
    let mut words = text.split_ascii_whitespace().peekable();
    let mut comparisons = Vec::new();
    while let Some(word) = words.next() {
        let (header, keyword) = match word {
            "iifname" | "oifname" => ("meta", word),
            header => (header, words.next()?),
        };
        let operator = words.next_if(|next| matches!(*next, "!=" | "=="));
        let value = words.next()?.trim_matches('"');
        let field = match (header, keyword) {
            ("meta", "iifname") => Field::InInterface(interface(value)?),
            ("meta", "oifname") => Field::OutInterface(interface(value)?),
            (header, "saddr") if header == family => Field::Source(network(value, ipv4)?),
            (header, "daddr") if header == family => Field::Destination(network(value, ipv4)?),
            _ => return None,
        };
        comparisons.push(Comparison {
            field,
            is_negated: operator == Some("!="),
        });
    }
    Some(comparisons)
}

/// A complete interface name: no wildcard, set or variable.
fn interface(name: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_name = (1..16).contains(&name.len()) && name.bytes().all(is_plain);
    is_name.then(|| name.to_owned())
}

fn network(text: &str, ipv4: bool) -> Option<Cidr> {
    let network = match text.contains('/') {
        true => text.parse().ok()?,
        false => Cidr::host(cidr::parse_ip(text).ok()?),
    };
    (network.is_ipv4() == ipv4).then_some(network)
}

impl Comparison {
    /// Appends the match to a rule.
    pub(crate) fn apply<'r>(&self, rule: Rule<'r>) -> Rule<'r> {
        let prefix = |network: &Cidr| Prefix::new(network.addr(), network.prefix());
        match (&self.field, self.is_negated) {
            (Field::InInterface(name), false) => rule.iifname(name),
            (Field::InInterface(name), true) => rule.not_iifname(name),
            (Field::OutInterface(name), false) => rule.oifname(name),
            (Field::OutInterface(name), true) => rule.not_oifname(name),
            (Field::Source(network), false) => rule.saddr(prefix(network)),
            (Field::Source(network), true) => rule.not_saddr(prefix(network)),
            (Field::Destination(network), false) => rule.daddr(prefix(network)),
            (Field::Destination(network), true) => rule.not_daddr(prefix(network)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str], ipv4: bool) -> Conditions {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        parse(&words, ipv4).unwrap()
    }

    #[test]
    fn plain_comparisons_are_native() {
        let count = |words: &[&str], ipv4| match read(words, ipv4) {
            Conditions::Comparisons(list) => list.len(),
            Conditions::Script(text) => panic!("{text}"),
        };
        assert_eq!(count(&[], true), 0);
        assert_eq!(count(&["iifname", "eth0"], true), 1);
        assert_eq!(count(&["meta iifname != \"eth0\""], true), 1);
        let two = ["ip", "saddr", "!=", "10.0.0.0/8", "oifname", "==", "eth0"];
        assert_eq!(count(&two, true), 2);
        assert_eq!(count(&["ip6 daddr fd00::/8"], false), 1);
    }

    #[test]
    fn everything_else_is_left_to_nft() {
        for text in [
            "ip saddr 10.0.0.0/8",
            "ip6 saddr 10.0.0.0/8",
            "ip6 saddr",
            "ip6 saddr x",
            "ip6 saddr { ::1 }",
            "ip6 saddr ::1-::5",
            "ip6 saddr @set",
            "ip6",
            "tcp dport 5",
            "ip6 iifname eth0",
            "iifname eth*",
            "iifname { eth0, eth1 }",
            "iifname eth0 ct state new",
        ] {
            let expected = Conditions::Script(text.to_owned());
            let words: Vec<&str> = text.split(' ').collect();
            assert_eq!(read(&words, false), expected);
        }
    }

    #[test]
    fn a_statement_cannot_be_ended() {
        for text in ["ip saddr ::1; flush ruleset", "# x", "a\nb"] {
            assert!(parse(&[text.to_owned()], true).is_err(), "{text}");
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
