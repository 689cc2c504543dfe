//! IPv4 and UDP headers around a DHCP message, for packet sockets.

use std::net::Ipv4Addr;

/// Ports (RFC 2131, section 4.1).
pub(crate) const SERVER_PORT: u16 = 67;
pub(crate) const CLIENT_PORT: u16 = 68;

const UDP: u8 = 17;
const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const TTL: u8 = 64;

/// Returns the packet that carries `payload` from a client to a server.
pub(crate) fn encode(payload: &[u8], source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    // A message of a client has a few hundred bytes, 64 KiB at most with all options.
    let udp_length = u16::try_from(UDP_HEADER + payload.len()).unwrap_or(u16::MAX);
    let length = udp_length.saturating_add(20);
    let mut packet = Vec::with_capacity(length.into());
    // Version and header length, type of service.
    packet.extend([0x45, 0]);
    packet.extend(length.to_be_bytes());
    // Identification, fragment offset.
    packet.extend([0; 4]);
    packet.extend([TTL, UDP, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    let sum = !folded(sum(&packet));
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(CLIENT_PORT.to_be_bytes());
    packet.extend(SERVER_PORT.to_be_bytes());
    packet.extend(udp_length.to_be_bytes());
    packet.extend([0; 2]);
    packet.extend(payload);
    let sum = !folded(pseudo_sum(&packet) + sum_of_rest(&packet));
    // RFC 768: zero would mean that there is none.
    let sum = if sum == 0 { 0xffff } else { sum };
    packet[26..28].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// Returns the payload of a packet to the port of clients; `None` for any other packet, a
/// fragment, and one that was damaged.
pub(crate) fn decode(packet: &[u8]) -> Option<&[u8]> {
    let u16_at = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    let header = usize::from(packet.first()? & 0xf) * 4;
    let length = usize::from(u16_at(2)?);
    if packet[0] >> 4 != 4
        || header < IP_HEADER
        || *packet.get(9)? != UDP
        || u16_at(6)? & 0x3fff != 0
    {
        return None;
    }
    let packet = packet.get(..length)?;
    let udp = packet.get(header..)?;
    let udp_length = usize::from(u16::from_be_bytes([*udp.get(4)?, *udp.get(5)?]));
    let udp = udp
        .get(..udp_length)
        .filter(|udp| udp.len() >= UDP_HEADER)?;
    let port = u16::from_be_bytes([udp[2], udp[3]]);
    let is_intact = folded(sum(&packet[..header])) == 0xffff && has_good_sum(packet, udp);
    (port == CLIENT_PORT && is_intact).then_some(&udp[UDP_HEADER..])
}

/// Whether the checksum of a UDP datagram is right, missing, or not computed yet: a packet
/// that never left the machine has the sum of the pseudo header in its place
/// (`CHECKSUM_PARTIAL`), since the network card would complete it.
fn has_good_sum(packet: &[u8], udp: &[u8]) -> bool {
    let field = u16::from_be_bytes([udp[6], udp[7]]);
    // A UDP datagram has less than 64 KiB.
    let length = u32::try_from(udp.len()).unwrap_or(u32::MAX);
    let pseudo = sum(&packet[12..20]) + u32::from(UDP) + length;
    field == 0 || field == folded(pseudo) || folded(pseudo + sum(udp)) == 0xffff
}

/// The sum of the pseudo header of a packet without IP options.
fn pseudo_sum(packet: &[u8]) -> u32 {
    let length = u32::from(u16::from_be_bytes([packet[24], packet[25]]));
    sum(&packet[12..20]) + u32::from(UDP) + length
}

fn sum_of_rest(packet: &[u8]) -> u32 {
    sum(&packet[IP_HEADER..])
}

/// The sum of 16-bit words; 64 KiB of them fit.
fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2).map(|word| match word {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(*high) << 8,
        _ => 0,
    });
    words.sum()
}

/// One's complement sum in 16 bits (RFC 1071).
fn folded(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    // Now at most 17 bits, and 16 after the second addition.
    ((once & 0xffff) + (once >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet in the direction that is decoded.
    fn to_client(payload: &[u8]) -> Vec<u8> {
        let mut packet = encode(
            payload,
            Ipv4Addr::new(10, 0, 0, 1),
            Ipv4Addr::new(10, 0, 0, 2),
        );
        packet.swap(20, 22);
        packet.swap(21, 23);
        packet
    }

    #[test]
    fn packets_are_checked() {
        for payload in [&b"hello"[..], b"", &[0xff; 1000]] {
            assert_eq!(decode(&to_client(payload)), Some(payload));
        }
        let packet = to_client(b"hello");
        for at in 0..packet.len() {
            let mut damaged = packet.clone();
            damaged[at] ^= 0x55;
            assert_eq!(decode(&damaged), None, "byte {at}");
            assert_eq!(decode(&packet[..at]), None, "{at} bytes");
        }
        let mut unfinished = packet.clone();
        let sum = folded(pseudo_sum(&packet));
        unfinished[26..28].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(decode(&unfinished), Some(&b"hello"[..]));
        let mut fragment = packet;
        fragment[6] = 0x20;
        assert_eq!(decode(&fragment), None);
    }
}
