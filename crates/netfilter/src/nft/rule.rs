//! Rules, written as they are read: what a packet must be like, then what
//! happens to it.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use rtnl::netlink::Builder;

use super::constants::*;
use super::expression as expr;
use super::load::{Place, family_of, place, register};
use super::object::{Chain, Family};
use super::set::Set;
use super::userdata;
use super::value::{Field, Prefix, Protocol, Type, bad_interface, interface, octets};

/// A rule of a chain, under construction.
///
/// Each call appends to it, in the order of the calls. What a match takes for
/// granted (that the packet is IPv4, or TCP) is tested before it, once, in the
/// way `nft` does it. The expressions are those that `nft` makes of the same
/// words, so `nft` shows them as such.
///
/// Building never fails; what cannot be meant is reported when the batch is
/// committed, before anything is sent.
#[derive(Clone, Debug)]
#[must_use]
pub struct Rule<'a> {
    pub(crate) chain: Chain<'a>,
    pub(crate) expressions: Builder,
    pub(crate) userdata: Vec<u8>,
    pub(crate) problem: Option<String>,
    /// The network protocol that was tested for (`NFPROTO_*`).
    pub(crate) network: Option<u8>,
    pub(crate) transport: Option<Protocol>,
}

/// How addresses and ports are chosen in translation (`NF_NAT_RANGE_*`,
/// `linux/netfilter/nf_nat.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NatFlags(u32);

impl NatFlags {
    /// The kernel's way: keep the port if it is free.
    pub const NONE: NatFlags = NatFlags(0);
    /// `random`: a random source port.
    pub const RANDOM: NatFlags = NatFlags(1 << 2);
    /// `fully-random`: a random source port, by a random number alone.
    pub const FULLY_RANDOM: NatFlags = NatFlags(1 << 4);
}

/// States of a connection, to be tested with [`Rule::ct_state`]; `|` joins them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CtState(u32);

impl CtState {
    /// Belongs to no connection and cannot begin one.
    pub const INVALID: CtState = CtState(1);
    /// Of a connection that has been answered.
    pub const ESTABLISHED: CtState = CtState(2);
    /// Begins a connection that another one announced.
    pub const RELATED: CtState = CtState(4);
    /// Begins a connection.
    pub const NEW: CtState = CtState(8);
}

impl std::ops::BitOr for CtState {
    type Output = CtState;

    fn bitor(self, other: CtState) -> CtState {
        CtState(self.0 | other.0)
    }
}

/// Marks on a connection (`IPS_*`, `nf_conntrack_common.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CtStatus(u32);

impl CtStatus {
    /// Its source address is translated.
    pub const SNAT: CtStatus = CtStatus(1 << 4);
    /// Its destination address is translated.
    pub const DNAT: CtStatus = CtStatus(1 << 5);
}

impl<'a> Chain<'a> {
    /// An empty rule of this chain. It is in it when it was handed to
    /// [`Batch::add_rule`](super::Batch::add_rule) and the batch was committed.
    pub fn rule(self) -> Rule<'a> {
        Rule {
            chain: self,
            expressions: Builder::default(),
            userdata: Vec::new(),
            problem: None,
            network: None,
            transport: None,
        }
    }
}

impl<'a> Rule<'a> {
    /// The chain that it is made for.
    #[must_use]
    pub fn chain(&self) -> Chain<'a> {
        self.chain
    }
}

