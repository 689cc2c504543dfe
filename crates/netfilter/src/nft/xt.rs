//! Matches and targets as iptables-nft writes them, so that it prints them as rules of iptables.
//!
//! Where its versions write different expressions, these are the ones that all versions since 1.8.0 read: addresses as
//! a whole with a mask, and matches and targets of xtables with their binary parameters.

use std::net::SocketAddr;

use super::constants::*;
use super::expression as expr;
use super::field::{Field, Source};
use super::rule::Rule;
use super::value::{Prefix, Protocol, octets};

/// `XT_MAX_COMMENT_LEN` (`linux/netfilter/xt_comment.h`).
const COMMENT_SIZE: usize = 256;

/// `XT_MULTI_PORTS` (`linux/netfilter/xt_multiport.h`).
const MULTI_PORTS: usize = 15;

impl Rule<'_> {
    /// `-s` or `-d` with a network, or `! -s` and `! -d`.
    pub(crate) fn xt_network(mut self, is_source: bool, inverted: bool, network: Prefix) -> Self {
        let field = match (network.address().is_ipv4(), is_source) {
            (true, true) => Field::Ipv4Saddr,
            (true, false) => Field::Ipv4Daddr,
            (false, true) => Field::Ipv6Saddr,
            (false, false) => Field::Ipv6Daddr,
        };
        self.require_network(field);
        let Source::Payload { base, offset, len } = field.source() else {
            return self;
        };
        let operation = if inverted { NFT_CMP_NEQ } else { NFT_CMP_EQ };
        let list = &mut self.expressions;
        expr::payload(list, base, offset, len, NFT_REG_1);
        if u32::from(network.prefix_len()) < len * 8 {
            expr::mask(list, NFT_REG_1, &network.mask());
        }
        expr::cmp(list, NFT_REG_1, operation, &network.bytes());
        self
    }

    /// `-m comment`: at most 255 bytes.
    pub(crate) fn xt_comment(mut self, text: &str) -> Self {
        if text.len() >= COMMENT_SIZE {
            self.set_problem(format!("a comment of {} bytes", text.len()));
        }
        let mut info: Vec<u8> = text.bytes().take(COMMENT_SIZE - 1).collect();
        info.resize(COMMENT_SIZE, 0);
        expr::xt_match(&mut self.expressions, "comment", 0, &info);
        self
    }

    /// `-p`: a test for the protocol, which the matches after it are told, too.
    pub(crate) fn xt_protocol(mut self, protocol: Protocol) -> Self {
        self.require_transport(protocol);
        self.xt_protocol = Some(protocol);
        self
    }

    /// `-m tcp --dport` or `-m udp --dport`: `struct xt_tcp` or `struct xt_udp`
    /// (`linux/netfilter/xt_tcpudp.h`), any source port and one destination port.
    pub(crate) fn xt_dport(mut self, protocol: Protocol, port: u16) -> Self {
        // Shorter than 16 bytes in both, but with this alignment.
        let info = padded(
            &[
                &0_u16.to_ne_bytes(),
                &[0xff; 2],
                &port.to_ne_bytes(),
                &port.to_ne_bytes(),
            ],
            16,
        );
        let name = if protocol == Protocol::Tcp {
            "tcp"
        } else {
            "udp"
        };
        expr::xt_match(&mut self.expressions, name, 0, &info);
        self
    }

    /// `-m multiport --dports`: `struct xt_multiport_v1` (`linux/netfilter/xt_multiport.h`).
    pub(crate) fn xt_dports(mut self, ports: &[u16]) -> Self {
        // `XT_MULTIPORT_DESTINATION`.
        const FLAGS: u8 = 1;
        if ports.len() > MULTI_PORTS {
            self.set_problem(format!("{} ports in one rule", ports.len()));
        }
        let count = u8::try_from(ports.len()).unwrap_or(u8::MAX);
        let list: Vec<u8> = ports.iter().flat_map(|port| port.to_ne_bytes()).collect();
        let info = padded(&[&[FLAGS, count], &list], 48);
        expr::xt_match(&mut self.expressions, "multiport", 1, &info);
        self
    }

    /// `-m addrtype --dst-type LOCAL`: `struct xt_addrtype_info_v1` (`linux/netfilter/xt_addrtype.h`).
    pub(crate) fn xt_local_destination(mut self) -> Self {
        const LOCAL: u16 = 1 << 2;
        let info = padded(&[&0_u16.to_ne_bytes(), &LOCAL.to_ne_bytes()], 8);
        expr::xt_match(&mut self.expressions, "addrtype", 1, &info);
        self
    }

    /// `-m mark --mark value/mask`.
    pub(crate) fn xt_mark(mut self, value: u32, mask: u32) -> Self {
        let list = &mut self.expressions;
        expr::meta(list, NFT_META_MARK, NFT_REG_1);
        expr::mask(list, NFT_REG_1, &mask.to_ne_bytes());
        expr::cmp(list, NFT_REG_1, NFT_CMP_EQ, &value.to_ne_bytes());
        self
    }

    /// `-j MARK --set-xmark value/mask`: `struct xt_mark_tginfo2` (`linux/netfilter/xt_mark.h`).
    pub(crate) fn xt_set_mark(mut self, value: u32, mask: u32) -> Self {
        let info = [value.to_ne_bytes(), mask.to_ne_bytes()].concat();
        expr::xt_target(&mut self.expressions, "MARK", 2, &info);
        self
    }

    /// `-j DNAT --to-destination`: `struct nf_nat_range2` (`linux/netfilter/nf_nat.h`) with one address and one port.
    pub(crate) fn xt_dnat(mut self, to: SocketAddr) -> Self {
        // `NF_NAT_RANGE_MAP_IPS` and `NF_NAT_RANGE_PROTO_SPECIFIED`.
        const FLAGS: u32 = 1 | 1 << 1;
        let address = padded(&[&octets(to.ip())], 16);
        let port = to.port().to_be_bytes();
        let info = padded(
            &[&FLAGS.to_ne_bytes(), &address, &address, &port, &port],
            48,
        );
        expr::xt_target(&mut self.expressions, "DNAT", 2, &info);
        self
    }

    /// `-j MASQUERADE`: `struct nf_nat_ipv4_multi_range_compat` with one range that is empty, or `struct nf_nat_range`
    /// (`linux/netfilter/nf_nat.h`).
    pub(crate) fn xt_masquerade(mut self, is_ipv4: bool) -> Self {
        let info = match is_ipv4 {
            true => [1_u32.to_ne_bytes().as_slice(), &[0; 20]].concat(),
            false => vec![0; 40],
        };
        expr::xt_target(&mut self.expressions, "MASQUERADE", 0, &info);
        self
    }

    /// `-m conntrack --ctstate RELATED,ESTABLISHED` as iptables-nft writes it: the
    /// `xt` match with `struct xt_conntrack_mtinfo3` (`linux/netfilter/xt_conntrack.h`).
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

/// Joins the fields of a structure and adds zeros up to its size.
fn padded(fields: &[&[u8]], size: usize) -> Vec<u8> {
    let mut info = fields.concat();
    info.resize(size, 0);
    info
}
