//! What requests look like to netlink-packet-route, as far as it knows the kinds;
//! and reading of what is cut short.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAction, TcActionAttribute, TcActionMirrorOption, TcActionOption, TcActionType, TcAttribute,
    TcFilterU32Option, TcMessage, TcMirrorActionType, TcOption,
};
use proptest::prelude::*;

use super::*;
use crate::request::Request;
use crate::wire::message;

fn decode(request: &Request<'_>) -> (u16, RouteNetlinkMessage) {
    let mut datagram = Vec::new();
    request.encode(42, &mut datagram);
    let packet =
        netlink_packet_core::NetlinkMessage::<RouteNetlinkMessage>::deserialize(&datagram).unwrap();
    let netlink_packet_core::NetlinkPayload::InnerMessage(message) = packet.payload else {
        panic!("no message");
    };
    (packet.header.flags, message)
}

fn header(message: &TcMessage) -> (i32, u32, u32, u32) {
    let handle =
        |h: netlink_packet_route::tc::TcHandle| u32::from(h.major) << 16 | u32::from(h.minor);
    let header = &message.header;
    (
        header.index,
        handle(header.handle),
        handle(header.parent),
        header.info,
    )
}

/// The body behind the netlink header.
fn bytes(request: &Request<'_>) -> Vec<u8> {
    let mut datagram = Vec::new();
    request.encode(42, &mut datagram);
    datagram.split_off(message::HEADER_LEN)
}

#[test]
fn a_filter_with_a_redirection() {
    let filter = U32Filter {
        parent: TcHandle::INGRESS_QDISC,
        protocol: 3,
        priority: 1,
        class: TcHandle::new(1, 1),
        redirect: Some(9),
        ..U32Filter::default()
    };
    let (flags, message) = decode(&Request::add_u32_filter(7, &filter));
    assert_eq!(flags, 0x605);
    let RouteNetlinkMessage::NewTrafficFilter(message) = message else {
        panic!("no filter");
    };
    // Priority 1, and all protocols in network byte order.
    assert_eq!(header(&message), (7, 0, 0xffff_0000, 0x1_0300));
    let [TcAttribute::Kind(kind), TcAttribute::Options(options)] = &message.attributes[..] else {
        panic!("{message:?}");
    };
    assert_eq!(kind, "u32");
    let [
        TcOption::U32(TcFilterU32Option::ClassId(class)),
        TcOption::U32(TcFilterU32Option::Selector(selector)),
        TcOption::U32(TcFilterU32Option::Action(actions)),
    ] = &options[..]
    else {
        panic!("{options:?}");
    };
    assert_eq!((class.major, class.minor), (1, 1));
    assert_eq!((selector.nkeys, selector.keys.len()), (1, 1));
    let [
        TcAction {
            tab: 1, attributes, ..
        },
    ] = &actions[..]
    else {
        panic!("{actions:?}");
    };
    let [
        TcActionAttribute::Kind(kind),
        TcActionAttribute::Options(options),
    ] = &attributes[..]
    else {
        panic!("{attributes:?}");
    };
    assert_eq!(kind, "mirred");
    let [TcActionOption::Mirror(TcActionMirrorOption::Parms(mirror))] = &options[..] else {
        panic!("{options:?}");
    };
    assert_eq!(mirror.eaction, TcMirrorActionType::EgressRedir);
    assert_eq!(mirror.ifindex, 9);
    assert_eq!(mirror.generic.action, TcActionType::Stolen);
}

#[test]
fn qdiscs() {
    let ingress = QdiscSpec {
        handle: TcHandle::INGRESS_QDISC,
        parent: TcHandle::INGRESS,
        kind: QdiscKind::Ingress,
    };
    let (flags, message) = decode(&Request::add_qdisc(7, &ingress));
    assert_eq!(flags, 0x605);
    let RouteNetlinkMessage::NewQueueDiscipline(message) = message else {
        panic!("no qdisc");
    };
    assert_eq!(header(&message), (7, 0xffff_0000, 0xffff_fff1, 0));
    assert_eq!(message.attributes, [TcAttribute::Kind("ingress".into())]);
    let (flags, message) = decode(&Request::del_qdisc(7, TcHandle::new(1, 0), TcHandle::ROOT));
    assert_eq!(flags, 5);
    let RouteNetlinkMessage::DelQueueDiscipline(message) = message else {
        panic!("no deletion");
    };
    assert_eq!(header(&message), (7, 0x1_0000, 0xffff_ffff, 0));
}

