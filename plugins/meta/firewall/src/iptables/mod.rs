//! The iptables backend, table `filter`: chains, rules and comments in upstream's
//! form, so that either implementation finds what the other one added.

mod check;
mod rules;

pub(crate) use check::check;

use crate::attachment::Attachment;
use crate::config::{Config, Policy};
use crate::record::{Record, note};
use netfilter::Error;
use netfilter::iptables::{self, Change, Family, Iptables, Saved};
use plugin_kit::failures::Failures;
use rules::{
    CONTAINERS, ChainRule, FAMILIES, FORWARD, STAGE_1, STAGE_2, TABLE, all_bridge_rules, back,
    bridge_rules, container_rules, drop_within, to_admin, to_containers, to_stage_1,
};
use std::net::IpAddr;

/// The rules that a call has added: they are deleted again unless [`Added::keep`] is
/// called.
#[derive(Default)]
pub(crate) struct Added {
    rules: Vec<(Family, Vec<ChainRule>)>,
}

impl Added {
    /// Keeps the rules.
    pub(crate) fn keep(mut self) {
        self.rules.clear();
    }
}

impl Drop for Added {
    fn drop(&mut self) {
        for (family, rules) in self.rules.drain(..).rev() {
            if let Err(error) = delete(family, &rules) {
                note(&format!("failed to undo the rules: {error}"));
            }
        }
    }
}

/// Accepts the traffic of the attachment's addresses (with `accept`), and enforces its
/// policy, family by family.
///
/// # Errors
/// Those of iptables; only shared chains are left then.
pub(crate) fn add(config: &Config, attachment: &Attachment, accept: bool) -> Result<Added, Error> {
    let mut added = Added::default();
    for family in FAMILIES {
        let addresses = of_family(&attachment.addresses, family);
        if !addresses.is_empty() && (accept || attachment.bridge.is_some()) {
            let iptables = Iptables::find(family)?;
            let additions =
                |saved: &Saved| additions(config, attachment, accept, &addresses, saved);
            // Only policies depend on other rules of the table.
            if attachment.bridge.is_none() && !iptables::may_have_chain(family, TABLE, STAGE_1) {
                let (change, rules) = additions(&Saved::parse(String::new()));
                if iptables.add_directly(&change)? {
                    added.rules.push((family, rules));
                    continue;
                }
            }
            let mut new = Vec::new();
            iptables.transaction(TABLE, |saved| {
                let (change, rules) = additions(saved);
                new = rules;
                change
            })?;
            added.rules.push((family, new));
        }
    }
    Ok(added)
}

/// Finds the commands of all families before any is run.
///
/// # Errors
/// If one is not installed.
pub(crate) fn require_commands(addresses: &[IpAddr]) -> Result<(), Error> {
    let mut families = addresses.iter().map(|address| Family::of(*address));
    families.try_for_each(|family| Iptables::find(family).map(drop))
}

fn of_family(addresses: &[IpAddr], family: Family) -> Vec<IpAddr> {
    let addresses = addresses.iter().copied();
    addresses
        .filter(|address| Family::of(*address) == family)
        .collect()
}

/// Returns the change of a table, and the rules that it adds for this attachment only.
fn additions(
    config: &Config,
    attachment: &Attachment,
    accept: bool,
    addresses: &[IpAddr],
    saved: &Saved,
) -> (Change, Vec<ChainRule>) {
    let mut change = Change::new(TABLE);
    let mut own = Vec::new();
    if accept {
        let admin = &config.admin_chain;
        change = change
            .chain(CONTAINERS)
            .chain(admin)
            .insert(FORWARD, to_containers())
            .insert(CONTAINERS, to_admin(admin));
        for rule in addresses
            .iter()
            .flat_map(|address| container_rules(*address))
        {
            change = change.append(CONTAINERS, rule.clone());
            own.push((CONTAINERS, rule));
        }
    }
    if let Some(bridge) = &attachment.bridge {
        change = change.chain(STAGE_1).chain(STAGE_2);
        change = change.insert(FORWARD, to_stage_1());
        let policy = effective(config.policy, bridge, &attachment.owner.network, saved);
        let wanted = bridge_rules(bridge, policy);
        for (chain, rule) in all_bridge_rules(bridge) {
            let is_other = chain == STAGE_1 && !wanted.iter().any(|(_, w)| w.same_as(&rule));
            if is_other && saved.has_rule(chain, &rule) {
                change = change.delete(chain, rule);
            }
        }
        for (chain, rule) in wanted {
            change = change.insert(chain, rule.clone());
            own.push((chain, rule));
        }
        change = change.append(STAGE_1, back()).append(STAGE_2, back());
    }
    if is_bypassed(saved, accept) {
        change = change.delete(FORWARD, to_stage_1());
        change = change.insert(FORWARD, to_stage_1());
    }
    own.retain(|(chain, rule)| !saved.has_rule(chain, rule));
    (change, own)
}

/// Returns whether packets pass the containers' rules before the policies', in a table
/// that has both, or will have.
fn is_bypassed(saved: &Saved, accept: bool) -> bool {
    let place = |target: &str| {
        saved
            .rules_of(FORWARD)
            .position(|rule| rule.jumps_to(target))
    };
    match (place(STAGE_1), place(CONTAINERS)) {
        (Some(stage_1), Some(containers)) => stage_1 > containers,
        // The jump to the containers will be inserted at the top.
        (Some(_), None) => accept,
        (None, _) => false,
    }
}

