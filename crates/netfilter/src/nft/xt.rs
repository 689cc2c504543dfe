//! Matches and targets as iptables-nft writes them, so that it prints them as rules of iptables.
//!
//! Where its versions write different expressions, these are the ones that all versions since 1.8.0 read: addresses as
//! a whole with a mask, and matches and targets of xtables with their binary parameters.

use super::constants::*;
use super::expression as expr;
use super::field::{Field, Source};
use super::rule::Rule;
use super::value::Prefix;

/// `XT_MAX_COMMENT_LEN` (`linux/netfilter/xt_comment.h`).
const COMMENT_SIZE: usize = 256;

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