/// Byte for byte what the reference plugin sends for 1 Mbit/s and a burst of 8 Mbit.
#[test]
fn a_token_bucket() {
    let spec = QdiscSpec {
        handle: TcHandle::new(1, 0),
        parent: TcHandle::ROOT,
        kind: QdiscKind::Tbf(Tbf {
            rate: 125_000,
            limit: 1_003_125,
            buffer: 125_000_000,
        }),
    };
    let body = bytes(&Request::add_qdisc(7, &spec));
    let options = &body[TCMSG_LEN + 8 + 4..];
    let mut expected = vec![0x28, 0, 1, 0];
    expected.extend([[0; 8].as_slice(), &[0x48, 0xe8, 1, 0], &[0; 12]].concat());
    expected.extend([[0x75, 0x4e, 0x0f, 0], [0x40, 0x59, 0x73, 7], [0; 4]].concat());
    assert_eq!(options, expected);
}

/// Requests have the form of what the kernel tells, so they can be read back.
fn qdisc_again(kind: QdiscKind) -> QdiscInfo {
    let spec = QdiscSpec {
        handle: TcHandle::new(1, 0),
        parent: TcHandle::ROOT,
        kind,
    };
    let qdisc = Qdisc::decode(&bytes(&Request::add_qdisc(7, &spec))).unwrap();
    assert_eq!((qdisc.index, qdisc.handle), (7, spec.handle));
    assert_eq!(
        (qdisc.parent, qdisc.kind.as_str()),
        (spec.parent, kind.name())
    );
    qdisc.info
}

fn keys() -> impl Strategy<Value = Vec<U32Key>> {
    let key = (any::<u32>(), any::<u32>(), -64..64i32);
    let key = key.prop_map(|(mask, value, offset)| U32Key {
        mask,
        value,
        offset,
    });
    prop::collection::vec(key, 1..5)
}

proptest! {
    #[test]
    fn token_buckets_of_all_sizes(rate: u64, limit: u32, buffer: u32) {
        let tbf = Tbf { rate, limit, buffer };
        prop_assert_eq!(qdisc_again(QdiscKind::Tbf(tbf)), QdiscInfo::Tbf(tbf));
    }

    #[test]
    fn trees_and_classes(default_class: u32, rate2quantum: u32, rate: u64, ceil: u64, buffer: u32) {
        let htb = Htb { default_class, rate2quantum };
        prop_assert_eq!(qdisc_again(QdiscKind::Htb(htb)), QdiscInfo::Htb(htb));
        let class = HtbClass { rate, ceil, buffer, cbuffer: !buffer, quantum: 5 };
        let (handle, parent) = (TcHandle::new(1, 48), TcHandle::new(1, 0));
        let request = Request::add_htb_class(7, handle, parent, &class);
        let expected = Class { index: 7, handle, parent, htb: Some(class) };
        prop_assert_eq!(Class::decode(&bytes(&request)), Some(expected));
    }

    #[test]
    fn filters(protocol: u16, priority: u16, keys in keys(), class: u32, redirect: Option<u32>) {
        let parent = TcHandle::new(1, 0);
        let filter = U32Filter { parent, protocol, priority, keys, class: TcHandle(class), redirect };
        let read = Filter::decode(&bytes(&Request::add_u32_filter(7, &filter)));
        prop_assert_eq!(read, Some(Filter { kind: "u32".into(), filter }));
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..400usize) {
        Qdisc::decode(&bytes);
        Class::decode(&bytes);
        Filter::decode(&bytes);
        let filter = U32Filter { redirect: Some(3), ..U32Filter::default() };
        let mut whole = self::bytes(&Request::add_u32_filter(7, &filter));
        whole.truncate(cut);
        Filter::decode(&whole);
    }
}

#[test]
fn handles_as_tc_writes_them() {
    let text = |handle: TcHandle| handle.to_string();
    assert_eq!(text(TcHandle::ROOT), "root");
    assert_eq!(text(TcHandle::INGRESS), "ffff:fff1");
    assert_eq!(text(TcHandle::new(1, 48)), "1:30");
    assert_eq!(text(TcHandle::new(1, 0)), "1:");
}
