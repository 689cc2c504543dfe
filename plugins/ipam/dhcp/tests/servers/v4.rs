//! DHCPv4: the whole life of a lease with each server.

use std::net::{Ipv4Addr, SocketAddr};

use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode, OptionCode};
use serde_json::json;
use testkit::dhcp::{self, Datagram, Pool, Program, Server};
use testkit::{Container, Node as _};

use crate::common::{Rig, Wire};

fn pool() -> Pool {
    let mut pool = Pool::short("10.9.0.10", "10.9.0.30");
    pool.router = Some("10.9.0.254".into());
    pool
}

fn is(message: &Message, kind: MessageType) -> bool {
    message.opts().msg_type() == Some(kind)
}

fn server_of(message: &Message) -> Option<Ipv4Addr> {
    match message.opts().get(OptionCode::ServerIdentifier) {
        Some(DhcpOption::ServerIdentifier(address)) => Some(*address),
        _ => None,
    }
}

fn endpoint(text: &str) -> SocketAddr {
    text.parse().expect("an address and a port")
}

fn mac(node: &Container) -> [u8; 6] {
    let text = node.link_attribute("eth0", "/address");
    let text = text.as_str().expect("an address").to_owned();
    let mut octets = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal"));
    std::array::from_fn(|_| octets.next().expect("six octets"))
}

/// The address that ADD returned, after it has been added to the interface.
#[track_caller]
fn add(rig: &Rig) -> Ipv4Addr {
    let result = rig.add(&json!({}));
    let address = result["ips"][0]["address"].as_str().expect("an address");
    let address = address.strip_suffix("/24").expect("the server's mask");
    address.parse().expect("an IPv4 address")
}

/// What is true of every message of the client.
fn check_common(rig: &Rig, datagram: &Datagram, message: &Message) {
    let mac = mac(&rig.client);
    assert_eq!(datagram.from_mac, mac);
    assert_eq!(message.opcode(), Opcode::BootRequest);
    assert_eq!(message.chaddr(), mac);
    assert_eq!(
        (message.hops(), message.giaddr()),
        (0, Ipv4Addr::UNSPECIFIED)
    );
    assert!(
        datagram.payload.len() >= 300,
        "the shortest that old relay agents accept"
    );
    let id = message.opts().get(OptionCode::ClientIdentifier);
    let expected = [&[0], &b"c1/net/eth0"[..]].concat();
    assert_eq!(id, Some(&DhcpOption::ClientIdentifier(expected)));
}

/// The messages of an acquisition, field by field against RFC 2131, table 5.
fn check_acquisition(rig: &Rig, wire: &Wire, address: Ipv4Addr) {
    let seen = wire.v4();
    let find = |kind| {
        let mut found = seen.iter().filter(|(_, message)| is(message, kind));
        found
            .next()
            .cloned()
            .unwrap_or_else(|| panic!("no {kind:?}"))
    };
    let (discover, request) = (find(MessageType::Discover), find(MessageType::Request));
    for (datagram, message) in [&discover, &request] {
        check_common(rig, datagram, message);
        assert_eq!(datagram.from, endpoint("0.0.0.0:68"));
        assert_eq!(datagram.to, endpoint("255.255.255.255:67"));
        assert_eq!(datagram.to_mac, [0xff; 6]);
        assert_eq!(message.ciaddr(), Ipv4Addr::UNSPECIFIED);
        let list = message.opts().get(OptionCode::ParameterRequestList);
        let Some(DhcpOption::ParameterRequestList(list)) = list else {
            panic!("{message:?}");
        };
        assert!(list.contains(&OptionCode::SubnetMask) && list.contains(&OptionCode::Router));
        let size = message.opts().get(OptionCode::MaxMessageSize);
        assert_eq!(size, Some(&DhcpOption::MaxMessageSize(1500)));
    }
    assert_eq!(server_of(&discover.1), None);
    assert_eq!(server_of(&request.1), "10.9.0.1".parse().ok());
    let wanted = request.1.opts().get(OptionCode::RequestedIpAddress);
    assert_eq!(wanted, Some(&DhcpOption::RequestedIpAddress(address)));
}

