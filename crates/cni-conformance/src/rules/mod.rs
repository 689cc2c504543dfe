//! The rules, in groups. A module is a group, and its name is the first part of the IDs of its rules.

mod add;
mod arguments;
mod chain;
mod check;
mod command;
mod concurrency;
mod config;
mod connectivity;
mod del;
mod delegate;
mod delegated_verbs;
mod delegation;
mod drift;
mod effects;
mod errors;
mod gc;
mod identifiers;
mod input;
mod ipam;
mod ipv6;
mod kernel;
mod leaks;
mod namespace;
mod ports;
mod previous;
mod requested;
mod reuse;
mod shapes;
mod status;
mod support;
mod traffic;
mod variables;
mod versions;

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Invocation, Node, patience};

use crate::rig::{Pod, Rig};
use crate::rule::Rule;
use crate::worker;

/// The groups, in the order in which they are listed.
const GROUPS: &[&[Rule]] = &[
    command::RULES,
    variables::RULES,
    identifiers::RULES,
    namespace::RULES,
    arguments::RULES,
    input::RULES,
    config::RULES,
    errors::RULES,
    versions::RULES,
    shapes::RULES,
    kernel::RULES,
    previous::RULES,
    add::RULES,
    del::RULES,
    check::RULES,
    drift::RULES,
    chain::RULES,
    delegation::RULES,
    delegated_verbs::RULES,
    gc::RULES,
    status::RULES,
    concurrency::RULES,
    ipv6::RULES,
    connectivity::RULES,
    ports::RULES,
    effects::RULES,
    reuse::RULES,
    leaks::RULES,
    ipam::RULES,
    requested::RULES,
];

/// All rules, group by group.
pub(crate) fn all() -> impl Iterator<Item = &'static Rule> {
    GROUPS.iter().copied().flatten()
}

/// The rule with this ID.
pub(crate) fn find(id: &str) -> Option<&'static Rule> {
    all().find(|rule| rule.id == id)
}

/// A call of `verb` for a container with a configuration that the plugin accepts.
fn call(rig: &Rig, verb: &str, pod: &Pod) -> Invocation {
    rig.call(verb, &pod.container, &pod.config(rig))
}

/// Sets links up that are no plugin's, without an address from the kernel.
fn set_up(node: &impl Node, names: &[&str]) {
    for name in names {
        // In one request, the kernel would first set the link up, and give it an address.
        node.ip(&format!("link set {name} addrgenmode none"));
        node.ip(&format!("link set {name} up"));
    }
}

/// Waits until the kernel has noticed that both ends of a pair are up. If it does not, the rule cannot be checked.
fn wait_until_up(node: &impl Node, name: &str) {
    let end = Instant::now() + Duration::from_secs(10) * patience();
    let is_up = || {
        let shown = node.ip(&format!("link show dev {name}"));
        shown.contains(" state UP ")
    };
    worker::prepare(|| {
        while !is_up() {
            assert!(Instant::now() < end, "{name} does not come up");
            thread::sleep(Duration::from_millis(10));
        }
    });
}

/// The elements of a list in a JSON object; none if there is no list.
fn elements<'v>(object: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    object[key].as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rule::Severity;

    #[test]
    fn ids_are_unique_and_well_formed() {
        let mut seen = BTreeSet::new();
        for rule in all() {
            let (group, name) = rule.id.split_once('.').expect(rule.id);
            let is_word = |part: &str| {
                let mut characters = part.chars();
                !part.is_empty()
                    && characters
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c))
            };
            assert!(is_word(group) && is_word(name), "{}", rule.id);
            assert!(seen.insert(rule.id), "{} occurs twice", rule.id);
            assert!(
                !rule.text.is_empty() && !rule.source.is_empty(),
                "{}",
                rule.id
            );
            assert!(
                !rule.text.ends_with('.') && !rule.text.contains('\n'),
                "{}",
                rule.id
            );
        }
    }

    /// What must be says the specification, and no runtime depends on what only the library does.
    #[test]
    fn severities_agree_with_sources() {
        for rule in all() {
            let agrees = match rule.severity {
                Severity::Must => rule.source.starts_with("spec "),
                Severity::Runtime => !rule.source.starts_with("library: "),
                Severity::Should => true,
            };
            assert!(
                agrees,
                "{}: {} from {}",
                rule.id, rule.severity, rule.source
            );
        }
    }

    #[test]
    fn groups_are_whole() {
        for group in GROUPS {
            let names: BTreeSet<&str> = group.iter().map(Rule::group).collect();
            assert_eq!(names.len(), 1, "{names:?}");
        }
    }
}
