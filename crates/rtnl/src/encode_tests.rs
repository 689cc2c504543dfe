//! What requests look like to netlink-packet-route, whose typed decoders know
//! nothing of how they were written.

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_core::{DefaultNla, NLM_F_ACK, NLM_F_REQUEST};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::*;
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage};
use netlink_packet_route::route::*;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::{
    AddressSpec, Bridge, BridgeVlan, Exclusivity, Ipvlan, IpvlanFlag, IpvlanMode, LinkChange,
    LinkKind, LinkSpec, Macvlan, MacvlanMode as OurMacvlanMode, PeerSpec, PortChange, Request,
    RouteSpec, Scope, Veth, Vlan, VlanProtocol as OurVlanProtocol, Vrf,
};

type Packet = netlink_packet_core::NetlinkMessage<RouteNetlinkMessage>;

fn decode(request: &Request<'_>) -> (u16, RouteNetlinkMessage) {
    let mut datagram = Vec::new();
    request.encode(42, &mut datagram);
    let packet = Packet::deserialize(&datagram).unwrap();
    assert_eq!(packet.header.sequence_number, 42);
    let base = NLM_F_REQUEST | NLM_F_ACK;
    assert_eq!(packet.header.flags & base, base);
    let netlink_packet_core::NetlinkPayload::InnerMessage(message) = packet.payload else {
        panic!("no message");
    };
    (packet.header.flags & !base, message)
}

fn new_link(spec: &LinkSpec<'_>) -> LinkMessage {
    // CREATE, EXCL, and ECHO unless it is born elsewhere.
    let expected = if spec.netns.is_none() { 0x608 } else { 0x600 };
    match decode(&Request::new_link(spec)) {
        (flags, RouteNetlinkMessage::NewLink(message)) if flags == expected => message,
        (flags, _) => panic!("flags {flags:x}"),
    }
}

fn info(kind: LinkKind<'_>) -> (InfoKind, Option<InfoData>) {
    let message = new_link(&LinkSpec::new("x", kind));
    let infos = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(infos) => Some(infos.clone()),
            _ => None,
        });
    let mut kind = None;
    let mut data = None;
    for info in infos.unwrap() {
        match info {
            LinkInfo::Kind(value) => kind = Some(value),
            LinkInfo::Data(value) => data = Some(value),
            _ => panic!("unexpected"),
        }
    }
    (kind.unwrap(), data)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn kinds_of_links() {
    assert_eq!(info(LinkKind::Dummy), (InfoKind::Dummy, None));
    assert_eq!(info(LinkKind::Ifb), (InfoKind::Ifb, None));
    assert_eq!(
        info(LinkKind::Bridge(Bridge {
            vlan_filtering: Some(true),
            vlan_default_pvid: Some(0),
            ageing_time: Some(5),
        })),
        (
            InfoKind::Bridge,
            Some(InfoData::Bridge(vec![
                InfoBridge::VlanFiltering(true),
                InfoBridge::VlanDefaultPvid(0),
                InfoBridge::AgeingTime(5),
            ]))
        )
    );
    assert_eq!(
        info(LinkKind::Macvlan(Macvlan {
            mode: Some(OurMacvlanMode::Passthru),
            flags: Some(1),
            bc_queue_len: Some(2000),
        })),
        (
            InfoKind::MacVlan,
            Some(InfoData::MacVlan(vec![
                InfoMacVlan::Mode(MacVlanMode::Passthrough),
                InfoMacVlan::Flags(MacVlanFlags::NoPromisc),
                InfoMacVlan::BcQueueLen(2000),
            ]))
        )
    );
    assert_eq!(
        info(LinkKind::Ipvlan(Ipvlan {
            mode: Some(IpvlanMode::L3s),
            flag: Some(IpvlanFlag::Vepa),
        })),
        (
            InfoKind::IpVlan,
            Some(InfoData::IpVlan(vec![
                InfoIpVlan::Mode(IpVlanMode::L3S),
                InfoIpVlan::Flags(IpVlanFlags::Vepa),
            ]))
        )
    );
    assert_eq!(
        info(LinkKind::Vlan(Vlan {
            id: 4094,
            protocol: Some(OurVlanProtocol::Dot1Ad),
        })),
        (
            InfoKind::Vlan,
            Some(InfoData::Vlan(vec![
                InfoVlan::Id(4094),
                InfoVlan::Protocol(VlanProtocol::Ieee8021Ad),
            ]))
        )
    );
    assert_eq!(
        info(LinkKind::Vrf(Vrf { table: 70_000 })),
        (
            InfoKind::Vrf,
            Some(InfoData::Vrf(vec![InfoVrf::TableId(70_000)]))
        )
    );
}

