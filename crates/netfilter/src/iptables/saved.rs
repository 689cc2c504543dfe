//! What `iptables-save` prints of a table.

use super::rule::Rule;

/// The chains and rules of one table at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    text: String,
}

/// A rule of it, not yet looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedRule<'a> {
    /// The chain it is in.
    pub chain: &'a str,
    /// What follows the name of the chain.
    pub text: &'a str,
}

impl SavedRule<'_> {
    /// What it says.
    pub fn parse(&self) -> Rule {
        Rule::parse(self.text)
    }

    /// Whether it leads to this target. Cheaper than to parse every rule.
    #[must_use]
    pub fn jumps_to(&self, target: &str) -> bool {
        self.text.contains(target) && self.parse().target_name() == Some(target)
    }
}

impl Saved {
    /// Takes what `iptables-save -t table` printed. Lines that mean nothing
    /// here are passed over.
    #[must_use]
    pub fn parse(text: String) -> Saved {
        Saved { text }
    }

    /// The names of the chains, the built-in ones included.
    pub fn chains(&self) -> impl Iterator<Item = &str> {
        self.text.lines().filter_map(|line| {
            let name = line.strip_prefix(':')?;
            name.split_ascii_whitespace().next()
        })
    }

    /// Whether a chain exists.
    #[must_use]
    pub fn has_chain(&self, name: &str) -> bool {
        self.chains().any(|chain| chain == name)
    }

    /// All rules, in the order of their chains and places.
    pub fn rules(&self) -> impl Iterator<Item = SavedRule<'_>> {
        self.text.lines().filter_map(|line| {
            let line = line.strip_prefix("-A ")?;
            let (chain, text) = line.split_once(' ').unwrap_or((line, ""));
            Some(SavedRule { chain, text })
        })
    }

    /// The rules of a chain, in their order.
    pub fn rules_of<'a>(&'a self, chain: &'a str) -> impl Iterator<Item = SavedRule<'a>> {
        self.rules().filter(move |rule| rule.chain == chain)
    }

    /// Whether a chain holds a rule. False for rules with words of a user, see
    /// [`Iptables::holds`](super::Iptables::holds).
    #[must_use]
    pub fn has_rule(&self, chain: &str, rule: &Rule) -> bool {
        let looked_for = Looked::new(rule);
        self.rules_of(chain)
            .any(|found| looked_for.is(rule, found.text))
    }
}

/// A rule that is looked for among many: most are told apart without being
/// parsed.
pub(crate) struct Looked {
    needles: Vec<String>,
}

impl Looked {
    pub(crate) fn new(rule: &Rule) -> Looked {
        let networks = [rule.source_network(), rule.destination_network()];
        let needles = networks.into_iter().chain([rule.target_name()]);
        Looked {
            needles: needles.flatten().map(str::to_owned).collect(),
        }
    }

    pub(crate) fn is(&self, rule: &Rule, text: &str) -> bool {
        self.needles.iter().all(|needle| text.contains(needle)) && Rule::parse(text).same(rule)
    }
}
