//! Connections that began before a mapping, or outlive it: the kernel decides with
//! the first packet where a connection leads, and for UDP there is no other first
//! packet as long as the client keeps sending.

use crate::config::{Mapping, Protocol};
use netfilter::conntrack::{self, Filter};
use rtnl::{Handle, RTN_LOCAL};
use std::cell::OnceCell;
use std::net::IpAddr;

/// `IPPROTO_UDP` (`in.h`).
const UDP: u8 = 17;

/// Ends the connections to the host's ports of the mappings, so that the next packet
/// is looked at anew. Only those that were sent to the host itself: others have
/// nothing to do with it. That it failed is no reason to fail.
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
    // Asked for with the first connection that was found; mostly there is none.
    let handle = OnceCell::new();
    let is_local = |address: IpAddr| {
        let handle = handle.get_or_init(|| Handle::open().ok());
        let route = handle.as_ref().map(|handle| handle.route_to(address));
        // In doubt it is: the client's next packet makes the connection anew.
        !matches!(route, Some(Ok(Some(route))) if route.kind != RTN_LOCAL)
    };
    if let Err(error) = conntrack::delete_if(&filters, is_local) {
        log::warn!("failed to delete stale UDP conntrack entries: {error}");
    }
}
