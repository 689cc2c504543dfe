//! The iptables backend, in upstream's chains and rules: a chain for each container, to
//! which rules in a shared chain jump.

mod check;
mod rules;

pub(crate) use check::check;

use crate::attachment::socket;
use crate::config::Config;
use crate::mapping::Mapping;
use anyhow::Context;
use cni_core::Cidr;
use cni_state::Owner;
use netfilter::iptables::{self, Change, Family, Iptables, Saved, Table};
use plugin_kit::chain::note;
use plugin_kit::failures::Failures;
use rules::{
    DNAT, SET_MARK, base_jumps, chain_jumps, chain_of, comment_of_network, host_port_rule,
    mapping_rules, marking_rules, old_chain_of,
};

/// Both families, the one of IPv4 first.
pub(crate) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

fn family(ipv4: bool) -> Family {
    if ipv4 { Family::V4 } else { Family::V6 }
}

/// Returns upstream's name of a family in errors.
fn family_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

/// `shared`: the container has another interface in the network, whose rules are in the
/// same chain and stay first.
fn addition(
    owner: &Owner,
    config: &Config,
    target: Cidr,
    shared: bool,
    external: Option<&str>,
) -> Change {
    let mut change = Change::new(Table::Nat);
    for (chain, rule) in marking_rules(config, external) {
        change = match chain {
            "POSTROUTING" => change.insert(chain, rule),
            chain => change.chain(chain).append(chain, rule),
        };
    }
    change = change.chain(DNAT);
    for (chain, rule) in base_jumps() {
        change = change.append(chain, rule);
    }
    let chain = chain_of(&owner.network, &owner.container_id);
    change = match shared {
        false => change.own_chain(&chain).delete_jumps(DNAT, &chain),
        true => change.chain(&chain),
    };
    for rule in mapping_rules(config, target, external) {
        change = change.append(&chain, rule);
    }
    let conditions = config.conditions(target.is_ipv4());
    for rule in chain_jumps(owner, &config.mappings, conditions) {
        change = change.append(DNAT, rule);
    }
    change
}

/// Deletes from a chain shared with another interface the rules of this one.
fn partial_deletion(
    owner: &Owner,
    mappings: &[Mapping],
    targets: &[Cidr],
    family: Family,
) -> Change {
    let chain = chain_of(&owner.network, &owner.container_id);
    let mut change = Change::new(Table::Nat);
    for target in targets {
        if Family::of(target.addr()) == family {
            for mapping in mappings.iter().filter(|m| m.is_for(target.is_ipv4())) {
                change = change.delete(
                    &chain,
                    host_port_rule(mapping).dnat(socket(*target, mapping)),
                );
            }
        }
    }
    change
}

/// The jumps are deleted first, so that no packet enters an empty chain.
fn deletion(owner: &Owner, mappings: &[Mapping], conditions: &[String]) -> Change {
    let mut change = Change::new(Table::Nat);
    for rule in chain_jumps(owner, mappings, conditions) {
        change = change.delete(DNAT, rule);
    }
    change
        .delete_chain(&chain_of(&owner.network, &owner.container_id))
        .delete_old_chain(&old_chain_of(owner))
}

/// Adds the rules of an attachment for one address, in place of those that it had. If
/// `externalSetMarkChain` does not exist, the plugin's own chain marks.
pub(crate) fn add(
    owner: &Owner,
    config: &Config,
    target: Cidr,
    shared: bool,
) -> anyhow::Result<()> {
    let commands = Iptables::find(family(target.is_ipv4())).context("failed to open iptables")?;
    let apply = |external| commands.apply(&addition(owner, config, target, shared, external));
    let external = config.set_mark_chain.as_deref();
    let is_missing = |chain: &str| {
        let saved = commands.read(Table::Nat);
        saved.is_ok_and(|saved| !saved.has_chain(chain))
    };
    match (apply(external), external) {
        (Err(_), Some(chain)) if is_missing(chain) => {
            note(&format!(
                "portmap: externalSetMarkChain {chain} does not exist in table nat ({}); \
                 {SET_MARK} marks connections instead",
                family_name(family(target.is_ipv4()))
            ));
            apply(None)
        }
        (outcome, _) => outcome,
    }
    .context("unable to setup DNAT")
}

/// Deletes the rules of an attachment in one family. Runs no command if there are none.
/// `shared_by`: the container's addresses, if it has another interface in the network.
pub(crate) fn delete(
    owner: &Owner,
    mappings: &[Mapping],
    conditions: &[String],
    family: Family,
    shared_by: Option<&[Cidr]>,
) -> anyhow::Result<()> {
    let what = || format!("could not teardown {} dnat", family_name(family));
    let chain = chain_of(&owner.network, &owner.container_id);
    let old = old_chain_of(owner);
    let may_exist = |chain: &String| iptables::may_have_chain(family, Table::Nat, chain);
    if ![&chain, &old].into_iter().any(may_exist) {
        return Ok(());
    }
    let change = match shared_by {
        None => deletion(owner, mappings, conditions),
        Some(targets) => partial_deletion(owner, mappings, targets, family),
    };
    iptables::delete(family, &change).with_context(what)
}

/// Deletes the chains of a network's containers that are not valid. The comments of the
/// rules that jump to a chain name its container.
pub(crate) fn collect(network: &str, valid: &[Owner]) -> anyhow::Result<()> {
    let valid: Vec<String> = valid
        .iter()
        .map(|owner| chain_of(network, &owner.container_id))
        .collect();
    let prefix = comment_of_network(network);
    let mut failures = Failures::default();
    for family in FAMILIES {
        if iptables::may_have_chain(family, Table::Nat, DNAT) {
            let stale = |saved: &Saved| delete_stale_chains(saved, &prefix, &valid);
            failures.add(iptables::delete_where(family, Table::Nat, stale));
        }
    }
    failures.result()
}

/// Deletes the chains that rules with a comment of this prefix jump to, except the
/// valid ones.
fn delete_stale_chains(saved: &Saved, prefix: &str, valid: &[String]) -> Change {
    let mut change = Change::new(Table::Nat);
    let mut stale: Vec<String> = Vec::new();
    for rule in saved.rules_of(DNAT) {
        let rule = rule.parse();
        let (Some(comment), Some(chain)) = (rule.comment_text(), rule.target_name()) else {
            continue;
        };
        let is_stale = comment.starts_with(prefix)
            && chain.starts_with("CNI-DN-")
            && !valid.iter().chain(&stale).any(|known| known == chain);
        if is_stale {
            stale.push(chain.to_owned());
            change = change.delete_jumps(DNAT, chain).delete_chain(chain);
        }
    }
    change
}
