//! What rules compare and sets hold: addresses, ports, names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// `IFNAMSIZ` (`linux/if.h`), the zero at the end included.
pub(crate) const IFNAMSIZ: usize = 16;

/// A protocol above IP, by its number (`IPPROTO_*`, `in.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Protocol {
    /// 6.
    Tcp = 6,
    /// 17.
    Udp = 17,
    /// 58, the control messages of IPv6.
    Icmpv6 = 58,
    /// 132.
    Sctp = 132,
}

/// A network: an address and the length of its prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    address: IpAddr,
    len: u8,
}

impl Prefix {
    /// The network that `address` is in; its host bits are cleared. A length
    /// beyond the family's counts as the family's.
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

    /// Its first address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// The length of the prefix in bits.
    #[must_use]
    pub fn prefix_len(self) -> u8 {
        self.len
    }

    /// Its last address.
    #[must_use]
    pub fn last(self) -> IpAddr {
        match self.address {
            IpAddr::V4(first) => {
                let host = u32::MAX.checked_shr(u32::from(self.len)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(first.to_bits() | host))
            }
            IpAddr::V6(first) => {
                let host = u128::MAX.checked_shr(u32::from(self.len)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(first.to_bits() | host))
            }
        }
    }

    /// Whether it is one address.
    #[must_use]
    pub fn is_host(self) -> bool {
        self.len == width(self.address)
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        octets(self.address)
    }

    /// The mask in network byte order.
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

/// One address is the network of itself.
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

/// The length of an address of this family, in bits.
fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A part of a packet or of what is known of it, as the key of a lookup in a
/// set or map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// Source address of IPv4.
    Ipv4Saddr,
    /// Destination address of IPv4.
    Ipv4Daddr,
    /// Source address of IPv6.
    Ipv6Saddr,
    /// Destination address of IPv6.
    Ipv6Daddr,
    /// Protocol above IP.
    L4Proto,
    /// Source port, of any protocol that has them at this place.
    Sport,
    /// Destination port, likewise.
    Dport,
    /// Name of the interface that the packet came in by.
    Iifname,
    /// Name of the interface that it goes out by.
    Oifname,
    /// Source address of Ethernet.
    EtherSaddr,
}

/// The sort of value in a set, or in a part of its key or data; the numbers are
/// those by which `nft` knows them (`include/datatype.h` of nftables).
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
    /// The name of an interface.
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

    /// In bytes.
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

/// A value, as (part of) the key or data of a set's element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// An address of either family.
    Address(IpAddr),
    /// A port.
    Port(u16),
    /// A protocol.
    Protocol(Protocol),
    /// The name of an interface, 15 bytes at most.
    Interface(&'a str),
    /// An Ethernet address.
    Ether([u8; 6]),
}

impl Value<'_> {
    /// Address and port of a socket address, as the data of a map for
    /// [`Rule::dnat_map`](super::Rule::dnat_map).
    #[must_use]
    pub fn socket(address: SocketAddr) -> [Value<'static>; 2] {
        [Value::Address(address.ip()), Value::Port(address.port())]
    }

    /// Of which type it is.
    #[must_use]
    pub fn type_of(&self) -> Type {
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

/// The name of an interface as the kernel compares it: filled up with zeros.
pub(crate) fn interface(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(IFNAMSIZ, 0);
    bytes
}

/// Why it cannot be the name of an interface, if so.
pub(crate) fn bad_interface(name: &str) -> Option<String> {
    let bad = name.is_empty() || name.len() >= IFNAMSIZ || name.as_bytes().contains(&0);
    bad.then(|| {
        format!(
            "invalid interface name {name:?}: 1 to {} bytes",
            IFNAMSIZ - 1
        )
    })
}

/// Values one behind the other, each but an only one filled up to registers.
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
        assert!(prefix("10.1.2.3", 99).is_host());
        assert_eq!(prefix("fd00::1", 128).bytes().len(), 16);
    }

    #[test]
    fn first_and_last_address() {
        for (address, len, first, last) in [
            ("10.1.2.3", 24, "10.1.2.0", "10.1.2.255"),
            ("10.1.2.3", 32, "10.1.2.3", "10.1.2.3"),
            ("10.1.2.3", 0, "0.0.0.0", "255.255.255.255"),
            ("fd00::1", 127, "fd00::", "fd00::1"),
        ] {
            let prefix = prefix(address, len);
            assert_eq!(prefix.address().to_string(), first);
            assert_eq!(prefix.last().to_string(), last);
        }
        assert_eq!(prefix("1.2.3.4", 23).mask(), [255, 255, 254, 0]);
    }
}
