//! Detection of address conflicts by ARP (RFC 5227, section 2.1).

use crate::client::Mac;
use std::net::Ipv4Addr;

/// Number of probes (`PROBE_NUM`).
pub(crate) const PROBES: u32 = 3;

/// Ethernet, IPv4, and the lengths of their addresses.
const HEADER: [u8; 6] = [0, 1, 8, 0, 6, 4];
const LENGTH: usize = 28;
const REQUEST: [u8; 2] = [0, 1];

/// Returns a probe for `address`: a request whose sender has no address yet.
pub(crate) fn probe(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    let mut packet = Vec::with_capacity(LENGTH);
    packet.extend(HEADER);
    packet.extend(REQUEST);
    packet.extend(mac);
    packet.extend([0; 4]);
    packet.extend([0; 6]);
    packet.extend(address.octets());
    packet
}

/// Returns whether an ARP packet shows that another station has, or probes for, `address`.
pub(crate) fn is_conflict(packet: &[u8], own: Option<Mac>, address: Ipv4Addr) -> bool {
    let Some(packet) = packet
        .get(..LENGTH)
        .filter(|packet| packet.starts_with(&HEADER))
    else {
        return false;
    };
    let (sender, sender_address) = (&packet[8..14], &packet[14..18]);
    let is_probe =
        packet[6..8] == REQUEST && sender_address == [0; 4] && packet[24..28] == address.octets();
    let is_own = own.is_some_and(|own| own == sender);
    !is_own && (sender_address == address.octets() || is_probe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_are_recognized() {
        let (own, other) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let address = Ipv4Addr::new(10, 0, 0, 9);
        let conflicts = |packet: &[u8]| is_conflict(packet, Some(own), address);
        assert!(!conflicts(&probe(own, address)));
        assert!(conflicts(&probe(other, address)));
        assert!(!conflicts(&probe(other, Ipv4Addr::new(10, 0, 0, 8))));
        let mut reply = probe(other, Ipv4Addr::UNSPECIFIED);
        reply[7] = 2;
        reply[14..18].copy_from_slice(&address.octets());
        assert!(conflicts(&reply));
        assert!(!conflicts(&reply[..20]));
    }
}
