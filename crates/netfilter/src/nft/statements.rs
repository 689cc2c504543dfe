//! Statements: what a rule does with a packet that matches.

use std::net::{IpAddr, SocketAddr};

use super::constants::*;
use super::expression as expr;
use super::field::{Field, register};
use super::rule::Rule;
use super::set::Set;
use super::userdata;
use super::value::{Type, nfproto, octets};

/// How NAT selects the source port (`NF_NAT_RANGE_*`, `linux/netfilter/nf_nat.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NatFlags(u32);

impl NatFlags {
    /// The kernel's default: the original port if it is free.
    pub const NONE: NatFlags = NatFlags(0);
    /// `fully-random`: a random port.
    pub const FULLY_RANDOM: NatFlags = NatFlags(1 << 4);
}

impl Rule<'_> {
    /// `counter`: counts packets and bytes that reach this statement.
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

    /// `return`: continues behind the jump to this chain.
    pub fn return_(self) -> Self {
        self.verdict(NFT_RETURN, None)
    }

    /// `jump`: continues in another chain of the table, and returns from its end.
    pub fn jump(self, chain: &str) -> Self {
        self.verdict(NFT_JUMP, Some(chain))
    }

    /// `goto`: continues in another chain of the table, without return.
    pub fn goto(self, chain: &str) -> Self {
        self.verdict(NFT_GOTO, Some(chain))
    }

    fn verdict(mut self, code: i32, chain: Option<&str>) -> Self {
        expr::verdict(&mut self.expressions, code, chain);
        self
    }

    /// `field . field vmap @map`: applies the verdict of the element with these fields, if
    /// there is one.
    pub fn vmap(mut self, fields: &[Field], map: &Set<'_>) -> Self {
        self.load_key(fields, map, None);
        let to = Some(NFT_REG_VERDICT);
        expr::lookup(&mut self.expressions, map.name, NFT_REG_1, to);
        self
    }

    /// `masquerade`: source NAT to the address of the output interface.
    pub fn masquerade(mut self, flags: NatFlags) -> Self {
        expr::masquerade(&mut self.expressions, flags.0);
        self
    }

    /// `snat to`: source NAT to an address.
    pub fn snat(mut self, address: IpAddr, flags: NatFlags) -> Self {
        let list = &mut self.expressions;
        expr::immediate(list, NFT_REG_1, &octets(address));
        let family = nfproto(address);
        // The kernel sets this flag by itself, but nft sends it.
        let flags = flags.0 | NF_NAT_RANGE_MAP_IPS;
        expr::nat(list, NFT_NAT_SNAT, family, NFT_REG_1, None, flags);
        self
    }

    /// `dnat to`: destination NAT to an address and port.
    pub fn dnat(mut self, to: SocketAddr) -> Self {
        let list = &mut self.expressions;
        let port = NFT_REG_1 + 1;
        expr::immediate(list, NFT_REG_1, &octets(to.ip()));
        expr::immediate(list, port, &to.port().to_be_bytes());
        let family = nfproto(to.ip());
        expr::nat(list, NFT_NAT_DNAT, family, NFT_REG_1, Some(port), 0);
        self
    }

    /// `dnat ip to field . field map @map`: destination NAT to the data of the element
    /// with these fields, if there is one. The data are an address, or an address and a
    /// port ([`Value::socket`](super::Value::socket)).
    pub fn dnat_map(mut self, fields: &[Field], map: &Set<'_>) -> Self {
        let (family, port) = match map.data_types() {
            [Type::Ipv4Addr] => (NFPROTO_IPV4, None),
            [Type::Ipv6Addr] => (NFPROTO_IPV6, None),
            [Type::Ipv4Addr, Type::Port] => (NFPROTO_IPV4, Some(register(4))),
            [Type::Ipv6Addr, Type::Port] => (NFPROTO_IPV6, Some(register(16))),
            _ => {
                self.set_problem(format!(
                    "the data of map {:?} are not an address, or an address and a port",
                    map.name
                ));
                return self;
            }
        };
        self.load_key(fields, map, None);
        let list = &mut self.expressions;
        expr::lookup(list, map.name, NFT_REG_1, Some(NFT_REG_1));
        expr::nat(list, NFT_NAT_DNAT, family, NFT_REG_1, port, 0);
        self
    }

    /// The comment, at most [`COMMENT_MAX`](super::COMMENT_MAX) bytes.
    pub fn comment(mut self, text: &str) -> Self {
        match userdata::comment(NFTNL_UDATA_RULE_COMMENT, text) {
            Ok(data) => self.userdata.splice(..0, data).for_each(drop),
            Err(problem) => self.set_problem(problem),
        }
        self
    }

    /// A note for our own use, at most 120 bytes. The kernel
    /// keeps it with the rule; `nft` does not show it.
    pub fn note(mut self, bytes: &[u8]) -> Self {
        match userdata::note(bytes) {
            Ok(data) => self.userdata.extend(data),
            Err(problem) => self.set_problem(problem),
        }
        self
    }
}
