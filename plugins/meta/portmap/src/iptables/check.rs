//! CHECK: compares the table with what ADD makes.

use super::rules::{
    DNAT, MASQUERADE, SET_MARK, base_jumps, chain_jumps, chain_of, mapping_rules, marking_rules,
};
use super::{family, family_name};
use crate::config::Config;
use anyhow::{Context, anyhow, bail};
use cni_core::Cidr;
use cni_state::Owner;
use netfilter::iptables::{Iptables, Rule, Saved, Table};

/// Compares the rules of an attachment, and those that all share, with what ADD makes.
///
/// # Errors
/// At the first difference.
pub(crate) fn check(owner: &Owner, config: &Config, targets: &[Cidr]) -> anyhow::Result<()> {
    for target in targets {
        let family = family(target.is_ipv4());
        Iptables::find(family)
            .map_err(anyhow::Error::from)
            .and_then(|commands| check_target(&commands, owner, config, *target))
            .with_context(|| format!("could not check {} dnat", family_name(family)))?;
    }
    Ok(())
}

fn check_target(
    commands: &Iptables,
    owner: &Owner,
    config: &Config,
    target: Cidr,
) -> anyhow::Result<()> {
    let saved = commands.read(Table::Nat)?;
    let chain = chain_of(&owner.network, &owner.container_id);
    for name in [chain.as_str(), DNAT] {
        if !saved.has_chain(name) {
            bail!("chain {name} not found in iptables table nat");
        }
    }
    let missing =
        |chain: &str, rule: &Rule| anyhow!("rule [{rule}] in chain {chain} not found in table nat");
    // Without the external chain, ADD has had the plugin's own chain mark.
    let marks_itself = saved.rules_of(&chain).any(|rule| rule.jumps_to(SET_MARK));
    let external = config.set_mark_chain.as_deref().filter(|_| !marks_itself);
    for rule in mapping_rules(config, target, external) {
        if !saved.has_rule(&chain, &rule) {
            return Err(missing(&chain, &rule));
        }
    }
    let conditions = config.conditions(target.is_ipv4());
    for rule in chain_jumps(owner, &config.mappings, conditions) {
        let found = match rule.has_user_args() {
            // Only iptables itself can compare these.
            true => commands.check_rule(Table::Nat, DNAT, &rule)?,
            false => saved.has_rule(DNAT, &rule),
        };
        if !found {
            return Err(missing(DNAT, &rule));
        }
    }
    let marking = marking_rules(config, external);
    let marks = !marking.is_empty();
    for (chain, rule) in marking.into_iter().chain(base_jumps()) {
        if !saved.has_rule(chain, &rule) {
            return Err(missing(chain, &rule));
        }
    }
    match marks {
        true => check_order(&saved),
        false => Ok(()),
    }
}

/// Another masquerade rule before the jump would take the marked connections.
fn check_order(saved: &Saved) -> anyhow::Result<()> {
    let mut before = saved
        .rules_of("POSTROUTING")
        .take_while(|rule| !rule.jumps_to(MASQUERADE));
    match before.find(|rule| rule.jumps_to("MASQUERADE")) {
        Some(rule) => bail!(
            "rule [{}] in chain POSTROUTING comes before the jump to {MASQUERADE} in table nat",
            rule.text
        ),
        None => Ok(()),
    }
}
