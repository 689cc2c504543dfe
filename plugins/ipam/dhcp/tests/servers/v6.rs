//! DHCPv6 and router advertisements.

use std::net::SocketAddr;

use dhcproto::v6::{DhcpOption, Message, MessageType, OptionCode};
use serde_json::{Value, json};
use testkit::dhcp::{self, Datagram, Pool, Program, Server};
use testkit::{Container, Node as _};

use crate::common::{Rig, Wire, eventually};

const SERVER: &str = "2001:db8:9::1/64";

fn pool() -> Pool {
    Pool::short("2001:db8:9::100", "2001:db8:9::1ff")
}

/// A configuration for DHCPv6 alone, without the second that probes take.
fn leased() -> Value {
    json!({"ipv4": false, "ipv6": {"mode": "dhcp", "rapidCommit": false, "dad": false}})
}

fn node(rig: &Rig, name: &str) -> Container {
    dhcp::node(&rig.host, name, &[SERVER])
}

#[track_caller]
fn addresses(result: &Value) -> Vec<String> {
    let ips = result["ips"].as_array().expect("a list");
    let address = |ip: &Value| ip["address"].as_str().expect("an address").to_owned();
    ips.iter().map(address).collect()
}

/// What is true of every message of the client.
fn check_common(rig: &Rig, datagram: &Datagram, message: &Message) {
    let SocketAddr::V6(from) = datagram.from else {
        panic!("{datagram:?}");
    };
    assert!(
        from.ip().is_unicast_link_local() && from.port() == 546,
        "{from}"
    );
    assert_eq!(datagram.to, "[ff02::1:2]:547".parse().expect("an address"));
    assert_eq!(datagram.to_mac, [0x33, 0x33, 0, 1, 0, 2]);
    let Some(DhcpOption::ClientId(duid)) = message.opts().get(OptionCode::ClientId) else {
        panic!("{message:?}");
    };
    let mac = rig.client.link_attribute("eth0", "/address");
    let hexadecimal: Vec<String> = duid[4..].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        (&duid[..4], hexadecimal.join(":")),
        (&[0, 3, 0, 1][..], mac.as_str().expect("text").to_owned())
    );
    assert!(message.opts().get(OptionCode::ElapsedTime).is_some());
}

fn iaid(message: &Message) -> u32 {
    match message.opts().get(OptionCode::IANA) {
        Some(DhcpOption::IANA(ia)) => ia.id,
        _ => panic!("{message:?}"),
    }
}

fn server_of(message: &Message) -> Option<&Vec<u8>> {
    match message.opts().get(OptionCode::ServerId) {
        Some(DhcpOption::ServerId(duid)) => Some(duid),
        _ => None,
    }
}

#[test]
fn a_lease_of_kea_lives() {
    let rig = Rig::new();
    let first = node(&rig, "s1");
    let wire = Wire::at(&first);
    let server = Server::start(&rig.host, Program::Kea, &first, "leases", &pool(), "");
    let result = rig.add(&leased());
    let held = addresses(&result);
    assert!(
        held.len() == 1 && held[0].starts_with("2001:db8:9::1"),
        "{held:?}"
    );

    let (datagram, solicit) = wire.wait_v6(MessageType::Solicit);
    check_common(&rig, &datagram, &solicit);
    let (_, offer) = wire.wait_v6(MessageType::Advertise);
    let (datagram, request) = wire.wait_v6(MessageType::Request);
    check_common(&rig, &datagram, &request);
    assert_eq!(server_of(&request), server_of(&offer));
    let (datagram, renew) = wire.wait_v6(MessageType::Renew);
    check_common(&rig, &datagram, &renew);
    assert_eq!(server_of(&renew), server_of(&offer));
    assert_eq!(iaid(&renew), iaid(&solicit));
    eventually("the kernel knows when the extended lease ends", || {
        let links = rig.client.ip_json(&["-6", "addr", "show", "dev", "eth0"]);
        let all = links[0]["addr_info"].as_array()?.clone();
        let is_leased = |address: &&Value| {
            let local = address["local"].as_str().unwrap_or_default();
            held.contains(&format!("{local}/128"))
        };
        let seconds = all.iter().find(is_leased)?["valid_life_time"].as_u64()?;
        (seconds <= 8).then_some(())
    });

    // Another server with the same leases: its DUID differs, so that only a Rebind reaches it.
    drop(server);
    let second = node(&rig, "s2");
    first.ip("link set eth0 down");
    let wire = Wire::at(&second);
    let _server = Server::start(&rig.host, Program::Kea, &second, "leases", &pool(), "");
    let (datagram, rebind) = wire.wait_v6(MessageType::Rebind);
    check_common(&rig, &datagram, &rebind);
    assert_eq!((server_of(&rebind), iaid(&rebind)), (None, iaid(&solicit)));
    wire.wait_v6(MessageType::Reply);
    wire.clear();
    let (_, renew) = wire.wait_v6(MessageType::Renew);
    assert_ne!(
        server_of(&renew),
        server_of(&offer),
        "the new server is asked from now on"
    );
    assert_eq!(rig.client.addresses("eth0"), held);

    rig.del(&leased());
    let (datagram, release) = wire.wait_v6(MessageType::Release);
    check_common(&rig, &datagram, &release);
    assert_eq!(
        (server_of(&release), iaid(&release)),
        (server_of(&renew), iaid(&solicit))
    );
    assert!(
        wire.v6()
            .iter()
            .all(|(_, m)| m.msg_type() != MessageType::Solicit)
    );
}

