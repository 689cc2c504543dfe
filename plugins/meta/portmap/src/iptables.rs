//! The iptables backend, in upstream's chains and rules: a chain for each container,
//! which the shared chains lead to.

use crate::attachment::{Attachment, socket};
use crate::config::{Config, Mapping, Protocol};
use anyhow::{Context, anyhow, bail};
use cni_core::Cidr;
use cni_core::types::Attachment as ValidAttachment;
use netfilter::iptables::{self, Change, Family, Iptables, Rule, Saved, Table};
use plugin_kit::chain::note;
use plugin_kit::names;
use std::net::{IpAddr, Ipv4Addr};

const SET_MARK: &str = "CNI-HOSTPORT-SETMARK";
const MASQUERADE: &str = "CNI-HOSTPORT-MASQ";
const DNAT: &str = "CNI-HOSTPORT-DNAT";

/// Ports of one rule (`XT_MULTI_PORTS`).
const MULTI_PORTS: usize = 15;

/// Bytes of a comment that iptables keeps (`XT_MAX_COMMENT_LEN`, without the zero).
const COMMENT_MAX: usize = 255;

/// Both families, the one of IPv4 first.
pub(crate) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

fn family(ipv4: bool) -> Family {
    if ipv4 { Family::V4 } else { Family::V6 }
}

