//! The chains and rules of table `nat`, as upstream writes them.

use crate::attachment::socket;
use crate::config::Config;
use crate::mapping::{Mapping, Protocol};
use cni_core::Cidr;
use cni_state::Owner;
use netfilter::iptables::Rule;
use plugin_kit::names;
use std::net::{IpAddr, Ipv4Addr};

pub(super) const SET_MARK: &str = "CNI-HOSTPORT-SETMARK";
pub(super) const MASQUERADE: &str = "CNI-HOSTPORT-MASQ";
pub(super) const DNAT: &str = "CNI-HOSTPORT-DNAT";

/// Ports in one rule (`XT_MULTI_PORTS`).
const MULTI_PORTS: usize = 15;

/// Length of a comment in bytes (`XT_MAX_COMMENT_LEN`, without the zero).
const COMMENT_MAX: usize = 255;

/// Returns the name of a container's chain.
pub(super) fn chain_of(network: &str, container_id: &str) -> String {
    names::of_attachment("CNI-DN-", network, container_id, 28)
}

/// Returns the name of a container's SNAT chain of old versions of upstream.
pub(super) fn old_chain_of(owner: &Owner) -> String {
    names::of_attachment("CNI-SN-", &owner.network, &owner.container_id, 28)
}

/// Returns the comment of the rules that jump to a container's chain, cut as upstream's
/// is in the kernel.
fn comment(owner: &Owner) -> String {
    let mut text = format!(
        "{}id: \"{}\"",
        comment_of_network(&owner.network),
        owner.container_id
    );
    if text.len() > COMMENT_MAX {
        // Names and container IDs are ASCII.
        text.truncate(COMMENT_MAX - 2);
        text.push_str("..");
    }
    text
}

pub(super) fn comment_of_network(network: &str) -> String {
    format!("dnat name: \"{network}\" ")
}

/// Rules with their chains.
pub(super) type Rules = Vec<(&'static str, Rule)>;

/// The rules that mark and masquerade, shared by all containers; none if a chain of
/// somebody else marks. The jump from POSTROUTING is inserted at the top, because
/// another masquerade rule before it would take the connections.
pub(super) fn marking_rules(config: &Config, external: Option<&str>) -> Rules {
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

/// The jumps from the base chains: only packets to a local address are mapped.
pub(super) fn base_jumps() -> Rules {
    ["PREROUTING", "OUTPUT"]
        .map(|chain| (chain, Rule::new().local_destination().jump(DNAT)))
        .into()
}

/// The rules that jump to the container's chain.
pub(super) fn chain_jumps(owner: &Owner, mappings: &[Mapping], conditions: &[String]) -> Vec<Rule> {
    let chain = chain_of(&owner.network, &owner.container_id);
    let comment = comment(owner);
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

/// Matches packets to the host port of a mapping.
pub(super) fn host_port_rule(mapping: &Mapping) -> Rule {
    let rule = Rule::new().dport(mapping.protocol.as_str(), mapping.host_port);
    match mapping.destination() {
        Some(host) => rule.destination(host, if host.is_ipv4() { 32 } else { 128 }),
        None => rule,
    }
}

/// The rules of the container's chain. `external`: the chain that marks in place of
/// `CNI-HOSTPORT-SETMARK`.
pub(super) fn mapping_rules(config: &Config, target: Cidr, external: Option<&str>) -> Vec<Rule> {
    let mark = external.unwrap_or(SET_MARK);
    let mut rules = Vec::new();
    for mapping in config.mappings_for(target.is_ipv4()) {
        if config.snat {
            let network = match config.masq_all {
                true => (target.addr(), 0),
                false => (target.addr(), target.prefix()),
            };
            rules.push(
                host_port_rule(mapping)
                    .source(network.0, network.1)
                    .jump(mark),
            );
            if target.is_ipv4() && !config.masq_all {
                let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
                rules.push(host_port_rule(mapping).source(local, 32).jump(mark));
            }
        }
        rules.push(host_port_rule(mapping).dnat(socket(target, mapping)));
    }
    rules
}
