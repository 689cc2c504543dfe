//! The output of `iptables-save`.

use super::rule::Rule;

/// The chains and rules of one table, as `iptables-save` printed them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    text: String,
}

/// A rule in the output, not parsed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedRule<'a> {
    /// The chain.
    pub chain: &'a str,
    /// The text after the chain's name.
    pub text: &'a str,
}

impl SavedRule<'_> {
    /// Returns the parsed rule.
    pub fn parse(&self) -> Rule {
        Rule::parse(self.text)
    }

    /// Returns whether the rule jumps to `target`; cheaper than [`SavedRule::parse`].
    #[must_use]
    pub fn jumps_to(&self, target: &str) -> bool {
        self.text.contains(target) && self.parse().target_name() == Some(target)
    }
}

impl Saved {
    /// Takes the output of `iptables-save -t table`. Unknown lines are ignored.
    #[must_use]
    pub fn parse(text: String) -> Saved {
        Saved { text }
    }

    /// Returns the names of the chains, including the built-in ones.
    pub fn chains(&self) -> impl Iterator<Item = &str> {
        self.text.lines().filter_map(|line| {
            let name = line.strip_prefix(':')?;
            name.split_ascii_whitespace().next()
        })
    }

    /// Returns whether a chain exists.
    #[must_use]
    pub fn has_chain(&self, name: &str) -> bool {
        self.chains().any(|chain| chain == name)
    }

    /// Returns the policy of a built-in chain, `ACCEPT` or `DROP`.
    #[must_use]
    pub fn policy(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|line| {
            let mut words = line.strip_prefix(':')?.split_ascii_whitespace();
            (words.next() == Some(name)).then(|| words.next())?
        })
    }

    /// Returns all rules, chain by chain.
    pub fn rules(&self) -> impl Iterator<Item = SavedRule<'_>> {
        self.text.lines().filter_map(|line| {
            let line = line.strip_prefix("-A ")?;
            let (chain, text) = line.split_once(' ').unwrap_or((line, ""));
            Some(SavedRule { chain, text })
        })
    }

    /// Returns the rules of a chain in order.
    pub fn rules_of<'a>(&'a self, chain: &'a str) -> impl Iterator<Item = SavedRule<'a>> {
        self.rules().filter(move |rule| rule.chain == chain)
    }

    /// Returns whether a chain has a rule. Always `false` for rules with
    /// [`user_args`](Rule::user_args), see
    /// [`Iptables::check_rule`](super::Iptables::check_rule).
    #[must_use]
    pub fn has_rule(&self, chain: &str, rule: &Rule) -> bool {
        let filter = RuleFilter::new(rule);
        self.rules_of(chain)
            .any(|found| filter.matches(rule, found.text))
    }
}

/// Finds a rule among many: most others are excluded without parsing them.
pub(crate) struct RuleFilter {
    needles: Vec<String>,
}

impl RuleFilter {
    pub(crate) fn new(rule: &Rule) -> RuleFilter {
        let networks = [rule.source_network(), rule.destination_network()];
        let needles = networks.into_iter().chain([rule.target_name()]);
        RuleFilter {
            needles: needles.flatten().map(str::to_owned).collect(),
        }
    }

    /// Returns whether `text` is `rule`.
    pub(crate) fn matches(&self, rule: &Rule, text: &str) -> bool {
        self.needles.iter().all(|needle| text.contains(needle)) && Rule::parse(text).same_as(rule)
    }
}