/// Matches.
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
        self.need_for(field);
        let Some(Place { base, offset, len }) = place(field) else {
            return self;
        };
        let bits = u32::from(network.prefix_len());
        let mut bytes = network.bytes();
        // Of a prefix that ends between two bytes only so many are loaded.
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

    /// `iifname`: the interface that the packet came in by. In a bridge that is
    /// the port.
    pub fn iifname(self, name: &str) -> Self {
        self.interface(NFT_META_IIFNAME, NFT_CMP_EQ, name)
    }

    /// `iifname !=`.
    pub fn not_iifname(self, name: &str) -> Self {
        self.interface(NFT_META_IIFNAME, NFT_CMP_NEQ, name)
    }

    /// `oifname`: the interface that the packet goes out by.
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

    /// `ether saddr`: the source address of Ethernet.
    pub fn ether_saddr(self, address: [u8; 6]) -> Self {
        self.compare_ether(NFT_CMP_EQ, address)
    }

    /// `ether saddr !=`.
    pub fn not_ether_saddr(self, address: [u8; 6]) -> Self {
        self.compare_ether(NFT_CMP_NEQ, address)
    }

    fn compare_ether(mut self, operation: u32, address: [u8; 6]) -> Self {
        self.need_for(Field::EtherSaddr);
        self.load(Field::EtherSaddr, NFT_REG_1);
        expr::cmp(&mut self.expressions, NFT_REG_1, operation, &address);
        self
    }

    /// `meta l4proto`: the protocol above IP.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.need_transport(protocol);
        self
    }

    /// `tcp dport`, and so on: the protocol and its destination port.
    pub fn dport(self, protocol: Protocol, port: u16) -> Self {
        self.ports(Field::Dport, protocol, port..=port)
    }

    /// As [`Rule::dport`], any port of a range.
    pub fn dports(self, protocol: Protocol, ports: RangeInclusive<u16>) -> Self {
        self.ports(Field::Dport, protocol, ports)
    }

    /// `tcp sport`, and so on: the protocol and its source port.
    pub fn sport(self, protocol: Protocol, port: u16) -> Self {
        self.ports(Field::Sport, protocol, port..=port)
    }

    fn ports(mut self, field: Field, protocol: Protocol, ports: RangeInclusive<u16>) -> Self {
        self.need_transport(protocol);
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

    /// `icmpv6 type`: a control message of IPv6 (`ICMPV6_*`; 134 is a router
    /// advertisement).
    ///
    /// In a bridge table that is one in a frame without a VLAN tag; behind
    /// [`Rule::protocol`] it is one in any frame.
    pub fn icmpv6_type(mut self, kind: u8) -> Self {
        if self.transport == Some(Protocol::Icmpv6) {
            // What it is was tested for.
        } else if self.chain.table.family == Family::Bridge {
            // As nft does it here, unlike for an address.
            let list = &mut self.expressions;
            expr::payload(list, NFT_PAYLOAD_LL_HEADER, 12, 2, NFT_REG_1);
            expr::cmp(list, NFT_REG_1, NFT_CMP_EQ, &ETH_P_IPV6.to_be_bytes());
            self.network = Some(NFPROTO_IPV6);
        } else {
            self.need_for(Field::Ipv6Saddr);
        }
        self.need_transport(Protocol::Icmpv6);
        let list = &mut self.expressions;
        expr::payload(list, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, NFT_REG_1);
        expr::cmp(list, NFT_REG_1, NFT_CMP_EQ, &[kind]);
        self
    }

    /// `fib daddr type local`: the destination is an address of this host.
    pub fn daddr_is_local(mut self) -> Self {
        let list = &mut self.expressions;
        expr::fib_daddr_type(list, NFT_REG_1);
        expr::cmp(list, NFT_REG_1, NFT_CMP_EQ, &RTN_LOCAL.to_ne_bytes());
        self
    }

    /// `ct state`: the connection is in one of these states.
    pub fn ct_state(self, states: CtState) -> Self {
        self.ct_bits(NFT_CT_STATE, states.0)
    }

    /// `ct status`: the connection has this mark.
    pub fn ct_status(self, status: CtStatus) -> Self {
        self.ct_bits(NFT_CT_STATUS, status.0)
    }

    fn ct_bits(mut self, key: u32, bits: u32) -> Self {
        let list = &mut self.expressions;
        expr::ct(list, key, None, NFT_REG_1);
        expr::mask(list, NFT_REG_1, &bits.to_ne_bytes());
        expr::cmp(list, NFT_REG_1, NFT_CMP_NEQ, &[0; 4]);
        self
    }

    /// `ct original ip daddr`: where the connection went before translation.
    pub fn ct_original_daddr(mut self, address: IpAddr) -> Self {
        let key = match address {
            IpAddr::V4(_) => NFT_CT_DST_IP,
            IpAddr::V6(_) => NFT_CT_DST_IP6,
        };
        let list = &mut self.expressions;
        expr::ct(list, key, Some(IP_CT_DIR_ORIGINAL), NFT_REG_1);
        expr::cmp(list, NFT_REG_1, NFT_CMP_EQ, &octets(address));
        self
    }

    /// `ct original proto-dst`: the port that the connection went to before
    /// translation.
    pub fn ct_original_dport(mut self, protocol: Protocol, port: u16) -> Self {
        self.need_transport(protocol);
        let list = &mut self.expressions;
        expr::ct(list, NFT_CT_PROTO_DST, Some(IP_CT_DIR_ORIGINAL), NFT_REG_1);
        expr::cmp(list, NFT_REG_1, NFT_CMP_EQ, &port.to_be_bytes());
        self
    }

    /// `field . field @set`: the fields of the packet are an element of a set.
    pub fn in_set(mut self, fields: &[Field], set: &Set<'_>) -> Self {
        self.load_key(fields, set);
        expr::lookup(&mut self.expressions, set.name, NFT_REG_1, None, false);
        self
    }

    /// `ip saddr & mask . field @set`: as [`Rule::in_set`], where of the first
    /// field, an address, only the network of the first `len` bits counts.
    pub fn network_in_set(mut self, len: u8, fields: &[Field], set: &Set<'_>) -> Self {
        self.check_key(fields, set);
        let mut at = 0;
        for field in fields {
            self.load(*field, register(at));
            if at == 0 {
                self.mask_network(*field, len);
            }
            at += field.type_of().len().next_multiple_of(4);
        }
        expr::lookup(&mut self.expressions, set.name, NFT_REG_1, None, false);
        self
    }

    /// `field . field != @set`.
    pub fn not_in_set(mut self, fields: &[Field], set: &Set<'_>) -> Self {
        self.load_key(fields, set);
        expr::lookup(&mut self.expressions, set.name, NFT_REG_1, None, true);
        self
    }
}

