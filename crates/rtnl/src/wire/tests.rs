//! Whatever the bytes are, reading them neither panics nor runs on for ever;
//! what was written is read back, by us and by netlink-packet-route.

use proptest::prelude::*;

use super::attr::u32_at;
use super::*;
use crate::address::Address;
use crate::link::Link;
use crate::link::port_vlan::decode_vlans;
use crate::neighbour::Neighbour;
use crate::route::Route;

fn read_everything(bytes: &[u8]) {
    for message in Messages::new(bytes) {
        let _ = message.outcome();
        read_body(message.body);
    }
    read_body(bytes);
}

fn read_body(body: &[u8]) {
    let _ = Link::decode(body);
    let _ = Address::decode(body);
    let _ = Route::decode(body);
    let _ = Neighbour::decode(body);
    decode_vlans(body, u32_at(body, 4).unwrap_or(0), &mut Vec::new());
    for attribute in Attributes::new(body) {
        let _ = (attribute.u8(), attribute.u16(), attribute.u16_be());
        let _ = (attribute.u32(), attribute.i32(), attribute.ip());
        let _ = attribute.text();
    }
}

/// Attributes of numbers that mean something, nested up to three deep.
fn attributes() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop::collection::vec(any::<u8>(), 0..40);
    let level = |inner: BoxedStrategy<Vec<u8>>| {
        prop::collection::vec((0u16..64, inner), 0..6).prop_map(|list| {
            let mut builder = Builder::default();
            for (kind, value) in list {
                builder.raw(kind, &value);
            }
            builder.finish().unwrap()
        })
    };
    let inner = level(leaf.clone().boxed()).boxed();
    let middle = level(prop_oneof![leaf.clone().boxed(), inner].boxed()).boxed();
    level(prop_oneof![leaf.boxed(), middle].boxed())
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_everything(&bytes);
    }

    /// A proper message, then damaged in a few places.
    #[test]
    fn damaged_messages_are_read(
        kind in 0u16..40,
        flags: u16,
        header in prop::collection::vec(any::<u8>(), 0..17),
        attributes in attributes(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut body = header;
        body.extend_from_slice(&attributes);
        let mut datagram = Vec::new();
        message::write(&mut datagram, kind, flags, 7, &body);
        message::write(&mut datagram, kind, flags, 8, &body);
        prop_assert_eq!(Messages::new(&datagram).count(), 2);
        read_everything(&datagram);
        for (place, value) in damage {
            let place = place.index(datagram.len());
            datagram[place] = value;
        }
        read_everything(&datagram);
    }

    #[test]
    fn links_with_arbitrary_attributes_are_read(
        header in prop::collection::vec(any::<u8>(), 15),
        attributes in attributes(),
    ) {
        let mut body = vec![AF_UNSPEC];
        body.extend_from_slice(&header);
        body.extend_from_slice(&attributes);
        prop_assert!(Link::decode(&body).is_some());
        read_everything(&body);
    }

    #[test]
    fn attributes_are_read_as_written(
        list in prop::collection::vec((0u16..0x4000, prop::collection::vec(any::<u8>(), 0..50)), 0..10)
    ) {
        let mut builder = Builder::default();
        for (kind, value) in &list {
            builder.raw(*kind, value);
        }
        let bytes = builder.finish().unwrap();
        let read: Vec<(u16, Vec<u8>)> = Attributes::new(&bytes)
            .map(|attribute| (attribute.kind, attribute.value.to_vec()))
            .collect();
        prop_assert_eq!(read, list);
    }
}

#[test]
fn acknowledgements_with_and_without_the_request_are_read() {
    let mut text = Builder::default();
    text.u32(2, 40);
    text.text(NLMSGERR_ATTR_MSG, "the reason");
    let attributes = text.finish().unwrap();
    for capped in [true, false] {
        let mut body = (-22i32).to_ne_bytes().to_vec();
        let request_len = if capped { 999 } else { 24 };
        message::write(&mut body, RTM_NEWLINK, 0, 5, &[0; 8]);
        body[4..8].copy_from_slice(&u32::to_ne_bytes(request_len));
        if capped {
            body.truncate(20);
        }
        body.extend_from_slice(&attributes);
        let mut flags = NLM_F_ACK_TLVS;
        if capped {
            flags |= NLM_F_CAPPED;
        }
        let message = Message {
            kind: NLMSG_ERROR,
            flags,
            sequence: 5,
            body: &body,
        };
        let outcome = message.outcome().unwrap();
        assert_eq!((outcome.errno, outcome.text.as_str()), (22, "the reason"));
    }
}

#[test]
fn oversized_attributes_are_refused() {
    let mut builder = Builder::default();
    builder.raw(1, &vec![0; 65_532]);
    assert_eq!(builder.finish(), Err("attribute too long"));
    let mut builder = Builder::default();
    builder.nested(1, |inner| inner.text(1, "a\0b"));
    assert_eq!(builder.finish(), Err("zero byte in a string"));
}
