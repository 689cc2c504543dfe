//! The chains and rules of table `filter`, as upstream writes them.

use crate::config::Policy;
use netfilter::iptables::{Family, Rule, Table};
use std::net::IpAddr;

pub(super) const FORWARD: &str = "FORWARD";
pub(super) const CONTAINERS: &str = "CNI-FORWARD";
/// Packets from a bridge with a policy: to stage 2 if they leave the bridge.
pub(super) const STAGE_1: &str = "CNI-ISOLATION-STAGE-1";
/// Packets from another bridge with a policy: dropped if they enter a bridge with one.
pub(super) const STAGE_2: &str = "CNI-ISOLATION-STAGE-2";

pub(super) const TABLE: Table = Table::Filter;

/// Both families, in their order.
pub(super) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// A rule and its chain.
pub(super) type ChainRule = (&'static str, Rule);

pub(super) fn to_containers() -> Rule {
    Rule::new()
        .comment("CNI firewall plugin rules")
        .jump(CONTAINERS)
}

pub(super) fn to_admin(chain: &str) -> Rule {
    Rule::new()
        .comment("CNI firewall plugin admin overrides")
        .jump(chain)
}

pub(super) fn prefix_len(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Accepts answers to a container, and everything that it sends.
pub(super) fn container_rules(address: IpAddr) -> [Rule; 2] {
    let len = prefix_len(address);
    [
        Rule::new()
            .destination(address, len)
            .related_or_established()
            .jump("ACCEPT"),
        Rule::new().source(address, len).jump("ACCEPT"),
    ]
}

/// The comment of rules that all policies share.
pub(super) const SHARED: &str = "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)";

pub(super) fn comment_of(policy: Policy) -> String {
    format!(
        "CNI firewall plugin rules (ingressPolicy: {})",
        policy.as_str()
    )
}

pub(super) fn to_stage_1() -> Rule {
    Rule::new().comment(SHARED).jump(STAGE_1)
}

pub(super) fn to_stage_2(bridge: &str, policy: Policy) -> Rule {
    Rule::new()
        .in_interface(bridge)
        .not_out_interface(bridge)
        .comment(&comment_of(policy))
        .jump(STAGE_2)
}

pub(super) fn drop_within(bridge: &str) -> Rule {
    Rule::new()
        .in_interface(bridge)
        .out_interface(bridge)
        .comment(&comment_of(Policy::Isolated))
        .jump("DROP")
}

pub(super) fn drop_into(bridge: &str, comment: &str) -> Rule {
    Rule::new()
        .out_interface(bridge)
        .comment(comment)
        .jump("DROP")
}

pub(super) fn back() -> Rule {
    Rule::new().comment(SHARED).jump("RETURN")
}

/// Returns the rules of a bridge, each to be inserted at the top of its chain.
pub(super) fn bridge_rules(bridge: &str, policy: Policy) -> Vec<ChainRule> {
    let mut rules = vec![(STAGE_1, to_stage_2(bridge, policy))];
    if policy == Policy::Isolated {
        rules.push((STAGE_1, drop_within(bridge)));
    }
    rules.push((STAGE_2, drop_into(bridge, SHARED)));
    rules
}

/// Returns all rules for a bridge that any release of either implementation adds.
pub(super) fn all_bridge_rules(bridge: &str) -> Vec<ChainRule> {
    let old = comment_of(Policy::SameBridge);
    let mut rules = bridge_rules(bridge, Policy::Isolated);
    rules.push((STAGE_1, to_stage_2(bridge, Policy::SameBridge)));
    rules.push((STAGE_2, drop_into(bridge, &old)));
    rules
}