#[test]
fn kea_commits_at_once_when_it_may() {
    let rig = Rig::new();
    let node = node(&rig, "s1");
    let wire = Wire::at(&node);
    let extra = json!({"subnet6": [{
        "subnet": "2001:db8:9::/64", "interface": "eth0", "rapid-commit": true,
        "pools": [{"pool": "2001:db8:9::100 - 2001:db8:9::1ff"}],
    }]});
    let extra = extra.to_string();
    let _server = Server::start(&rig.host, Program::Kea, &node, "leases", &pool(), &extra);
    let result = rig.add(&json!({"ipv4": false, "ipv6": {"mode": "dhcp", "dad": false}}));
    assert_eq!(addresses(&result).len(), 1);
    let kinds: Vec<MessageType> = wire.v6().iter().map(|(_, m)| m.msg_type()).collect();
    assert_eq!(kinds[..2], [MessageType::Solicit, MessageType::Reply]);
}

#[test]
fn without_kea_an_ipv6_lease_ends_and_begins_again() {
    let rig = Rig::new();
    let node = node(&rig, "s1");
    let wire = Wire::at(&node);
    let server = Server::start(&rig.host, Program::Kea, &node, "leases", &pool(), "");
    let held = addresses(&rig.add(&leased()));
    drop(server);
    wire.wait_v6(MessageType::Rebind);
    assert_eq!(rig.client.addresses("eth0"), held);
    rig.addresses_become("the address is removed", <[String]>::is_empty);
    let _server = Server::start(&rig.host, Program::Kea, &node, "leases", &pool(), "");
    rig.addresses_become("an address is back", |all| all.len() == 1);
}

#[test]
fn an_address_in_use_is_declined() {
    let rig = Rig::new();
    let server = node(&rig, "s1");
    let wire = Wire::at(&server);
    let taken = ["2001:db8:9::100/64", "2001:db8:9::101/64"];
    let _squatter = dhcp::node(&rig.host, "squatter", &taken);
    let _server = Server::start(&rig.host, Program::Kea, &server, "leases", &pool(), "");
    let result = rig.add(&json!({"ipv4": false, "ipv6": {"mode": "dhcp"}}));
    let held = addresses(&result);
    let is_taken = |held: &String| taken.iter().any(|taken| taken[..15] == held[..15]);
    assert!(held.len() == 1 && !is_taken(&held[0]), "{held:?}");
    let (datagram, decline) = wire.wait_v6(MessageType::Decline);
    check_common(&rig, &datagram, &decline);
    assert!(server_of(&decline).is_some());
}

#[test]
fn an_unreachable_server_is_an_error_that_says_so() {
    let rig = Rig::new();
    let config = crate::common::conf(&json!({"ipv4": false, "ipv6": {"mode": "auto"}}));
    let plugin = testkit::Plugin::new("dhcp");
    let error = plugin.add(&rig.client, &config).expect_error(999);
    error.mentions("no router advertisement");
}

/// dnsmasq as router and server; what the container gets by the mode `auto`.
fn dnsmasq(extra: &str) -> (Rig, Vec<String>, Value) {
    let rig = Rig::new();
    let server = node(&rig, "s1");
    let mut pool = pool();
    pool.last = format!("{},{extra}", pool.last);
    let options = "--enable-ra --dhcp-option=option6:dns-server,[2001:db8:9::53]";
    let _server = Server::start(
        &rig.host,
        Program::Dnsmasq,
        &server,
        "leases",
        &pool,
        options,
    );
    let result = rig.add(&json!({"ipv4": false, "ipv6": {}}));
    let held = addresses(&result);
    // The router is the default gateway, by the kernel.
    eventually("a default route", || {
        let routes = rig.client.ip("-6 route show default");
        routes.contains("via fe80::").then_some(())
    });
    rig.client.ping("2001:db8:9::1");
    assert_eq!(rig.client.addresses("eth0").len(), held.len(), "{held:?}");
    (rig, held, result["dns"]["nameservers"].clone())
}

/// The address that the interface forms from the prefix of the segment.
fn formed(rig: &Rig) -> String {
    let link_local = rig.client.ip("-6 addr show dev eth0 scope link");
    let at = link_local.find("fe80::").expect("a link-local address");
    let end = link_local[at..].find('/').expect("a prefix length");
    let suffix = &link_local[at + "fe80::".len()..at + end];
    format!("2001:db8:9:0:{suffix}/64")
}