#[test]
fn both_ends_of_a_veth_pair() {
    let file = std::fs::File::open("/proc/self/ns/net").unwrap();
    let fd = file.as_raw_fd();
    let message = new_link(&LinkSpec {
        mtu: Some(1400),
        master: Some(9),
        up: true,
        txqlen: Some(0),
        ..LinkSpec::new(
            "near",
            LinkKind::Veth(Veth {
                peer: PeerSpec {
                    name: "far".into(),
                    netns: Some(file.as_fd()),
                    mac: Some(vec![2, 0, 0, 0, 0, 1]),
                    num_rx_queues: Some(3),
                    ..PeerSpec::default()
                },
            }),
        )
    });
    assert_eq!(message.header.flags, LinkFlags::Up);
    assert_eq!(message.header.change_mask, LinkFlags::Up);
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName("far".into()),
        LinkAttribute::NetNsFd(fd),
        LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
        LinkAttribute::NumRxQueues(3),
    ];
    assert_eq!(
        message.attributes,
        [
            LinkAttribute::IfName("near".into()),
            LinkAttribute::Mtu(1400),
            LinkAttribute::TxQueueLen(0),
            LinkAttribute::Controller(9),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ]
    );
}

#[test]
fn changes_of_a_link() {
    let change = LinkChange {
        up: Some(false),
        promisc: Some(true),
        master: Some(0),
        ..LinkChange::default()
    };
    let (flags, message) = decode(&Request::set_link(3, &change));
    let RouteNetlinkMessage::SetLink(message) = message else {
        panic!()
    };
    assert_eq!(flags, 0);
    assert_eq!(message.header.index, 3);
    assert_eq!(message.header.flags, LinkFlags::Promisc);
    assert_eq!(
        message.header.change_mask,
        LinkFlags::Up | LinkFlags::Promisc
    );
    assert_eq!(message.attributes, [LinkAttribute::Controller(0)]);
    let (_, message) = decode(&Request::set_link(3, &LinkChange::default()));
    let RouteNetlinkMessage::SetLink(message) = message else {
        panic!()
    };
    assert_eq!(message.header.change_mask, LinkFlags::empty());
    assert_eq!(message.attributes, []);
}

#[test]
fn bridge_ports() {
    let change = PortChange {
        hairpin: Some(true),
        isolated: Some(false),
    };
    let (_, message) = decode(&Request::set_bridge_port(3, &change));
    let RouteNetlinkMessage::SetLink(message) = message else {
        panic!()
    };
    assert_eq!(message.header.interface_family, AddressFamily::Bridge);
    let option = |kind, value| LinkProtoInfoBridge::Other(DefaultNla::new(kind, vec![value]));
    assert_eq!(message.header.index, 3);
    assert_eq!(
        message.attributes,
        [LinkAttribute::ProtoInfoBridge(vec![
            option(4, 1),
            option(33, 0),
        ])]
    );

    let vlans = [
        BridgeVlan::native(5),
        BridgeVlan::tagged(7),
        BridgeVlan::range(10, 20),
    ];
    let (_, message) = decode(&Request::del_bridge_vlans(3, &vlans));
    let RouteNetlinkMessage::DelLink(message) = message else {
        panic!()
    };
    let vlan = |vid, flags| AfSpecBridge::VlanInfo(BridgeVlanInfo { vid, flags });
    use BridgeVlanInfoFlags as Flags;
    assert_eq!(
        message.attributes,
        [LinkAttribute::AfSpecBridge(vec![
            AfSpecBridge::Flags(BridgeFlag::Controller),
            vlan(5, Flags::Pvid | Flags::Untagged),
            vlan(7, Flags::empty()),
            vlan(10, Flags::RangeBegin),
            vlan(20, Flags::RangeEnd),
        ])]
    );
}

