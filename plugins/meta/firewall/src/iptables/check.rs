//! CHECK: compares the table with what ADD makes.

use super::rules::{
    CONTAINERS, FAMILIES, FORWARD, SHARED, STAGE_1, STAGE_2, TABLE, comment_of, container_rules,
    drop_into, drop_within, to_admin, to_containers, to_stage_1, to_stage_2,
};
use super::{is_bypassed, of_family};
use crate::attachment::Attachment;
use crate::config::{Config, Policy};
use anyhow::bail;
use netfilter::iptables::{Iptables, Rule, Saved};
use plugin_kit::detailed;
use std::net::IpAddr;

/// Compares everything with what [`add`] makes.
///
/// # Errors
/// At the first difference.
pub(crate) fn check(config: &Config, attachment: &Attachment, accept: bool) -> anyhow::Result<()> {
    for family in FAMILIES {
        let addresses = of_family(&attachment.addresses, family);
        if !addresses.is_empty() && (accept || attachment.bridge.is_some()) {
            let saved = Iptables::find(family)?.read(TABLE)?;
            if accept {
                check_containers(config, &addresses, &saved)?;
            }
            if let Some(bridge) = &attachment.bridge {
                check_bridge(bridge, config.policy, &saved)?;
            }
        }
    }
    Ok(())
}

fn check_containers(config: &Config, addresses: &[IpAddr], saved: &Saved) -> anyhow::Result<()> {
    require(saved, FORWARD, &to_containers(), "FORWARD ")?;
    let admin = to_admin(&config.admin_chain);
    require(saved, CONTAINERS, &admin, "CNI-FORWARD ")?;
    for rule in addresses
        .iter()
        .flat_map(|address| container_rules(*address))
    {
        require(saved, CONTAINERS, &rule, "")?;
    }
    Ok(())
}

fn require(saved: &Saved, chain: &str, rule: &Rule, whose: &str) -> anyhow::Result<()> {
    if saved.has_rule(chain, rule) {
        return Ok(());
    }
    let msg = format!(
        "expected {whose}rule [{}] not found",
        rule.words().join(" ")
    );
    Err(detailed(
        msg,
        format!("it is not in chain {chain} of table filter"),
    ))
}

/// The comments of upstream's releases before `isolated` are accepted as well.
fn check_bridge(bridge: &str, policy: Policy, saved: &Saved) -> anyhow::Result<()> {
    if !saved.rules_of(FORWARD).any(|rule| rule.jumps_to(STAGE_1)) {
        require(saved, FORWARD, &to_stage_1(), "FORWARD ")?;
    }
    if is_bypassed(saved, false) {
        bail!(
            "chain FORWARD of table filter has the jump to {CONTAINERS} above that to {STAGE_1}: \
             ingress policy {} is without effect",
            policy.as_str()
        );
    }
    let has_any =
        |chain: &str, rules: [Rule; 2]| rules.iter().any(|rule| saved.has_rule(chain, rule));
    let on = [Policy::SameBridge, Policy::Isolated].map(|policy| to_stage_2(bridge, policy));
    if !has_any(STAGE_1, on) {
        require(saved, STAGE_1, &to_stage_2(bridge, policy), "")?;
    }
    let old = comment_of(Policy::SameBridge);
    if !has_any(
        STAGE_2,
        [SHARED, &old].map(|comment| drop_into(bridge, comment)),
    ) {
        require(saved, STAGE_2, &drop_into(bridge, SHARED), "")?;
    }
    if policy == Policy::Isolated {
        require(saved, STAGE_1, &drop_within(bridge), "")?;
    }
    Ok(())
}