/// A REQUEST of a client that has an address: no options 50 and 54 (RFC 2131, table 5).
fn check_extension(rig: &Rig, datagram: &Datagram, message: &Message, address: Ipv4Addr) {
    check_common(rig, datagram, message);
    assert_eq!(datagram.from, SocketAddr::from((address, 68)));
    assert_eq!(message.ciaddr(), address);
    assert_eq!(server_of(message), None);
    assert!(message.opts().get(OptionCode::RequestedIpAddress).is_none());
}

/// ADD, renewal, rebinding after the server has changed its address, DEL.
fn life(program: Program) {
    let rig = Rig::new();
    let node = dhcp::node(&rig.host, "s1", &["10.9.0.1/24"]);
    let wire = Wire::at(&node);
    let server = Server::start(&rig.host, program, &node, "leases", &pool(), "");
    let address = add(&rig);
    check_acquisition(&rig, &wire, address);

    // At T1: to the server alone.
    let extends =
        |message: &Message| is(message, MessageType::Request) && message.ciaddr() == address;
    let (datagram, renewal) = wire.wait_v4("a renewal", |_, message| extends(message));
    check_extension(&rig, &datagram, &renewal, address);
    assert_eq!(datagram.to, endpoint("10.9.0.1:67"));
    assert_eq!(datagram.to_mac, mac(&node), "by unicast");
    wire.wait_v4("the answer", |_, message| {
        is(message, MessageType::Ack) && message.xid() == renewal.xid()
    });

    // At T2: to all servers. The first one has another address by then.
    drop(server);
    rig.readdress(&node, "10.9.0.1/24", "10.9.0.2/24");
    wire.clear();
    let _server = Server::start(&rig.host, program, &node, "leases", &pool(), "");
    let (datagram, rebinding) = wire.wait_v4("a rebinding", |datagram, message| {
        extends(message) && datagram.to == endpoint("255.255.255.255:67")
    });
    check_extension(&rig, &datagram, &rebinding, address);
    assert_eq!(datagram.to_mac, [0xff; 6]);
    let (_, renewal) = wire.wait_v4("a renewal by the new address", |datagram, message| {
        extends(message) && datagram.to == endpoint("10.9.0.2:67")
    });
    wire.wait_v4("the answer", |_, message| {
        is(message, MessageType::Ack) && message.xid() == renewal.xid()
    });
    let discovers = wire
        .v4()
        .iter()
        .filter(|(_, m)| is(m, MessageType::Discover))
        .count();
    assert_eq!(discovers, 0, "the lease was never lost");
    assert_eq!(rig.client.addresses("eth0"), [format!("{address}/24")]);

    rig.del(&json!({}));
    let (datagram, release) = wire.wait_v4("a release", |_, m| is(m, MessageType::Release));
    assert_eq!(datagram.from, SocketAddr::from((address, 68)));
    // The frame may be a broadcast: only a packet socket certainly works, and it resolves no addresses.
    assert_eq!(datagram.to, endpoint("10.9.0.2:67"));
    assert_eq!(release.ciaddr(), address);
    assert_eq!(server_of(&release), "10.9.0.2".parse().ok());
    assert!(release.opts().get(OptionCode::RequestedIpAddress).is_none());
    check_common(&rig, &datagram, &release);
}

#[test]
fn a_lease_of_dnsmasq_lives() {
    life(Program::Dnsmasq);
}

#[test]
fn a_lease_of_isc_dhcpd_lives() {
    life(Program::Isc);
}

#[test]
fn a_lease_of_kea_lives() {
    life(Program::Kea);
}

/// The server disappears: the address is used until the lease ends, and not longer.
fn expiry(program: Program) {
    let rig = Rig::new();
    let node = dhcp::node(&rig.host, "s1", &["10.9.0.1/24"]);
    let wire = Wire::at(&node);
    let server = Server::start(&rig.host, program, &node, "leases", &pool(), "");
    let address = add(&rig);
    drop(server);
    wire.wait_v4("a rebinding", |datagram, message| {
        message.ciaddr() == address && datagram.to == endpoint("255.255.255.255:67")
    });
    assert_eq!(rig.client.addresses("eth0"), [format!("{address}/24")]);
    rig.addresses_become("the address is removed", <[String]>::is_empty);
}

