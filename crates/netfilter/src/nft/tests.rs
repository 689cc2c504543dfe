//! Reading whatever bytes, and telling who is to blame, without a kernel.

use proptest::prelude::*;
use rtnl::netlink::{Attributes, Builder, Messages};

use super::constants::*;
use super::element::decode_elements;
use super::message::describe;
use super::*;
use crate::nfnetlink::header;

const TABLE: Table<'_> = Table::new(Family::Inet, "t");
const CHAIN: Chain<'_> = TABLE.chain("c");

#[test]
fn a_batch_lies_between_its_marks() {
    let mut batch = Batch::new();
    assert!(batch.is_empty());
    batch.add_table(&TABLE).add_chain(&CHAIN);
    batch.add_rule(&CHAIN.rule().accept());
    assert_eq!(batch.len(), 3);
    let datagram = batch.encode(10, Some(7), true);
    let messages: Vec<_> = Messages::new(&datagram).collect();
    let kinds: Vec<u16> = messages.iter().map(|m| m.kind).collect();
    assert_eq!(
        kinds,
        [16, NFT_MSG_NEWTABLE, NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, 17]
    );
    let numbers: Vec<u32> = messages.iter().map(|m| m.sequence).collect();
    assert_eq!(numbers, [10, 11, 12, 13, 14]);
    // Only the last change is acknowledged.
    let acks: Vec<bool> = messages.iter().map(|m| m.flags & 4 != 0).collect();
    assert_eq!(acks, [false, false, false, true, false]);
    let generation = Attributes::after(messages[0].body, 4).next().unwrap();
    assert_eq!((generation.kind, generation.u32_be()), (1, Some(7)));
    let checked = batch.encode(10, None, false);
    assert_eq!(Messages::new(&checked).count(), 4);
}

#[test]
fn changes_are_described() {
    let mut batch = Batch::new();
    let set = TABLE.set("s", &[Type::Port]);
    batch
        .add_table(&TABLE)
        .delete_chain(&CHAIN)
        .add_rule(&CHAIN.rule().comment("why \"so\""))
        .delete_rule(&CHAIN, 9)
        .add_elements(&set, [Element::new(&[Value::Port(1)])]);
    let words: Vec<String> = (0..5)
        .map(|number| {
            let change = batch.change(number).unwrap();
            describe(change.kind, change.body)
        })
        .collect();
    assert_eq!(
        words,
        [
            "add table inet t",
            "delete chain inet t c",
            "add rule to chain inet t c comment \"why \\\"so\\\"\"",
            "delete rule of chain inet t c handle 9",
            "add elements to set inet t s",
        ]
    );
}

#[test]
fn elements_are_spread_over_messages() {
    let set = TABLE.set("s", &[Type::Port]);
    let mut batch = Batch::new();
    batch.add_elements(
        &set,
        (0..5000).map(|port| Element::new(&[Value::Port(port)])),
    );
    assert!(batch.len() > 1 && batch.problem().is_none());
    let count: usize = (0..batch.len())
        .map(|number| {
            let change = batch.change(u32::try_from(number).unwrap()).unwrap();
            decode_elements(change.body).len()
        })
        .sum();
    assert_eq!(count, 5000);
}

/// A rule as the kernel would send it.
fn rule_message(rule: &Rule<'_>) -> Vec<u8> {
    let mut body = Builder::with_raw_header(&header(1, 0));
    body.text(NFTA_RULE_TABLE, "t");
    body.text(NFTA_RULE_CHAIN, "c");
    body.u64_be(NFTA_RULE_HANDLE, 5);
    body.nested(NFTA_RULE_EXPRESSIONS, |list| list.append(&rule.expressions));
    body.raw(NFTA_RULE_USERDATA, &rule.userdata);
    body.finish().unwrap()
}

fn some_rule() -> Rule<'static> {
    CHAIN
        .rule()
        .saddr("10.0.0.0".parse::<std::net::IpAddr>().unwrap())
        .counter()
        .masquerade(NatFlags::FULLY_RANDOM)
        .comment("x")
}

#[test]
fn a_rule_is_compared_with_what_was_read() {
    let rule = some_rule();
    let read = RuleInfo::decode(&rule_message(&rule)).unwrap();
    assert_eq!((read.handle, read.chain.as_str()), (5, "c"));
    assert_eq!(read.comment.as_deref(), Some("x"));
    assert!(read.same_as(&rule));
    assert!(!read.same_as(&rule.clone().accept()));
    assert!(!read.same_as(&CHAIN.rule().counter()));
    assert!(!read.same_as(&CHAIN.rule()));
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = ChainInfo::decode(&bytes);
        let _ = decode_elements(&bytes);
        let _ = describe(NFT_MSG_NEWRULE, &bytes);
        if let Some(rule) = RuleInfo::decode(&bytes) {
            let _ = rule.same_as(&some_rule());
        }
    }

    /// A proper rule, then damaged in a few places.
    #[test]
    fn damaged_rules_are_read(damage in prop::collection::vec((any::<usize>(), any::<u8>()), 1..8)) {
        let mut bytes = rule_message(&some_rule());
        for (at, byte) in damage {
            let place = at % bytes.len();
            bytes[place] = byte;
        }
        if let Some(rule) = RuleInfo::decode(&bytes) {
            let _ = rule.same_as(&some_rule());
        }
        let _ = describe(NFT_MSG_NEWRULE, &bytes);
    }

    #[test]
    fn masks_have_as_many_bits(bits in any::<u128>(), len in 0u8..=128) {
        let address = std::net::IpAddr::V6(bits.into());
        let network = Prefix::new(address, len);
        prop_assert_eq!(network.mask().iter().map(|b| b.count_ones()).sum::<u32>(), u32::from(len));
        prop_assert!(network.address() <= address);
    }
}