#[test]
fn addresses() {
    let spec = AddressSpec {
        nodad: true,
        ..AddressSpec::new(ip("10.1.2.3"), 20)
    };
    let (flags, message) = decode(&Request::add_address(4, &spec));
    let RouteNetlinkMessage::NewAddress(message) = message else {
        panic!()
    };
    assert_eq!(flags, 0x600);
    let mut expected = AddressMessage::default();
    expected.header.family = AddressFamily::Inet;
    expected.header.prefix_len = 20;
    expected.header.index = 4;
    expected.attributes = vec![
        AddressAttribute::Local(ip("10.1.2.3")),
        AddressAttribute::Address(ip("10.1.2.3")),
        AddressAttribute::Broadcast("10.1.15.255".parse().unwrap()),
        AddressAttribute::Flags(AddressFlags::Nodad),
    ];
    assert_eq!(message, expected);
}

#[test]
fn every_prefix_has_its_broadcast_address() {
    for prefix in 0..=255 {
        let spec = AddressSpec::new(ip("10.1.2.3"), prefix);
        let (_, message) = decode(&Request::add_address(4, &spec));
        let RouteNetlinkMessage::NewAddress(message) = message else {
            panic!()
        };
        let broadcast = message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                AddressAttribute::Broadcast(address) => Some(address.to_string()),
                _ => None,
            });
        let expected = match prefix {
            0 => Some("255.255.255.255"),
            8 => Some("10.255.255.255"),
            30 => Some("10.1.2.3"),
            31.. => None,
            _ => continue,
        };
        assert_eq!(broadcast.as_deref(), expected, "{prefix}");
    }
}

#[test]
fn routes() {
    let spec = RouteSpec {
        gateway: Some(ip("2001:db8::1")),
        oif: Some(4),
        table: 1000,
        scope: Some(Scope::LINK),
        priority: Some(5),
        mtu: Some(1300),
        advmss: Some(1200),
        onlink: true,
        ..RouteSpec::new(ip("2001:db8:1::"), 48)
    };
    let (flags, message) = decode(&Request::add_route(&spec, Exclusivity::Shared));
    let RouteNetlinkMessage::NewRoute(message) = message else {
        panic!()
    };
    assert_eq!(flags, 0x400);
    let mut expected = RouteMessage::default();
    expected.header.address_family = AddressFamily::Inet6;
    expected.header.destination_prefix_length = 48;
    expected.header.protocol = RouteProtocol::Boot;
    expected.header.scope = RouteScope::Link;
    expected.header.kind = RouteType::Unicast;
    expected.header.flags = RouteFlags::Onlink;
    let v6 = |text: &str| RouteAddress::Inet6(text.parse().unwrap());
    expected.attributes = vec![
        RouteAttribute::Destination(v6("2001:db8:1::")),
        RouteAttribute::Table(1000),
        RouteAttribute::Gateway(v6("2001:db8::1")),
        RouteAttribute::Oif(4),
        RouteAttribute::Priority(5),
        RouteAttribute::Metrics(vec![RouteMetric::Mtu(1300), RouteMetric::Advmss(1200)]),
    ];
    assert_eq!(message, expected);

    let (flags, message) = decode(&Request::del_route(&RouteSpec::new(ip("0.0.0.0"), 0)));
    let RouteNetlinkMessage::DelRoute(message) = message else {
        panic!()
    };
    assert_eq!(flags, 0);
    assert_eq!(message.header.scope, RouteScope::NoWhere);
    assert_eq!(message.header.protocol, RouteProtocol::Unspec);
    assert_eq!(message.header.table, RouteHeader::RT_TABLE_MAIN);
    assert_eq!(message.attributes, []);
}

#[test]
fn neighbours() {
    let (flags, message) = decode(&Request::set_neighbour(4, ip("10.0.0.1"), &[2; 6]));
    let RouteNetlinkMessage::NewNeighbour(message) = message else {
        panic!()
    };
    assert_eq!(flags, 0x500);
    let message: NeighbourMessage = message;
    assert_eq!(message.header.ifindex, 4);
    assert_eq!(
        message.attributes,
        [
            NeighbourAttribute::Destination(
                "10.0.0.1".parse::<std::net::Ipv4Addr>().unwrap().into()
            ),
            NeighbourAttribute::LinkLayerAddress(vec![2; 6]),
        ]
    );
}

#[test]
fn an_echo_is_requested_only_in_the_own_namespace() {
    let file = std::fs::File::open("/proc/self/ns/net").unwrap();
    let spec = LinkSpec {
        netns: Some(file.as_fd()),
        ..LinkSpec::new("x", LinkKind::Dummy)
    };
    new_link(&spec);
    new_link(&LinkSpec::new("x", LinkKind::Dummy));
}
