//! Packet fields: their types, and where the kernel loads them from and to.

use super::constants::*;
use super::value::Type;

/// A field of a packet or of its metadata, as (part of) the key of a set lookup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// `ip saddr`: IPv4 source address.
    Ipv4Saddr,
    /// `ip daddr`: IPv4 destination address.
    Ipv4Daddr,
    /// `ip6 saddr`: IPv6 source address.
    Ipv6Saddr,
    /// `ip6 daddr`: IPv6 destination address.
    Ipv6Daddr,
    /// `meta l4proto`: transport protocol.
    L4Proto,
    /// `th sport`: source port of any transport protocol.
    Sport,
    /// `th dport`: destination port of any transport protocol.
    Dport,
    /// `iifname`: name of the input interface.
    Iifname,
    /// `oifname`: name of the output interface.
    Oifname,
    /// `ether saddr`: source MAC address.
    EtherSaddr,
}

impl Field {
    /// The type of the field's value.
    pub(crate) fn type_of(self) -> Type {
        match self {
            Field::Ipv4Saddr | Field::Ipv4Daddr => Type::Ipv4Addr,
            Field::Ipv6Saddr | Field::Ipv6Daddr => Type::Ipv6Addr,
            Field::L4Proto => Type::Protocol,
            Field::Sport | Field::Dport => Type::Port,
            Field::Iifname | Field::Oifname => Type::Interface,
            Field::EtherSaddr => Type::EtherAddr,
        }
    }

    /// Where the field is loaded from.
    pub(crate) fn source(self) -> Source {
        let (base, offset, len) = match self {
            Field::EtherSaddr => (NFT_PAYLOAD_LL_HEADER, 6, 6),
            Field::Ipv4Saddr => (NFT_PAYLOAD_NETWORK_HEADER, 12, 4),
            Field::Ipv4Daddr => (NFT_PAYLOAD_NETWORK_HEADER, 16, 4),
            Field::Ipv6Saddr => (NFT_PAYLOAD_NETWORK_HEADER, 8, 16),
            Field::Ipv6Daddr => (NFT_PAYLOAD_NETWORK_HEADER, 24, 16),
            Field::Sport => (NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2),
            Field::Dport => (NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2),
            Field::L4Proto => return Source::Meta(NFT_META_L4PROTO),
            Field::Iifname => return Source::Meta(NFT_META_IIFNAME),
            Field::Oifname => return Source::Meta(NFT_META_OIFNAME),
        };
        Source::Payload { base, offset, len }
    }
}

/// What the kernel loads a field from.
pub(crate) enum Source {
    /// Bytes of the packet; `base` is a `NFT_PAYLOAD_*` header.
    Payload { base: u32, offset: u32, len: u32 },
    /// Metadata (`NFT_META_*`).
    Meta(u32),
}

/// Number of the register at byte `at`, a multiple of 4, of the register file.
/// Offsets that are a multiple of 16 bytes have the old numbers (`NFT_REG_1` and
/// following), which every kernel uses when it lists a rule.
pub(crate) fn register(at: usize) -> u32 {
    // Keys and data are a few dozen bytes.
    let slot = u32::try_from(at / 4).unwrap_or(u32::MAX);
    if slot % 4 == 0 {
        NFT_REG_1 + slot / 4
    } else {
        NFT_REG32_00 + slot
    }
}
