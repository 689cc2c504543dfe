//! The attachment that mappings belong to, and the addresses that they lead to.

use crate::mapping::Mapping;
use cni_core::{AddResult, Cidr};
use cni_state::Owner;
use plugin_kit::names;
use std::net::SocketAddr;

/// Returns the note of the attachment's nftables rules and elements. Their comment is
/// the container ID alone, because that is what upstream looks for.
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
