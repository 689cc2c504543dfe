//! Values that rules compare and sets hold: addresses, ports, interface names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::constants::{NFPROTO_IPV4, NFPROTO_IPV6};

/// `IFNAMSIZ` (`linux/if.h`), with the terminating zero.
pub(crate) const IFNAMSIZ: usize = 16;

/// A transport protocol, by its number (`IPPROTO_*`, `in.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Protocol {
    /// TCP.
    Tcp = 6,
    /// UDP.
    Udp = 17,
    /// ICMPv6.
    Icmpv6 = 58,
    /// SCTP.
    Sctp = 132,
}

/// A network: its first address and its prefix length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    address: IpAddr,
    len: u8,
}

impl Prefix {
    /// Returns the network of `address`, host bits cleared. A prefix length above
    /// the family's maximum is reduced to it.
    #[must_use]
    pub fn new(address: IpAddr, len: u8) -> Prefix {
        let len = len.min(width(address));
        let address = match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
        };
        Prefix { address, len }
    }

    /// Returns the first address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// Returns the prefix length in bits.
    #[must_use]
    pub fn prefix_len(self) -> u8 {
        self.len
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        octets(self.address)
    }

    /// Returns the netmask in network byte order.
    pub(crate) fn mask(self) -> Vec<u8> {
        let ones = Prefix::new(
            match self.address {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::BROADCAST),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
            },
            self.len,
        );
        ones.bytes()
    }
}

/// An address becomes the network of this single address.
impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Prefix {
        Prefix::new(address, width(address))
    }
}

impl From<(IpAddr, u8)> for Prefix {
    fn from((address, len): (IpAddr, u8)) -> Prefix {
        Prefix::new(address, len)
    }
}

/// Returns the length of an address of this family in bits.
fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Returns `NFPROTO_IPV4` or `NFPROTO_IPV6`.
pub(crate) fn nfproto(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => NFPROTO_IPV4,
        IpAddr::V6(_) => NFPROTO_IPV6,
    }
}

pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The data type of a set's key or data, or of a part of them. Numbered as in nftables
/// (`include/datatype.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    /// An IPv4 address.
    Ipv4Addr,
    /// An IPv6 address.
    Ipv6Addr,
    /// An Ethernet address.
    EtherAddr,
    /// A [`Protocol`].
    Protocol,
    /// A port.
    Port,
    /// An interface name.
    Interface,
}

impl Type {
    pub(crate) fn number(self) -> u32 {
        match self {
            Type::Ipv4Addr => 7,
            Type::Ipv6Addr => 8,
            Type::EtherAddr => 9,
            Type::Protocol => 12,
            Type::Port => 13,
            Type::Interface => 41,
        }
    }

    /// Returns the length in bytes.
    pub(crate) fn len(self) -> usize {
        match self {
            Type::Ipv4Addr => 4,
            Type::Ipv6Addr => 16,
            Type::EtherAddr => 6,
            Type::Protocol => 1,
            Type::Port => 2,
            Type::Interface => IFNAMSIZ,
        }
    }
}

/// A value, as (part of) the key or data of a set element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// An address of either family.
    Address(IpAddr),
    /// A port.
    Port(u16),
    /// A protocol.
    Protocol(Protocol),
    /// An interface name, at most 15 bytes.
    Interface(&'a str),
    /// An Ethernet address.
    Ether([u8; 6]),
}

impl Value<'_> {
    /// Returns address and port of a socket address, as map data for
    /// [`Rule::dnat_map`](super::Rule::dnat_map).
    #[must_use]
    pub fn socket(address: SocketAddr) -> [Value<'static>; 2] {
        [Value::Address(address.ip()), Value::Port(address.port())]
    }

    /// Returns the type of the value.
    pub(crate) fn type_of(&self) -> Type {
        match self {
            Value::Address(IpAddr::V4(_)) => Type::Ipv4Addr,
            Value::Address(IpAddr::V6(_)) => Type::Ipv6Addr,
            Value::Port(_) => Type::Port,
            Value::Protocol(_) => Type::Protocol,
            Value::Interface(_) => Type::Interface,
            Value::Ether(_) => Type::EtherAddr,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Value::Address(address) => octets(*address),
            Value::Port(port) => port.to_be_bytes().to_vec(),
            Value::Protocol(protocol) => vec![*protocol as u8],
            Value::Interface(name) => interface(name),
            Value::Ether(octets) => octets.to_vec(),
        }
    }
}

/// Returns an interface name as the kernel compares it: padded with zeros.
pub(crate) fn interface(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(IFNAMSIZ, 0);
    bytes
}

/// Returns why `name` is not a valid interface name, `None` if it is one.
pub(crate) fn bad_interface(name: &str) -> Option<String> {
    let bad = name.is_empty() || name.len() >= IFNAMSIZ || name.as_bytes().contains(&0);
    bad.then(|| {
        format!(
            "invalid interface name {name:?}: 1 to {} bytes",
            IFNAMSIZ - 1
        )
    })
}

/// Concatenates values. If there are several, each is padded to a multiple of 4 bytes.
pub(crate) fn concat(values: &[Value<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in values {
        bytes.extend(value.bytes());
        if values.len() > 1 {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(address: &str, len: u8) -> Prefix {
        Prefix::new(address.parse().unwrap(), len)
    }

    #[test]
    fn a_prefix_has_no_host_bits() {
        assert_eq!(prefix("10.1.2.3", 8), prefix("10.0.0.0", 8));
        assert_eq!(prefix("10.1.2.3", 0), prefix("0.0.0.0", 0));
        assert_eq!(prefix("fd00::1", 64), prefix("fd00::", 64));
        assert_eq!(prefix("fd00::1", 0), prefix("::", 0));
        assert_eq!(prefix("10.1.2.3", 99), prefix("10.1.2.3", 32));
        assert_eq!(prefix("fd00::1", 128).bytes().len(), 16);
    }

    #[test]
    fn a_mask_may_end_within_a_byte() {
        assert_eq!(prefix("1.2.3.4", 23).mask(), [255, 255, 254, 0]);
    }
}
