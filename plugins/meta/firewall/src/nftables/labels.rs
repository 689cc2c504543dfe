//! The comments of set elements, which name their owner.

use crate::config::Policy;
use cni_state::Owner;
use netfilter::nft::{COMMENT_MAX, ElementInfo};
use plugin_kit::names::{attachment_hash, network_prefix};

/// Returns the comment of a bridge's element: the policy and the network that set it.
pub(super) fn bridge_comment(policy: Policy, network: &str) -> String {
    let policy = policy.as_str();
    cut(format!(
        "{policy}, {}, net: {network}",
        network_prefix(network)
    ))
}

/// Returns the policy of a bridge's element.
pub(super) fn policy_of(element: &ElementInfo) -> Option<Policy> {
    let name = element.comment.as_deref()?.split(',').next()?;
    Policy::from_name(name)
}

/// Returns whether the network set the policy of a bridge's element.
pub(super) fn is_of_network(element: &ElementInfo, network: &str) -> bool {
    let comment = element.comment.as_deref().unwrap_or_default();
    comment.split(", ").nth(1) == Some(&network_prefix(network))
}

/// Returns the comment of an attachment's elements: the tag to find it by, then its
/// names for the administrator, cut to what fits.
pub(super) fn comment(owner: &Owner) -> String {
    let Owner {
        network,
        container_id,
        if_name,
    } = owner;
    let tag = tag(owner);
    cut(format!(
        "{tag}, net: {network}, if: {if_name}, id: {container_id}"
    ))
}

/// Returns the beginning of the comment of an attachment's elements.
pub(super) fn tag(owner: &Owner) -> String {
    attachment_hash(&owner.network, &owner.container_id, &owner.if_name)
}

fn cut(mut text: String) -> String {
    while text.len() > COMMENT_MAX {
        text.pop();
    }
    text
}