/// Returns the policy that a bridge gets: a network's newer configuration replaces the
/// older one, but of two networks the stricter one applies.
fn effective(policy: Policy, bridge: &str, network: &str, saved: &Saved) -> Policy {
    if policy == Policy::Isolated || !saved.has_rule(STAGE_1, &drop_within(bridge)) {
        return policy;
    }
    let is_others = |record: &Record| {
        let of_bridge = record
            .policy
            .as_ref()
            .filter(|found| found.bridge == bridge);
        record.owner.network != network
            && of_bridge.is_some_and(|found| found.policy == Policy::Isolated)
    };
    match Record::all().iter().any(is_others) {
        true => Policy::Isolated,
        false => policy,
    }
}

/// Deletes rules from a table.
fn delete(family: Family, rules: &[ChainRule]) -> Result<(), Error> {
    match rules.is_empty() {
        true => Ok(()),
        false => iptables::delete(family, &deletion(rules)),
    }
}

fn deletion(rules: &[ChainRule]) -> Change {
    rules
        .iter()
        .fold(Change::new(TABLE), |change, (chain, rule)| {
            change.delete(chain, rule.clone())
        })
}

/// The rules of a family's addresses, with their chain.
fn rules_of(addresses: &[IpAddr], family: Family) -> Vec<ChainRule> {
    let own = of_family(addresses, family);
    let rules = own.iter().flat_map(|address| container_rules(*address));
    rules.map(|rule| (CONTAINERS, rule)).collect()
}

/// Deletes the rules of addresses, whoever added them, and those of bridges that are
/// `gone`. Each family is tried whatever became of the other.
///
/// # Errors
/// Those of iptables.
pub(crate) fn del(addresses: &[IpAddr], gone: &[String]) -> anyhow::Result<()> {
    each_family(|family| {
        let mut rules = rules_of(addresses, family);
        if gone.is_empty() {
            return delete(family, &rules);
        }
        for bridge in gone {
            rules.extend(all_bridge_rules(bridge));
        }
        // Most of these do not exist, so the table is read first.
        iptables::delete_where(family, TABLE, |_| deletion(&rules))
    })
}

/// Deletes the rules of addresses, and those of bridges that are `gone`.
///
/// # Errors
/// Those of iptables.
pub(crate) fn gc(addresses: &[IpAddr], gone: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    each_family(|family| {
        delete(family, &rules_of(addresses, family))?;
        iptables::delete_where(family, TABLE, |saved| {
            let bridges = bridges(saved);
            let gone = bridges.iter().filter(|bridge| gone(bridge));
            let rules: Vec<ChainRule> = gone.flat_map(|bridge| all_bridge_rules(bridge)).collect();
            deletion(&rules)
        })
    })
}

/// Returns the bridges that have policies in a table.
fn bridges(saved: &Saved) -> Vec<String> {
    let mut names: Vec<String> = saved
        .rules_of(STAGE_1)
        .chain(saved.rules_of(STAGE_2))
        .filter_map(|rule| {
            let mut words = rule.text.split_ascii_whitespace();
            words.find(|word| *word == "-i" || *word == "-o")?;
            words.next().map(str::to_owned)
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn each_family(mut work: impl FnMut(Family) -> Result<(), Error>) -> anyhow::Result<()> {
    let mut failures = Failures::default();
    for family in FAMILIES {
        failures.add(work(family));
    }
    failures.result()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_as_iptables_prints_them() {
        let [to, from] = container_rules("fd00::2".parse().unwrap());
        assert_eq!(
            to.to_string(),
            "-d fd00::2/128 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
        );
        assert_eq!(from.to_string(), "-s fd00::2/128 -j ACCEPT");
        assert_eq!(
            drop_within("cni0").to_string(),
            "-i cni0 -o cni0 -m comment --comment \
             \"CNI firewall plugin rules (ingressPolicy: isolated)\" -j DROP"
        );
    }

    #[test]
    fn policies_come_first() {
        let saved = |forward: &str| Saved::parse(format!("*filter\n{forward}\nCOMMIT\n"));
        let (policy, containers) = (
            "-A FORWARD -j CNI-ISOLATION-STAGE-1",
            "-A FORWARD -j CNI-FORWARD",
        );
        assert!(!is_bypassed(
            &saved(&format!("{policy}\n{containers}")),
            true
        ));
        assert!(is_bypassed(
            &saved(&format!("{containers}\n{policy}")),
            false
        ));
        assert!(is_bypassed(&saved(policy), true));
        assert!(!is_bypassed(&saved(policy), false));
        assert!(!is_bypassed(&saved(containers), true));
    }

    #[test]
    fn bridges_of_a_table() {
        let text = all_bridge_rules("br-b")
            .into_iter()
            .chain(all_bridge_rules("br-a"))
            .map(|(chain, rule)| format!("-A {chain} {rule}\n"))
            .collect();
        assert_eq!(bridges(&Saved::parse(text)), ["br-a", "br-b"]);
    }
}