/// What iptables has that nf_tables says in other words.
impl Rule<'_> {
    /// `-m conntrack --ctstate RELATED,ESTABLISHED`: `struct xt_conntrack_mtinfo3`
    /// (`linux/netfilter/xt_conntrack.h`), to recognise such rules with.
    pub(crate) fn xt_related_or_established(mut self) -> Self {
        const SIZE: usize = 168;
        const MATCH_FLAGS: usize = 146;
        const STATE_MASK: usize = 150;
        // `XT_CONNTRACK_STATE`; the bits of `IP_CT_RELATED` and `IP_CT_ESTABLISHED`.
        const FIELDS: [(usize, u16); 2] = [(MATCH_FLAGS, 1), (STATE_MASK, 1 << 2 | 1 << 1)];
        let mut info = [0; SIZE];
        for (at, value) in FIELDS {
            for (byte, part) in info.iter_mut().skip(at).zip(value.to_ne_bytes()) {
                *byte = part;
            }
        }
        expr::xt_match(&mut self.expressions, "conntrack", 3, &info);
        self
    }
}

/// What happens to the packet.
impl Rule<'_> {
    /// `counter`: packets and bytes that got this far are counted.
    pub fn counter(mut self) -> Self {
        expr::counter(&mut self.expressions);
        self
    }

    /// `accept`.
    pub fn accept(self) -> Self {
        self.verdict(NF_ACCEPT, None)
    }

    /// `drop`.
    pub fn drop(self) -> Self {
        self.verdict(NF_DROP, None)
    }

    /// `return`: back to behind the jump that led here.
    pub fn return_(self) -> Self {
        self.verdict(NFT_RETURN, None)
    }

    /// `jump`: on with a chain of this table, and back if it does not decide.
    pub fn jump(self, chain: &str) -> Self {
        self.verdict(NFT_JUMP, Some(chain))
    }

    /// `goto`: on with a chain of this table, and not back.
    pub fn goto(self, chain: &str) -> Self {
        self.verdict(NFT_GOTO, Some(chain))
    }

    fn verdict(mut self, code: i32, chain: Option<&str>) -> Self {
        expr::verdict(&mut self.expressions, code, chain);
        self
    }

    /// `vmap @map`: the verdict that a verdict map has for the fields, if any.
    pub fn vmap(mut self, fields: &[Field], map: &Set<'_>) -> Self {
        self.load_key(fields, map);
        let to = Some(NFT_REG_VERDICT);
        expr::lookup(&mut self.expressions, map.name, NFT_REG_1, to, false);
        self
    }

    /// `masquerade`: the source becomes the address of the interface that the
    /// packet goes out by.
    pub fn masquerade(mut self, flags: NatFlags) -> Self {
        expr::masquerade(&mut self.expressions, flags.0);
        self
    }

    /// `snat to`.
    pub fn snat(mut self, address: IpAddr, flags: NatFlags) -> Self {
        let list = &mut self.expressions;
        expr::immediate(list, NFT_REG_1, &octets(address));
        let family = family_of(address);
        // The kernel sets it by itself, but nft sends it.
        let flags = flags.0 | NF_NAT_RANGE_MAP_IPS;
        expr::nat(list, NFT_NAT_SNAT, family, NFT_REG_1, None, flags);
        self
    }

    /// `dnat to`.
    pub fn dnat(mut self, to: SocketAddr) -> Self {
        let list = &mut self.expressions;
        let port = NFT_REG_1 + 1;
        expr::immediate(list, NFT_REG_1, &octets(to.ip()));
        expr::immediate(list, port, &to.port().to_be_bytes());
        let family = family_of(to.ip());
        expr::nat(list, NFT_NAT_DNAT, family, NFT_REG_1, Some(port), 0);
        self
    }

    /// `dnat ip to … map @map`: the destination that a map has for the fields,
    /// if any. Its data are an address, or an address and a port
    /// ([`Value::socket`](super::Value::socket)).
    pub fn dnat_map(mut self, fields: &[Field], map: &Set<'_>) -> Self {
        let (family, port) = match map.data_types() {
            [Type::Ipv4Addr] => (NFPROTO_IPV4, None),
            [Type::Ipv6Addr] => (NFPROTO_IPV6, None),
            [Type::Ipv4Addr, Type::Port] => (NFPROTO_IPV4, Some(register(4))),
            [Type::Ipv6Addr, Type::Port] => (NFPROTO_IPV6, Some(register(16))),
            _ => {
                self.set_problem(format!("map {:?} holds no destinations", map.name));
                return self;
            }
        };
        self.load_key(fields, map);
        let list = &mut self.expressions;
        expr::lookup(list, map.name, NFT_REG_1, Some(NFT_REG_1), false);
        expr::nat(list, NFT_NAT_DNAT, family, NFT_REG_1, port, 0);
        self
    }

    /// The comment that `nft` shows, 128 bytes at most.
    pub fn comment(mut self, text: &str) -> Self {
        match userdata::comment(NFTNL_UDATA_RULE_COMMENT, text) {
            Ok(data) => self.userdata.splice(..0, data).for_each(drop),
            Err(problem) => self.set_problem(problem),
        }
        self
    }

    /// A note for ourselves, [`NOTE_MAX`](super::NOTE_MAX) bytes at most, that
    /// the kernel keeps with the rule and `nft` does not show.
    pub fn note(mut self, bytes: &[u8]) -> Self {
        match userdata::note(bytes) {
            Ok(data) => self.userdata.extend(data),
            Err(problem) => self.set_problem(problem),
        }
        self
    }
}