#[test]
fn with_the_m_flag_of_dnsmasq_an_address_is_leased() {
    let (rig, held, dns) = dnsmasq("64");
    assert!(
        held.len() == 1 && held[0].starts_with("2001:db8:9::1"),
        "{held:?}"
    );
    assert_eq!(dns, json!(["2001:db8:9::53"]));
    rig.del(&json!({"ipv4": false, "ipv6": {}}));
}

#[test]
fn an_address_that_is_formed_becomes_the_kernels() {
    let rig = Rig::new();
    let server = node(&rig, "s1");
    let mut pool = pool();
    pool.last = format!("{},ra-stateless,64", pool.last);
    let options = "--enable-ra --ra-param=eth0,4";
    let _server = Server::start(
        &rig.host,
        Program::Dnsmasq,
        &server,
        "leases",
        &pool,
        options,
    );
    let autoconf = || rig.client.sysctl("net/ipv6/conf/eth0/autoconf");
    let held = addresses(&rig.add(&json!({"ipv4": false, "ipv6": {"mode": "slaac"}})));
    assert_eq!(held, [formed(&rig)]);
    assert_eq!(
        autoconf(),
        "0",
        "the kernel does not overtake the interface plugin"
    );
    eventually("autoconfiguration goes on", || {
        (autoconf() == "1").then_some(())
    });
    eventually("the kernel keeps the lifetime", || {
        let shown = rig.client.ip("-6 addr show dev eth0 scope global");
        (!shown.contains("valid_lft forever")).then_some(())
    });
    assert_eq!(rig.client.addresses("eth0"), held);
}

#[test]
fn with_both_there_are_two_addresses() {
    let (rig, held, _) = dnsmasq("slaac,64");
    assert_eq!((held.len(), &held[0]), (2, &formed(&rig)));
}

#[test]
fn both_families_are_in_one_result() {
    let rig = Rig::new();
    let server = dhcp::node(&rig.host, "s1", &[SERVER, "10.9.0.1/24"]);
    let four = Pool::short("10.9.0.10", "10.9.0.20");
    let _four = Server::start(&rig.host, Program::Kea, &server, "four", &four, "");
    let _six = Server::start(&rig.host, Program::Kea, &server, "six", &pool(), "");
    let route = json!({"dst": "fd00:5::/48", "gw": "2001:db8:9::2"});
    let ipam =
        json!({"ipv6": {"mode": "dhcp", "rapidCommit": false, "dad": false}, "routes": [route]});
    let result = rig.add(&ipam);
    assert!(
        result["routes"].as_array().unwrap().contains(&route),
        "{result}"
    );
    let held = addresses(&result);
    assert!(
        held[0].starts_with("10.9.0.") && held[1].starts_with("2001:db8:9::1"),
        "{held:?}"
    );
    let wire = Wire::at(&server);
    wire.wait_v6(MessageType::Renew);
    rig.del(&ipam);
    wire.wait_v6(MessageType::Release);
    wire.wait_v4("a release", |_, message| {
        message.opts().msg_type() == Some(dhcproto::v4::MessageType::Release)
    });
}

#[test]
fn a_restarted_daemon_goes_on_with_an_ipv6_lease() {
    let rig = Rig::new();
    let server = node(&rig, "s1");
    let _server = Server::start(&rig.host, Program::Kea, &server, "leases", &pool(), "");
    rig.add(&leased());
    let wire = Wire::at(&server);
    rig.start_daemon();
    wire.wait_v6(MessageType::Renew);
    wire.wait_v6(MessageType::Reply);
    assert!(
        wire.v6()
            .iter()
            .all(|(_, m)| m.msg_type() != MessageType::Solicit)
    );
    rig.del(&leased());
    wire.wait_v6(MessageType::Release);
}

#[test]
fn a_release_is_sent_again_until_the_server_confirms_it() {
    let rig = Rig::new();
    let server = node(&rig, "s1");
    let _server = Server::start(&rig.host, Program::Kea, &server, "leases", &pool(), "");
    rig.add(&leased());
    let wire = Wire::at(&rig.client);
    rig.host.ip("link set s1 nomaster");
    rig.del(&leased());
    let (datagram, release) = wire.wait_v6(MessageType::Release);
    check_common(&rig, &datagram, &release);
    rig.host.ip(&format!("link set s1 master {}", dhcp::LAN));
    let (_, reply) = wire.wait_v6(MessageType::Reply);
    assert_eq!(reply.xid(), release.xid());
    let mut all = wire.v6();
    all.retain(|(_, message)| message.msg_type() == MessageType::Release);
    assert!(all.len() > 1, "{all:?}");
    let is_same = |(_, again): &(Datagram, Message)| {
        (again.xid(), server_of(again)) == (release.xid(), server_of(&release))
    };
    assert!(all.iter().all(is_same), "{all:?}");
}
