//! Loading parts of a packet into registers, and testing beforehand for what
//! they take for granted.

use std::net::IpAddr;

use super::constants::*;
use super::expression as expr;
use super::object::Family;
use super::rule::Rule;
use super::set::Set;
use super::value::{Field, Prefix, Protocol, Type};

/// Where a field is in the packet.
pub(crate) struct Place {
    pub(crate) base: u32,
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

/// `None` for what is not in the packet.
pub(crate) fn place(field: Field) -> Option<Place> {
    let (base, offset, len) = match field {
        Field::EtherSaddr => (NFT_PAYLOAD_LL_HEADER, 6, 6),
        Field::Ipv4Saddr => (NFT_PAYLOAD_NETWORK_HEADER, 12, 4),
        Field::Ipv4Daddr => (NFT_PAYLOAD_NETWORK_HEADER, 16, 4),
        Field::Ipv6Saddr => (NFT_PAYLOAD_NETWORK_HEADER, 8, 16),
        Field::Ipv6Daddr => (NFT_PAYLOAD_NETWORK_HEADER, 24, 16),
        Field::Sport => (NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2),
        Field::Dport => (NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2),
        Field::L4Proto | Field::Iifname | Field::Oifname => return None,
    };
    Some(Place { base, offset, len })
}

/// Number of the register at this many bytes, a multiple of 4. Those of 16
/// bytes are named as such, which every kernel does when it lists a rule.
pub(crate) fn register(at: usize) -> u32 {
    // Keys and data are a few dozen bytes.
    let slot = u32::try_from(at / 4).unwrap_or(u32::MAX);
    if slot % 4 == 0 {
        NFT_REG_1 + slot / 4
    } else {
        NFT_REG32_00 + slot
    }
}

pub(crate) fn family_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => NFPROTO_IPV4,
        IpAddr::V6(_) => NFPROTO_IPV6,
    }
}

impl Rule<'_> {
    pub(crate) fn set_problem(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }

    pub(crate) fn load(&mut self, field: Field, register: u32) {
        let list = &mut self.expressions;
        match (place(field), field) {
            (Some(Place { base, offset, len }), _) => {
                expr::payload(list, base, offset, len, register);
            }
            (None, Field::Oifname) => expr::meta(list, NFT_META_OIFNAME, register),
            (None, Field::Iifname) => expr::meta(list, NFT_META_IIFNAME, register),
            (None, _) => expr::meta(list, NFT_META_L4PROTO, register),
        }
    }

    /// Leaves the first `len` bits of an address that was loaded.
    pub(crate) fn mask_network(&mut self, field: Field, len: u8) {
        let any = match field.type_of() {
            Type::Ipv4Addr => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            Type::Ipv6Addr => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
            _ => return self.set_problem("a network of something else than addresses".to_owned()),
        };
        let mask = Prefix::new(any, len).mask();
        expr::mask(&mut self.expressions, NFT_REG_1, &mask);
    }

    /// Loads the fields side by side, as the key of a set.
    pub(crate) fn load_key(&mut self, fields: &[Field], set: &Set<'_>) {
        self.check_key(fields, set);
        let mut at = 0;
        for field in fields {
            self.load(*field, register(at));
            at += field.type_of().len().next_multiple_of(4);
        }
    }

    pub(crate) fn check_key(&mut self, fields: &[Field], set: &Set<'_>) {
        let types = fields.iter().map(|field| field.type_of());
        if !types.eq(set.key.iter().copied()) {
            self.set_problem(format!(
                "set {:?} has elements of other fields than are looked up in it",
                set.name
            ));
        }
        for field in fields {
            self.need_for(*field);
        }
    }

    /// Tests for the network protocol that a field is of, unless the table is
    /// of its family, or it was tested for.
    pub(crate) fn need_for(&mut self, field: Field) {
        let (protocol, ether, own) = match field {
            Field::Ipv4Saddr | Field::Ipv4Daddr => (NFPROTO_IPV4, ETH_P_IP, Family::Ip),
            Field::Ipv6Saddr | Field::Ipv6Daddr => (NFPROTO_IPV6, ETH_P_IPV6, Family::Ip6),
            Field::EtherSaddr if self.chain.table.family != Family::Bridge => {
                self.set_problem("Ethernet address outside of a bridge table".to_owned());
                return;
            }
            _ => return,
        };
        let family = self.chain.table.family;
        if family == own || self.network == Some(protocol) {
            return;
        }
        if self.network.is_some() || matches!(family, Family::Ip | Family::Ip6) {
            self.set_problem("addresses of both families in one rule".to_owned());
            return;
        }
        self.network = Some(protocol);
        let list = &mut self.expressions;
        if family == Family::Bridge {
            expr::meta(list, NFT_META_PROTOCOL, NFT_REG_1);
            expr::cmp(list, NFT_REG_1, NFT_CMP_EQ, &ether.to_be_bytes());
        } else {
            expr::meta(list, NFT_META_NFPROTO, NFT_REG_1);
            expr::cmp(list, NFT_REG_1, NFT_CMP_EQ, &[protocol]);
        }
    }

    pub(crate) fn need_transport(&mut self, protocol: Protocol) {
        if self.transport == Some(protocol) {
            return;
        }
        if self.transport.is_some() {
            self.set_problem("two protocols in one rule".to_owned());
        }
        self.transport = Some(protocol);
        let list = &mut self.expressions;
        expr::meta(list, NFT_META_L4PROTO, NFT_REG_1);
        expr::cmp(list, NFT_REG_1, NFT_CMP_EQ, &[protocol as u8]);
    }
}
