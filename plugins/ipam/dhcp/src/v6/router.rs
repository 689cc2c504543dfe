//! Router solicitations and advertisements (RFC 4861, sections 4.1, 4.2 and 6; RFC 4862, 5.5; RFC 8106).

use std::net::Ipv6Addr;

use super::wire::{Malformed, Reader};
use crate::domain;

const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;

/// Types of options.
const PREFIX: u8 = 3;
const RDNSS: u8 = 25;
const DNSSL: u8 = 31;

/// A prefix from which hosts form addresses by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub(crate) address: Ipv6Addr,
    /// Lifetimes in seconds; `u32::MAX` means infinity.
    pub(crate) valid: u32,
    pub(crate) preferred: u32,
}

/// What a host has to know of an advertisement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Advertisement {
    /// The M flag: addresses are assigned by DHCPv6.
    pub(crate) managed: bool,
    /// The O flag: other information is available by DHCPv6.
    pub(crate) other: bool,
    /// Prefixes with the A flag and 64 bits.
    pub(crate) prefixes: Vec<Prefix>,
    pub(crate) dns: Vec<Ipv6Addr>,
    pub(crate) search: Vec<String>,
}

/// A router solicitation without source link-layer address: the answer goes to all nodes or is resolved. The kernel
/// fills in the checksum.
pub(crate) fn solicitation() -> Vec<u8> {
    vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0]
}

impl Advertisement {
    /// Decodes an ICMPv6 message; `None` if it is of another type. Source address and hop limit have to be checked by
    /// the caller.
    ///
    /// # Errors
    ///
    /// When it is cut off or an option has a wrong length.
    pub(crate) fn decode(packet: &[u8]) -> Result<Option<Advertisement>, Malformed> {
        if packet.first() != Some(&ADVERTISEMENT) {
            return Ok(None);
        }
        let mut from = Reader::new(packet);
        // Type, code, checksum, hop limit.
        from.bytes(5)?;
        let flags = from.u8()?;
        // Router lifetime, reachable time, retransmission timer.
        from.bytes(10)?;
        let mut advertisement = Advertisement {
            managed: flags & 0x80 != 0,
            other: flags & 0x40 != 0,
            ..Advertisement::default()
        };
        while !from.is_empty() {
            let kind = from.u8()?;
            let units = from.u8()?;
            if units == 0 {
                return Err(Malformed::new("length of an ICMPv6 option", units));
            }
            let body = from.bytes(usize::from(units) * 8 - 2)?;
            advertisement.option(kind, Reader::new(body))?;
        }
        Ok(Some(advertisement))
    }

    fn option(&mut self, kind: u8, mut body: Reader<'_>) -> Result<(), Malformed> {
        match kind {
            PREFIX => self.prefixes.extend(prefix(body)?),
            RDNSS => {
                body.bytes(2)?;
                let is_current = body.u32()? > 0;
                while !body.is_empty() {
                    let address = body.address()?;
                    self.dns.extend(is_current.then_some(address));
                }
            }
            DNSSL => {
                body.bytes(2)?;
                let is_current = body.u32()? > 0;
                let list = domain::list(body.rest());
                self.search.extend(list.into_iter().filter(|_| is_current));
            }
            _ => {}
        }
        Ok(())
    }
}

/// A prefix information option, if hosts can form addresses from it (RFC 4862, 5.5.3).
fn prefix(mut body: Reader<'_>) -> Result<Option<Prefix>, Malformed> {
    let length = body.u8()?;
    let is_autonomous = body.u8()? & 0x40 != 0;
    let (valid, preferred) = (body.u32()?, body.u32()?);
    body.bytes(4)?;
    let address = body.address()?;
    let is_usable = is_autonomous
        && length == 64
        && valid > 0
        && preferred <= valid
        && !address.is_unicast_link_local()
        && !address.is_multicast();
    Ok(is_usable.then_some(Prefix {
        address,
        valid,
        preferred,
    }))
}

impl Prefix {
    /// The address with this prefix and the interface identifier of the link-local address, which the kernel forms as
    /// well unless it is told to use others (`addr_gen_mode`).
    pub(crate) fn address_of(&self, link_local: Ipv6Addr) -> Ipv6Addr {
        let mut octets = self.address.octets();
        octets[8..].copy_from_slice(&link_local.octets()[8..]);
        octets.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flags M and O, a prefix 2001:db8:1::/64 with A and L, two servers, one name.
    fn packet() -> Vec<u8> {
        let mut packet = vec![134, 0, 0, 0, 64, 0xc0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        packet.extend([3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 7, 8, 0, 0, 0, 0]);
        packet.extend(
            "2001:db8:1::"
                .parse::<Ipv6Addr>()
                .expect("an address")
                .octets(),
        );
        packet.extend([25, 5, 0, 0, 0, 0, 0, 60]);
        packet.extend([1; 32]);
        packet.extend([31, 2, 0, 0, 0, 0, 0, 60]);
        packet.extend(b"\x03foo\0\0\0\0");
        packet
    }

    #[test]
    fn an_advertisement_is_decoded() {
        let found = Advertisement::decode(&packet())
            .expect("no fault")
            .expect("an advertisement");
        assert!(found.managed && found.other);
        assert_eq!(
            (found.dns.len(), &found.search[..]),
            (2, &["foo".to_owned()][..])
        );
        let [prefix] = &found.prefixes[..] else {
            panic!("{found:?}");
        };
        assert_eq!((prefix.valid, prefix.preferred), (3600, 1800));
        let link_local = "fe80::42:acff:fe11:2".parse().expect("an address");
        let address = prefix.address_of(link_local);
        assert_eq!(address.to_string(), "2001:db8:1:0:42:acff:fe11:2");
    }

    #[test]
    fn malformed_advertisements_are_refused() {
        let packet = packet();
        for length in 1..packet.len() {
            let cut = Advertisement::decode(&packet[..length]);
            // Between two options the message may end.
            let may_end = [16, 48, 88].contains(&length);
            assert_eq!(cut.is_ok(), may_end, "{length} bytes: {cut:?}");
        }
        let endless = [&packet[..16], &[3, 0]].concat();
        assert!(Advertisement::decode(&endless).is_err());
        assert_eq!(Advertisement::decode(&solicitation()), Ok(None));
    }
}
