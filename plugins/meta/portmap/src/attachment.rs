//! Whose mappings they are, and where they lead.

use crate::config::Mapping;
use cni_core::{AddResult, Call, Cidr};
use plugin_kit::names;
use std::net::SocketAddr;

/// An interface of a container in a network: by these three everything is found
/// again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attachment<'a> {
    pub(crate) network: &'a str,
    pub(crate) container_id: &'a str,
    pub(crate) if_name: &'a str,
}

impl<'a> Attachment<'a> {
    pub(crate) fn of(call: &'a Call) -> Attachment<'a> {
        Attachment {
            network: &call.name,
            container_id: &call.container_id,
            if_name: &call.if_name,
        }
    }

    /// What rules and elements of nftables are labelled with besides the container
    /// ID, which is their comment: upstream looks for that, and only that.
    pub(crate) fn note(&self) -> String {
        format!("{}{}", note_of_network(self.network), self.if_name)
    }
}

/// What the notes of a network's attachments begin with.
pub(crate) fn note_of_network(network: &str) -> String {
    names::of_attachment("", network, "", 16) + " "
}

/// The container's addresses that are mapped to: the first one of each family that
/// is not known to belong to something else than the interface.
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

/// Where a mapping leads.
pub(crate) fn socket(target: Cidr, mapping: &Mapping) -> SocketAddr {
    SocketAddr::new(target.addr(), mapping.container_port)
}
