//! Deletes conntrack entries of UDP connections that began before a mapping, or outlive
//! it: the kernel translates a connection as its first packet was, and a client that
//! keeps sending over UDP never begins another one.

use crate::mapping::{Mapping, Protocol};
use netfilter::conntrack::{self, Filter};
use rtnl::{Handle, RTN_LOCAL};
use std::cell::OnceCell;
use std::net::IpAddr;

/// `IPPROTO_UDP` (`in.h`).
const UDP: u8 = 17;

/// Deletes the entries of UDP connections to the host ports of the mappings, but only
/// of those to an address of this host. A failure is logged, and not an error.
pub(crate) fn flush(mappings: &[Mapping], ipv4: bool, ipv6: bool) {
    let mut filters = Vec::new();
    for mapping in mappings.iter().filter(|m| m.protocol == Protocol::Udp) {
        for (wanted, of_ipv4) in [(ipv4, true), (ipv6, false)] {
            if wanted && mapping.is_for(of_ipv4) {
                let mut filter = Filter::new(!of_ipv4, UDP);
                filter.port = Some(mapping.host_port);
                filter.destination = mapping.destination();
                filters.push(filter);
            }
        }
    }
    // Opened for the first entry found; usually there is none.
    let handle = OnceCell::new();
    let is_local = |address: IpAddr| {
        let handle = handle.get_or_init(|| Handle::open().ok());
        let route = handle.as_ref().map(|handle| handle.route_to(address));
        // If it cannot be told, the entry is deleted: the next packet creates it again.
        !matches!(route, Some(Ok(Some(route))) if route.kind != RTN_LOCAL)
    };
    if let Err(error) = conntrack::delete_if(&filters, is_local) {
        log::warn!("failed to delete stale UDP conntrack entries: {error}");
    }
}