#[test]
fn without_dhcpd_a_lease_ends() {
    expiry(Program::Isc);
}

#[test]
fn without_kea_a_lease_ends() {
    expiry(Program::Kea);
}

/// The segment has another network now: the client's address is refused, and it gets, and configures, another one.
///
/// Of a client that asks for an extension only dnsmasq refuses an address that it does not know; the others stay silent.
/// All refuse it to a client that restarts and wants to verify its address.
fn refusal(program: Program) {
    let rig = Rig::new();
    let node = dhcp::node(&rig.host, "s1", &["10.9.0.1/24"]);
    let wire = Wire::at(&node);
    let server = Server::start(&rig.host, program, &node, "before", &pool(), "");
    let address = add(&rig);
    drop(server);
    if program != Program::Dnsmasq {
        rig.kill_daemon();
    }
    rig.readdress(&node, "10.9.0.1/24", "10.8.0.1/24");
    let pool = Pool::short("10.8.0.100", "10.8.0.110");
    let _server = Server::start(&rig.host, program, &node, "after", &pool, "");
    if program != Program::Dnsmasq {
        rig.start_daemon();
    }
    let (_, refused) = wire.wait_v4("a refusal", |_, message| is(message, MessageType::Nak));
    let (_, request) = wire.wait_v4("its request", |_, m| m.xid() == refused.xid());
    assert_eq!(server_of(&request), None);
    let verified = request.opts().get(OptionCode::RequestedIpAddress);
    match program {
        Program::Dnsmasq => assert_eq!((request.ciaddr(), verified), (address, None)),
        _ => {
            assert_eq!(request.ciaddr(), Ipv4Addr::UNSPECIFIED);
            assert_eq!(verified, Some(&DhcpOption::RequestedIpAddress(address)));
        }
    }
    let new = rig.addresses_become("another address", |all| {
        all.iter().all(|new| new.starts_with("10.8.0.")) && !all.is_empty()
    });
    assert_eq!(new.len(), 1, "{new:?}");
    rig.client.ping("10.8.0.1");
}

#[test]
fn a_refusal_of_dnsmasq_leads_to_another_address() {
    refusal(Program::Dnsmasq);
}

#[test]
fn a_refusal_of_dhcpd_leads_to_another_address() {
    refusal(Program::Isc);
}

#[test]
fn a_refusal_of_kea_leads_to_another_address() {
    refusal(Program::Kea);
}

#[test]
fn of_two_servers_one_is_chosen() {
    let rig = Rig::new();
    let programs = [
        ("s1", Program::Isc, "10.9.0.1"),
        ("s2", Program::Kea, "10.9.0.2"),
    ];
    let servers: Vec<_> = programs
        .iter()
        .map(|(name, program, address)| {
            let node = dhcp::node(&rig.host, name, &[&format!("{address}/24")]);
            let mut pool = pool();
            (pool.first, pool.last) = match *name {
                "s1" => ("10.9.0.10".into(), "10.9.0.19".into()),
                _ => ("10.9.0.20".into(), "10.9.0.29".into()),
            };
            let wire = Wire::at(&node);
            let server = Server::start(&rig.host, *program, &node, name, &pool, "");
            (node, wire, server)
        })
        .collect();
    let address = add(&rig);
    let chosen = match address.octets()[3] {
        10..20 => "10.9.0.1",
        _ => "10.9.0.2",
    };
    let mut acknowledged = 0;
    for (_, wire, _) in &servers {
        let (_, request) = wire.wait_v4("a request", |_, m| is(m, MessageType::Request));
        assert_eq!(server_of(&request), chosen.parse().ok());
        let acks = wire
            .v4()
            .into_iter()
            .filter(|(_, m)| is(m, MessageType::Ack));
        acknowledged += acks
            .filter(|(_, m)| server_of(m) != chosen.parse().ok())
            .count();
    }
    assert_eq!(acknowledged, 0, "only the chosen server grants a lease");
}
