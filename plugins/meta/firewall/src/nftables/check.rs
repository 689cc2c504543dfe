//! CHECK: compares the table with what ADD makes.

use super::labels::{policy_of, tag};
use super::objects::{
    BRIDGES, CONTAINERS, FORWARD, ISOLATION, WITHIN, container_rules, forward_rules,
    isolation_rules, set_of,
};
use super::{in_order, is_ahead};
use crate::attachment::Attachment;
use crate::config::{Config, Policy};
use anyhow::bail;
use cni_state::Owner;
use netfilter::nft::{Base, Element, Nft, Value};
use std::net::IpAddr;

/// Compares everything with what [`add`] makes.
///
/// # Errors
/// At the first difference.
pub(crate) fn check(config: &Config, attachment: &Attachment, accept: bool) -> anyhow::Result<()> {
    let nft = Nft::open()?;
    check_chains(&nft, &config.admin_chain)?;
    if accept {
        for address in &attachment.addresses {
            check_address(&nft, *address, &attachment.owner)?;
        }
    }
    match &attachment.bridge {
        Some(bridge) => check_policy(&nft, bridge, config.policy),
        None => Ok(()),
    }
}

fn check_chains(nft: &Nft, admin_chain: &str) -> anyhow::Result<()> {
    let hook = |base: Option<Base>| base.map(|base| (base.hook, base.kind));
    match nft.chain(&FORWARD)? {
        Some(found) if hook(found.base) == hook(FORWARD.base) => {}
        Some(_) => bail!("chain forward of table inet cni_firewall is not at the hook forward"),
        None => bail!("chain forward of table inet cni_firewall not found"),
    }
    let containers = nft.rules(&CONTAINERS)?;
    for (chain, present, rules) in [
        (FORWARD, &nft.rules(&FORWARD)?, &forward_rules()[..]),
        (ISOLATION, &nft.rules(&ISOLATION)?, &isolation_rules()[..]),
        (CONTAINERS, &containers, &container_rules()[..]),
    ] {
        if !in_order(present, rules) {
            bail!(
                "chain {} of table inet cni_firewall lacks a rule of the firewall plugin, \
                 or has them in another order",
                chain.name
            );
        }
    }
    if !is_ahead(&containers, &CONTAINERS.rule().jump(admin_chain)) {
        bail!(
            "chain containers of table inet cni_firewall does not begin with the jump to \
             {admin_chain}"
        );
    }
    Ok(())
}

fn check_address(nft: &Nft, address: IpAddr, owner: &Owner) -> anyhow::Result<()> {
    let set = set_of(address);
    let place = format!("set {} of table inet cni_firewall", set.name);
    let Some(found) = nft.element(set, &Element::new(&[Value::Address(address)]))? else {
        bail!("address {address} not found in {place}");
    };
    let comment = found.comment.unwrap_or_default();
    if !comment.starts_with(&tag(owner)) {
        bail!("address {address} in {place} belongs to another attachment ({comment:?})");
    }
    Ok(())
}

/// Tests that a bridge has the policy, or a stricter one of another network.
fn check_policy(nft: &Nft, bridge: &str, policy: Policy) -> anyhow::Result<()> {
    let name = Value::Interface(bridge);
    if nft.element(&BRIDGES, &Element::new(&[name]))?.is_none() {
        bail!("bridge {bridge} not found in set bridges of table inet cni_firewall");
    }
    let within = nft.element(&WITHIN, &Element::new(&[name, name]))?;
    let Some(found) = within.as_ref().and_then(policy_of) else {
        bail!("bridge {bridge} not found in map within_bridges of table inet cni_firewall");
    };
    if found != policy && found != Policy::Isolated {
        bail!(
            "bridge {bridge} has ingress policy {} in table inet cni_firewall, configured is {}",
            found.as_str(),
            policy.as_str()
        );
    }
    Ok(())
}