/// As upstream names them in errors.
fn word(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

/// The name of a container's chain.
fn chain_of(network: &str, container_id: &str) -> String {
    names::of_attachment("CNI-DN-", network, container_id, 28)
}

fn old_chain_of(attachment: &Attachment<'_>) -> String {
    names::of_attachment("CNI-SN-", attachment.network, attachment.container_id, 28)
}

/// The comment of the rules that lead to a container's chain, cut as the kernel's
/// copy of upstream's is.
fn comment(attachment: &Attachment<'_>) -> String {
    let mut text = format!(
        "{}id: \"{}\"",
        comment_of_network(attachment.network),
        attachment.container_id
    );
    if text.len() > COMMENT_MAX {
        // Names and container IDs are ASCII.
        text.truncate(COMMENT_MAX - 2);
        text.push_str("..");
    }
    text
}

fn comment_of_network(network: &str) -> String {
    format!("dnat name: \"{network}\" ")
}

/// Rules with the chains they belong to.
type Rules = Vec<(&'static str, Rule)>;

/// The rules that mark and masquerade, shared by all containers; none if a chain of
/// somebody else marks. The jump from POSTROUTING is inserted at the top, because
/// another masquerade rule before it would take the connections.
fn marking_rules(config: &Config, external: Option<&str>) -> Rules {
    if !config.snat || external.is_some() {
        return Vec::new();
    }
    let mark = config.mark;
    let set = Rule::new().comment("CNI portfwd masquerade mark");
    let jump = Rule::new().comment("CNI portfwd requiring masquerade");
    vec![
        (SET_MARK, set.set_mark(mark, mark)),
        (MASQUERADE, Rule::new().mark(mark, mark).jump("MASQUERADE")),
        ("POSTROUTING", jump.jump(MASQUERADE)),
    ]
}

/// Only what is sent to this host itself may be caught.
fn entrances() -> Rules {
    ["PREROUTING", "OUTPUT"]
        .map(|chain| (chain, Rule::new().local_destination().jump(DNAT)))
        .into()
}

/// The rules that lead to the container's chain.
fn entries(attachment: &Attachment<'_>, mappings: &[Mapping], conditions: &[String]) -> Vec<Rule> {
    let chain = chain_of(attachment.network, attachment.container_id);
    let comment = comment(attachment);
    let mut rules = Vec::new();
    for protocol in Protocol::ALL {
        let ports: Vec<u16> = mappings
            .iter()
            .filter(|mapping| mapping.protocol == protocol)
            .map(|mapping| mapping.host_port)
            .collect();
        for ports in ports.chunks(MULTI_PORTS) {
            let rule = Rule::new().comment(&comment);
            let rule = rule.dports(protocol.as_str(), ports).user_args(conditions);
            rules.push(rule.jump(&chain));
        }
    }
    rules
}

/// What is sent to the host's port.
fn sent_to(mapping: &Mapping) -> Rule {
    let rule = Rule::new().dport(mapping.protocol.as_str(), mapping.host_port);
    match mapping.destination() {
        Some(host) => rule.destination(host, if host.is_ipv4() { 32 } else { 128 }),
        None => rule,
    }
}

/// The rules of the container's chain. `external`: the chain that marks in place of
/// `CNI-HOSTPORT-SETMARK`.
fn mapping_rules(config: &Config, target: Cidr, external: Option<&str>) -> Vec<Rule> {
    let mark = external.unwrap_or(SET_MARK);
    let mut rules = Vec::new();
    for mapping in config.mappings_for(target.is_ipv4()) {
        if config.snat {
            let network = match config.masq_all {
                true => (target.addr(), 0),
                false => (target.addr(), target.prefix()),
            };
            rules.push(sent_to(mapping).source(network.0, network.1).jump(mark));
            if target.is_ipv4() && !config.masq_all {
                let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
                rules.push(sent_to(mapping).source(local, 32).jump(mark));
            }
        }
        rules.push(sent_to(mapping).dnat(socket(target, mapping)));
    }
    rules
}

/// `shared`: the container is in the network a second time, and the chain is for
/// both; what is in it already comes first.
fn addition(
    attachment: &Attachment<'_>,
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
    for (chain, rule) in entrances() {
        change = change.append(chain, rule);
    }
    let chain = chain_of(attachment.network, attachment.container_id);
    change = match shared {
        false => change.own_chain(&chain).delete_jumps(DNAT, &chain),
        true => change.chain(&chain),
    };
    for rule in mapping_rules(config, target, external) {
        change = change.append(&chain, rule);
    }
    let conditions = config.conditions(target.is_ipv4());
    for rule in entries(attachment, &config.mappings, conditions) {
        change = change.append(DNAT, rule);
    }
    change
}

/// Of a chain that is for a second interface, too, only what leads to this one.
fn partial_removal(
    attachment: &Attachment<'_>,
    mappings: &[Mapping],
    targets: &[Cidr],
    family: Family,
) -> Change {
    let chain = chain_of(attachment.network, attachment.container_id);
    let mut change = Change::new(Table::Nat);
    for target in targets {
        if Family::of(target.addr()) == family {
            for mapping in mappings.iter().filter(|m| m.is_for(target.is_ipv4())) {
                change = change.delete(&chain, sent_to(mapping).dnat(socket(*target, mapping)));
            }
        }
    }
    change
}

/// The jumps go first: no packet finds the chain empty.
fn removal(attachment: &Attachment<'_>, mappings: &[Mapping], conditions: &[String]) -> Change {
    let mut change = Change::new(Table::Nat);
    for rule in entries(attachment, mappings, conditions) {
        change = change.delete(DNAT, rule);
    }
    change
        .delete_chain(&chain_of(attachment.network, attachment.container_id))
        .delete_old_chain(&old_chain_of(attachment))
}

/// Adds the rules of an attachment for one address, in place of those that it had. If
/// `externalSetMarkChain` does not exist, the plugin's own chain marks.
pub(crate) fn add(
    attachment: &Attachment<'_>,
    config: &Config,
    target: Cidr,
    shared: bool,
) -> anyhow::Result<()> {
    let commands = Iptables::find(family(target.is_ipv4())).context("failed to open iptables")?;
    let apply = |external| commands.apply(&addition(attachment, config, target, shared, external));
    let external = config.set_mark_chain.as_deref();
    let is_missing = |chain: &str| {
        let saved = commands.read(Table::Nat);
        saved.is_ok_and(|saved| !saved.has_chain(chain))
    };
    match (apply(external), external) {
        (Err(_), Some(chain)) if is_missing(chain) => {
            note(&format!(
                "externalSetMarkChain {chain} does not exist in table nat of {}; \
                 {SET_MARK} marks connections instead",
                word(family(target.is_ipv4()))
            ));
            apply(None)
        }
        (outcome, _) => outcome,
    }
    .context("unable to setup DNAT")
}

/// Removes the rules of an attachment of one family. Runs nothing where there are
/// none. `shared_by`: the container's addresses, if its chain is for a second
/// interface, too.
pub(crate) fn delete(
    attachment: &Attachment<'_>,
    mappings: &[Mapping],
    conditions: &[String],
    family: Family,
    shared_by: Option<&[Cidr]>,
) -> anyhow::Result<()> {
    let what = || format!("could not teardown {} dnat", word(family));
    let chain = chain_of(attachment.network, attachment.container_id);
    let old = old_chain_of(attachment);
    let may_exist = |chain: &String| iptables::may_have_chain(family, Table::Nat, chain);
    if ![&chain, &old].into_iter().any(may_exist) {
        return Ok(());
    }
    let change = match shared_by {
        None => removal(attachment, mappings, conditions),
        Some(targets) => partial_removal(attachment, mappings, targets, family),
    };
    iptables::delete(family, &change).with_context(what)
}

/// Compares the rules of an attachment, and those that all share, with what they
/// ought to be.
pub(crate) fn check(
    attachment: &Attachment<'_>,
    config: &Config,
    targets: &[Cidr],
) -> anyhow::Result<()> {
    for target in targets {
        let family = family(target.is_ipv4());
        Iptables::find(family)
            .map_err(anyhow::Error::from)
            .and_then(|commands| check_target(&commands, attachment, config, *target))
            .with_context(|| format!("could not check {} dnat", word(family)))?;
    }
    Ok(())
}

fn check_target(
    commands: &Iptables,
    attachment: &Attachment<'_>,
    config: &Config,
    target: Cidr,
) -> anyhow::Result<()> {
    let saved = commands.read(Table::Nat)?;
    let chain = chain_of(attachment.network, attachment.container_id);
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
    for rule in entries(attachment, &config.mappings, conditions) {
        let found = match rule.has_user_args() {
            // What these mean only iptables knows.
            true => commands.check_rule(Table::Nat, DNAT, &rule)?,
            false => saved.has_rule(DNAT, &rule),
        };
        if !found {
            return Err(missing(DNAT, &rule));
        }
    }
    let marking = marking_rules(config, external);
    let marks = !marking.is_empty();
    for (chain, rule) in marking.into_iter().chain(entrances()) {
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

/// Removes the chains of a network's containers that are not among the valid ones.
/// Whose a chain is, the comments of the rules that lead there say.
pub(crate) fn collect(network: &str, valid: &[ValidAttachment]) -> anyhow::Result<()> {
    let living: Vec<String> = valid
        .iter()
        .map(|attachment| chain_of(network, &attachment.container_id))
        .collect();
    let prefix = comment_of_network(network);
    for family in FAMILIES {
        if iptables::may_have_chain(family, Table::Nat, DNAT) {
            iptables::delete_where(family, Table::Nat, |saved| {
                stale_chains(saved, &prefix, &living)
            })?;
        }
    }
    Ok(())
}

/// Deletes the chains with rules whose comment begins with `prefix`, except `living`.
fn stale_chains(saved: &Saved, prefix: &str, living: &[String]) -> Change {
    let mut change = Change::new(Table::Nat);
    let mut stale: Vec<String> = Vec::new();
    for rule in saved.rules_of(DNAT) {
        let rule = rule.parse();
        let (Some(comment), Some(chain)) = (rule.comment_text(), rule.target_name()) else {
            continue;
        };
        let is_stale = comment.starts_with(prefix)
            && chain.starts_with("CNI-DN-")
            && !living.iter().chain(&stale).any(|known| known == chain);
        if is_stale {
            stale.push(chain.to_owned());
            change = change.delete_jumps(DNAT, chain).delete_chain(chain);
        }
    }
    change
}
