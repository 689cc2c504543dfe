//! Expressions, the instructions that rules consist of, one function each. The kernel
//! executes a rule expression by expression: loads write a register, and a comparison
//! that is false ends the rule.

use rtnl::netlink::Builder;

use super::constants::*;

/// Appends an expression to a rule's list.
fn expression(list: &mut Builder, name: &str, data: impl FnOnce(&mut Builder)) {
    list.nested(NFTA_LIST_ELEM, |element| {
        element.text(NFTA_EXPR_NAME, name);
        element.nested(NFTA_EXPR_DATA, data);
    });
}

pub(crate) fn meta(list: &mut Builder, key: u32, register: u32) {
    expression(list, "meta", |data| {
        data.u32_be(NFTA_META_DREG, register);
        data.u32_be(NFTA_META_KEY, key);
    });
}

pub(crate) fn payload(list: &mut Builder, base: u32, offset: u32, len: u32, register: u32) {
    expression(list, "payload", |data| {
        data.u32_be(NFTA_PAYLOAD_DREG, register);
        data.u32_be(NFTA_PAYLOAD_BASE, base);
        data.u32_be(NFTA_PAYLOAD_OFFSET, offset);
        data.u32_be(NFTA_PAYLOAD_LEN, len);
    });
}

pub(crate) fn ct(list: &mut Builder, key: u32, register: u32) {
    expression(list, "ct", |data| {
        data.u32_be(NFTA_CT_DREG, register);
        data.u32_be(NFTA_CT_KEY, key);
    });
}

/// Loads the type of the route to the destination address (`RTN_*`).
pub(crate) fn fib_daddr_type(list: &mut Builder, register: u32) {
    expression(list, "fib", |data| {
        data.u32_be(NFTA_FIB_DREG, register);
        data.u32_be(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
        data.u32_be(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
    });
}

pub(crate) fn cmp(list: &mut Builder, register: u32, operation: u32, value: &[u8]) {
    expression(list, "cmp", |data| {
        data.u32_be(NFTA_CMP_SREG, register);
        data.u32_be(NFTA_CMP_OP, operation);
        data.nested(NFTA_CMP_DATA, |inner| inner.raw(NFTA_DATA_VALUE, value));
    });
}

/// Masks a register with `mask`.
pub(crate) fn mask(list: &mut Builder, register: u32, mask: &[u8]) {
    expression(list, "bitwise", |data| {
        data.u32_be(NFTA_BITWISE_SREG, register);
        data.u32_be(NFTA_BITWISE_DREG, register);
        // At most as long as an IPv6 address.
        data.u32_be(NFTA_BITWISE_LEN, u32::try_from(mask.len()).unwrap_or(0));
        data.nested(NFTA_BITWISE_MASK, |inner| inner.raw(NFTA_DATA_VALUE, mask));
        let zeros = vec![0; mask.len()];
        data.nested(NFTA_BITWISE_XOR, |inner| {
            inner.raw(NFTA_DATA_VALUE, &zeros);
        });
    });
}

pub(crate) fn immediate(list: &mut Builder, register: u32, value: &[u8]) {
    expression(list, "immediate", |data| {
        data.u32_be(NFTA_IMMEDIATE_DREG, register);
        data.nested(NFTA_IMMEDIATE_DATA, |inner| {
            inner.raw(NFTA_DATA_VALUE, value);
        });
    });
}

/// A match of iptables (xtables) with its revision and binary parameters.
pub(crate) fn xt_match(list: &mut Builder, name: &str, revision: u32, info: &[u8]) {
    expression(list, "match", |data| {
        data.text(NFTA_MATCH_NAME, name);
        data.u32_be(NFTA_MATCH_REV, revision);
        data.raw(NFTA_MATCH_INFO, info);
    });
}

/// A target of iptables, likewise.
pub(crate) fn xt_target(list: &mut Builder, name: &str, revision: u32, info: &[u8]) {
    expression(list, "target", |data| {
        data.text(NFTA_TARGET_NAME, name);
        data.u32_be(NFTA_TARGET_REV, revision);
        data.raw(NFTA_TARGET_INFO, info);
    });
}

/// A verdict. `code` is `NF_*` or `NFT_*`; `chain` is the target of a jump or goto.
pub(crate) fn verdict(list: &mut Builder, code: i32, chain: Option<&str>) {
    expression(list, "immediate", |data| {
        data.u32_be(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
        data.nested(NFTA_IMMEDIATE_DATA, |inner| {
            verdict_data(inner, code, chain);
        });
    });
}

/// The data of a verdict, in a rule or in a verdict map's element.
pub(crate) fn verdict_data(data: &mut Builder, code: i32, chain: Option<&str>) {
    data.nested(NFTA_DATA_VERDICT, |inner| {
        inner.u32_be(NFTA_VERDICT_CODE, code.cast_unsigned());
        if let Some(chain) = chain {
            inner.text(NFTA_VERDICT_CHAIN, chain);
        }
    });
}

/// Looks a key up in a set. `to` is the register for the data of a map; for a verdict
/// map the verdict register.
pub(crate) fn lookup(list: &mut Builder, set: &str, from: u32, to: Option<u32>) {
    expression(list, "lookup", |data| {
        data.text(NFTA_LOOKUP_SET, set);
        data.u32_be(NFTA_LOOKUP_SREG, from);
        if let Some(to) = to {
            data.u32_be(NFTA_LOOKUP_DREG, to);
        }
    });
}

pub(crate) fn counter(list: &mut Builder) {
    expression(list, "counter", |data| {
        data.u64_be(NFTA_COUNTER_BYTES, 0);
        data.u64_be(NFTA_COUNTER_PACKETS, 0);
    });
}

/// NAT. `kind` is `NFT_NAT_*`; `address` and `port` are registers; `family` is the
/// address's `NFPROTO_*`.
pub(crate) fn nat(
    list: &mut Builder,
    kind: u32,
    family: u8,
    address: u32,
    port: Option<u32>,
    flags: u32,
) {
    expression(list, "nat", |data| {
        data.u32_be(NFTA_NAT_TYPE, kind);
        data.u32_be(NFTA_NAT_FAMILY, u32::from(family));
        data.u32_be(NFTA_NAT_REG_ADDR_MIN, address);
        if let Some(port) = port {
            data.u32_be(NFTA_NAT_REG_PROTO_MIN, port);
        }
        if flags != 0 {
            data.u32_be(NFTA_NAT_FLAGS, flags);
        }
    });
}

pub(crate) fn masquerade(list: &mut Builder, flags: u32) {
    expression(list, "masq", |data| {
        if flags != 0 {
            data.u32_be(NFTA_MASQ_FLAGS, flags);
        }
    });
}
