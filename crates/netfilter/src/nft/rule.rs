//! Rules under construction, and what matches and statements share: loading fields
//! into registers, after a test for the protocol that they belong to.

use std::net::IpAddr;

use rtnl::netlink::Builder;

use super::constants::*;
use super::expression as expr;
use super::field::{Field, Source, register};
use super::object::{Chain, Family};
use super::set::Set;
use super::value::{Prefix, Protocol, Type};

/// A rule of a chain, under construction.
///
/// Each call appends to the rule, in the order of the calls. The network or transport
/// protocol that a match depends on is tested once before it, as `nft` does. The
/// expressions are those that `nft` generates for the same words, so `nft` lists them
/// in these words.
///
/// Building never fails. An invalid rule is reported when the batch is committed,
/// before anything is sent.
#[derive(Clone, Debug)]
#[must_use]
pub struct Rule<'a> {
    pub(crate) chain: Chain<'a>,
    pub(crate) expressions: Builder,
    pub(crate) userdata: Vec<u8>,
    pub(crate) problem: Option<String>,
    /// The network protocol that was tested for (`NFPROTO_*`).
    pub(crate) network: Option<u8>,
    /// The transport protocol that was tested for.
    pub(crate) transport: Option<Protocol>,
    /// The transport protocol that matches and targets of xtables are told.
    pub(crate) xt_protocol: Option<Protocol>,
}

impl<'a> Chain<'a> {
    /// Returns an empty rule for this chain, to be passed to
    /// [`Batch::add_rule`](super::Batch::add_rule).
    pub fn rule(self) -> Rule<'a> {
        Rule {
            chain: self,
            expressions: Builder::default(),
            userdata: Vec::new(),
            problem: None,
            network: None,
            transport: None,
            xt_protocol: None,
        }
    }
}

impl<'a> Rule<'a> {
    /// Returns the chain that the rule is for.
    #[must_use]
    pub fn chain(&self) -> Chain<'a> {
        self.chain
    }
}

impl Rule<'_> {
    /// Records why the rule is invalid; the first reason counts.
    pub(crate) fn set_problem(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }

    /// Loads a field into a register.
    pub(crate) fn load(&mut self, field: Field, register: u32) {
        let list = &mut self.expressions;
        match field.source() {
            Source::Payload { base, offset, len } => {
                expr::payload(list, base, offset, len, register);
            }
            Source::Meta(key) => expr::meta(list, key, register),
        }
    }

    /// Masks the address in the first register to its first `len` bits.
    pub(crate) fn mask_network(&mut self, field: Field, len: u8) {
        let any = match field.type_of() {
            Type::Ipv4Addr => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            Type::Ipv6Addr => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
            _ => return self.set_problem("a prefix length for a field without address".to_owned()),
        };
        let mask = Prefix::new(any, len).mask();
        expr::mask(&mut self.expressions, NFT_REG_1, &mask);
    }

    /// Loads the fields into consecutive registers, as the key of a set. Of the first
    /// field, if `first_len` is given, only this many bits are kept.
    pub(crate) fn load_key(&mut self, fields: &[Field], set: &Set<'_>, first_len: Option<u8>) {
        let types = fields.iter().map(|field| field.type_of());
        if !types.eq(set.key.iter().copied()) {
            self.set_problem(format!(
                "the key of set {:?} has other types than the fields that are looked up",
                set.name
            ));
        }
        for field in fields {
            self.require_network(*field);
        }
        let mut at = 0;
        for field in fields {
            self.load(*field, register(at));
            if let (0, Some(len)) = (at, first_len) {
                self.mask_network(*field, len);
            }
            at += field.type_of().len().next_multiple_of(4);
        }
    }

    /// Tests for the network protocol that a field belongs to, unless the table has
    /// this family or the rule has tested for it.
    pub(crate) fn require_network(&mut self, field: Field) {
        let (protocol, ether, own) = match field {
            Field::Ipv4Saddr | Field::Ipv4Daddr => (NFPROTO_IPV4, ETH_P_IP, Family::Ip),
            Field::Ipv6Saddr | Field::Ipv6Daddr => (NFPROTO_IPV6, ETH_P_IPV6, Family::Ip6),
            Field::EtherSaddr if self.chain.table.family != Family::Bridge => {
                self.set_problem("MAC address outside of a bridge table".to_owned());
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

    /// Tests for a transport protocol, unless the rule has tested for it.
    pub(crate) fn require_transport(&mut self, protocol: Protocol) {
        if self.transport == Some(protocol) {
            return;
        }
        if self.transport.is_some() {
            self.set_problem("two transport protocols in one rule".to_owned());
        }
        self.transport = Some(protocol);
        let list = &mut self.expressions;
        expr::meta(list, NFT_META_L4PROTO, NFT_REG_1);
        expr::cmp(list, NFT_REG_1, NFT_CMP_EQ, &[protocol as u8]);
    }
}
