//! Duplicate address detection before an address is used (RFC 4862, section 5.4; RFC 8415, 18.2.10.1).
//!
//! Neighbour solicitations go out from the link-local address. They find every node that uses the address. A node that
//! begins to use it in the same second is found by the kernel's own detection, which follows when the address is added.

use std::net::Ipv6Addr;

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// A neighbour solicitation for `target`. The kernel fills in the checksum.
pub(crate) fn solicitation(target: Ipv6Addr, mac: [u8; 6]) -> Vec<u8> {
    let mut packet = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    packet.extend(target.octets());
    // Source link-layer address, in units of eight bytes.
    packet.extend([1, 1]);
    packet.extend(mac);
    packet
}

/// The solicited-node multicast address of `target` (RFC 4291, 2.7.1).
pub(crate) fn destination(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    let last = u16::from_be_bytes([b, c]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), last)
}

/// The address for which an ICMPv6 message is a neighbour advertisement.
pub(crate) fn advertised(packet: &[u8]) -> Option<Ipv6Addr> {
    let target: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
    (packet.first() == Some(&ADVERTISEMENT)).then(|| target.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_destination_has_the_last_three_bytes() {
        let target = "2001:db8::12:3456:789a".parse().expect("an address");
        assert_eq!(destination(target).to_string(), "ff02::1:ff56:789a");
    }

    #[test]
    fn advertisements_name_their_target() {
        let target: Ipv6Addr = "2001:db8::9".parse().expect("an address");
        let mut packet = solicitation(target, [2; 6]);
        assert_eq!(advertised(&packet), None);
        packet[0] = ADVERTISEMENT;
        assert_eq!(advertised(&packet), Some(target));
        assert_eq!(advertised(&packet[..23]), None);
    }
}
