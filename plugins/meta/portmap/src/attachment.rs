//! The attachment that mappings belong to, and the addresses that they lead to.

use crate::mapping::Mapping;
use cni_core::{AddResult, Cidr};
use cni_state::Owner;
use netfilter::nft::COMMENT_MAX;
use plugin_kit::names;
use std::net::SocketAddr;

/// Returns the comment of the attachment's nftables rules and elements: the container ID
/// alone, because that is what upstream looks for. Of an ID that is too long for a
/// comment, which upstream refuses, the end is replaced by a hash.
pub(crate) fn comment_of(owner: &Owner) -> String {
    let id = &owner.container_id;
    if id.len() <= COMMENT_MAX {
        return id.clone();
    }
    let hash = names::of_attachment("-", "", id, 17);
    // Container IDs are ASCII.
    let start: String = id.chars().take(COMMENT_MAX - hash.len()).collect();
    start + &hash
}

/// Returns the note of the attachment's nftables rules and elements, which upstream does
/// not look at.
pub(crate) fn note_of(owner: &Owner) -> String {
    format!("{}{}", network_note(&owner.network), owner.if_name)
}

/// Returns the beginning of the notes of all attachments of a network.
pub(crate) fn network_note(network: &str) -> String {
    names::of_attachment("", network, "", 16) + " "
}

/// Returns the container's addresses that ports are mapped to: of each family the
/// first one that does not belong to another interface.
pub(crate) fn targets(result: &AddResult, if_name: &str) -> Vec<Cidr> {
    let is_own = |index: Option<i64>| {
        let index = index.and_then(|index| usize::try_from(index).ok());
        match index.and_then(|index| result.interfaces.get(index)) {
            None => true,
            Some(interface) => interface.name == if_name && !interface.sandbox.is_empty(),
        }
    };
    let first = |ipv4: bool| {
        let mut ips = result.ips.iter();
        ips.find(|ip| ip.address.is_ipv4() == ipv4 && is_own(ip.interface))
            .map(|ip| ip.address)
    };
    [first(true), first(false)].into_iter().flatten().collect()
}

/// Returns the address and port that a mapping leads to.
pub(crate) fn socket(target: Cidr, mapping: &Mapping) -> SocketAddr {
    SocketAddr::new(target.addr(), mapping.container_port)
}
