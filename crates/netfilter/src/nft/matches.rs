//! Matches: the conditions of a rule.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::constants::*;
use super::expression as expr;
use super::field::{Field, Source};
use super::object::Family;
use super::rule::Rule;
use super::set::Set;
use super::value::{Prefix, Protocol, bad_interface, interface};

/// Connection tracking states, for [`Rule::ct_state`]; combined with `|`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CtState(u32);

impl CtState {
    /// `established`: belongs to a connection with packets in both directions.
    pub const ESTABLISHED: CtState = CtState(2);
    /// `related`: begins a connection that another connection expects.
    pub const RELATED: CtState = CtState(4);
}

impl std::ops::BitOr for CtState {
    type Output = CtState;

    fn bitor(self, other: CtState) -> CtState {
        CtState(self.0 | other.0)
    }
}

/// Status bits of a connection (`IPS_*`, `nf_conntrack_common.h`), for
/// [`Rule::ct_status`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CtStatus(u32);

impl CtStatus {
    /// Its destination address is translated.
    pub const DNAT: CtStatus = CtStatus(1 << 5);
}

impl Rule<'_> {
    /// `ip saddr` or `ip6 saddr`: the source address is in the network.
    pub fn saddr(self, network: impl Into<Prefix>) -> Self {
        self.address(true, NFT_CMP_EQ, network.into())
    }

    /// `ip saddr !=` or `ip6 saddr !=`.
    pub fn not_saddr(self, network: impl Into<Prefix>) -> Self {
        self.address(true, NFT_CMP_NEQ, network.into())
    }

    /// `ip daddr` or `ip6 daddr`: the destination address is in the network.
    pub fn daddr(self, network: impl Into<Prefix>) -> Self {
        self.address(false, NFT_CMP_EQ, network.into())
    }

    /// `ip daddr !=` or `ip6 daddr !=`.
    pub fn not_daddr(self, network: impl Into<Prefix>) -> Self {
        self.address(false, NFT_CMP_NEQ, network.into())
    }

    fn address(mut self, source: bool, operation: u32, network: Prefix) -> Self {
        let field = match (network.address(), source) {
            (IpAddr::V4(_), true) => Field::Ipv4Saddr,
            (IpAddr::V4(_), false) => Field::Ipv4Daddr,
            (IpAddr::V6(_), true) => Field::Ipv6Saddr,
            (IpAddr::V6(_), false) => Field::Ipv6Daddr,
        };
        self.require_network(field);
        let Source::Payload { base, offset, len } = field.source() else {
            return self;
        };
        let bits = u32::from(network.prefix_len());
        let mut bytes = network.bytes();
        // As nft does: of a prefix of whole bytes only these bytes are loaded.
        let whole = bits % 8 == 0 && bits > 0;
        let len = if whole { bits / 8 } else { len };
        expr::payload(&mut self.expressions, base, offset, len, NFT_REG_1);
        if whole {
            bytes.truncate(network.prefix_len() as usize / 8);
        } else {
            expr::mask(&mut self.expressions, NFT_REG_1, &network.mask());
        }
        expr::cmp(&mut self.expressions, NFT_REG_1, operation, &bytes);
        self
    }

    /// `iifname`: the input interface. In a bridge table that is the bridge port.
    pub fn iifname(self, name: &str) -> Self {
        self.interface(NFT_META_IIFNAME, NFT_CMP_EQ, name)
    }

    /// `iifname !=`.
    pub fn not_iifname(self, name: &str) -> Self {
        self.interface(NFT_META_IIFNAME, NFT_CMP_NEQ, name)
    }

    /// `oifname`: the output interface.
    pub fn oifname(self, name: &str) -> Self {
        self.interface(NFT_META_OIFNAME, NFT_CMP_EQ, name)
    }

    /// `oifname !=`.
    pub fn not_oifname(self, name: &str) -> Self {
        self.interface(NFT_META_OIFNAME, NFT_CMP_NEQ, name)
    }

    fn interface(mut self, key: u32, operation: u32, name: &str) -> Self {
        if let Some(problem) = bad_interface(name) {
            self.set_problem(problem);
        }
        expr::meta(&mut self.expressions, key, NFT_REG_1);
        expr::cmp(
            &mut self.expressions,
            NFT_REG_1,
            operation,
            &interface(name),
        );
        self
    }

    /// `ether saddr`: the source MAC address.
    pub fn ether_saddr(mut self, address: [u8; 6]) -> Self {
        self.require_network(Field::EtherSaddr);
        self.load(Field::EtherSaddr, NFT_REG_1);
        expr::cmp(&mut self.expressions, NFT_REG_1, NFT_CMP_EQ, &address);
        self
    }

    /// `meta l4proto`: the transport protocol.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.require_transport(protocol);
        self
    }

    /// `tcp dport`, `udp dport` …: the transport protocol and the destination port.
    pub fn dport(self, protocol: Protocol, port: u16) -> Self {
        self.ports(Field::Dport, protocol, port..=port)
    }

    /// As [`Rule::dport`], for any port of a range.
    pub fn dports(self, protocol: Protocol, ports: RangeInclusive<u16>) -> Self {
        self.ports(Field::Dport, protocol, ports)
    }

    /// `tcp sport`, `udp sport` …: the transport protocol and the source port.
    pub fn sport(self, protocol: Protocol, port: u16) -> Self {
        self.ports(Field::Sport, protocol, port..=port)
    }

    fn ports(mut self, field: Field, protocol: Protocol, ports: RangeInclusive<u16>) -> Self {
        self.require_transport(protocol);
        self.load(field, NFT_REG_1);
        let (first, last) = (ports.start().to_be_bytes(), ports.end().to_be_bytes());
        let list = &mut self.expressions;
        if first == last {
            expr::cmp(list, NFT_REG_1, NFT_CMP_EQ, &first);
        } else {
            expr::cmp(list, NFT_REG_1, NFT_CMP_GTE, &first);
            expr::cmp(list, NFT_REG_1, NFT_CMP_LTE, &last);
        }
        self
    }

    /// `icmpv6 type`: the ICMPv6 message type (134 is a router advertisement).
    ///
    /// In a bridge table this matches only frames without a VLAN tag, except after
    /// [`Rule::protocol`].
    pub fn icmpv6_type(mut self, kind: u8) -> Self {
        if self.transport == Some(Protocol::Icmpv6) {
            // The protocol has been tested for.
        } else if self.chain.table.family == Family::Bridge {
            // As nft does for ICMPv6, unlike for an address.
            let list = &mut self.expressions;
            expr::payload(list, NFT_PAYLOAD_LL_HEADER, 12, 2, NFT_REG_1);
            expr::cmp(list, NFT_REG_1, NFT_CMP_EQ, &ETH_P_IPV6.to_be_bytes());
            self.network = Some(NFPROTO_IPV6);
        } else {
            self.require_network(Field::Ipv6Saddr);
        }
        self.require_transport(Protocol::Icmpv6);
        let list = &mut self.expressions;
        expr::payload(list, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, NFT_REG_1);
        expr::cmp(list, NFT_REG_1, NFT_CMP_EQ, &[kind]);
        self
    }

    /// `fib daddr type local`: the destination is a local address.
    pub fn daddr_is_local(mut self) -> Self {
        let list = &mut self.expressions;
        expr::fib_daddr_type(list, NFT_REG_1);
        expr::cmp(list, NFT_REG_1, NFT_CMP_EQ, &RTN_LOCAL.to_ne_bytes());
        self
    }

    /// `ct state`: the connection tracking state is one of these.
    pub fn ct_state(self, states: CtState) -> Self {
        self.ct_bits(NFT_CT_STATE, states.0)
    }

    /// `ct status`: the connection has this status bit.
    pub fn ct_status(self, status: CtStatus) -> Self {
        self.ct_bits(NFT_CT_STATUS, status.0)
    }

    fn ct_bits(mut self, key: u32, bits: u32) -> Self {
        let list = &mut self.expressions;
        expr::ct(list, key, NFT_REG_1);
        expr::mask(list, NFT_REG_1, &bits.to_ne_bytes());
        expr::cmp(list, NFT_REG_1, NFT_CMP_NEQ, &[0; 4]);
        self
    }

    /// `field . field @set`: the fields are an element of a set.
    pub fn in_set(self, fields: &[Field], set: &Set<'_>) -> Self {
        self.lookup(fields, set, None)
    }

    /// `ip saddr & mask . field @set`: as [`Rule::in_set`], with the first field, an
    /// address, masked to its first `len` bits.
    pub fn network_in_set(self, len: u8, fields: &[Field], set: &Set<'_>) -> Self {
        self.lookup(fields, set, Some(len))
    }

    fn lookup(mut self, fields: &[Field], set: &Set<'_>, len: Option<u8>) -> Self {
        self.load_key(fields, set, len);
        expr::lookup(&mut self.expressions, set.name, NFT_REG_1, None);
        self
    }
}
