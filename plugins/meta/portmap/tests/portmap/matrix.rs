//! Which clients reach the container, and the source address that it sees: the same
//! table for every backend and for upstream.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Node, Plugin};

use crate::common::{LONG, Net, SHORT, Server, config, datagram_socket, portmap};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Client {
    Outside,
    Host,
    Localhost,
    Neighbour,
    Itself,
}

const CLIENTS: [Client; 5] = [
    Client::Outside,
    Client::Host,
    Client::Localhost,
    Client::Neighbour,
    Client::Itself,
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum HostIp {
    None,
    Specific,
    Unspecified,
    /// Not the one that clients connect to.
    Other,
}

const HOST_IPS: [HostIp; 4] = [
    HostIp::None,
    HostIp::Specific,
    HostIp::Unspecified,
    HostIp::Other,
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Snat {
    On,
    Off,
    All,
}

const ALL: [Snat; 3] = [Snat::On, Snat::Off, Snat::All];

/// Returns the source that the container sees, `None` if the client is not answered.
fn expected(client: Client, ipv4: bool, host_ip: HostIp, snat: Snat) -> Option<IpAddr> {
    let pick = |v4: &str, v6: &str| {
        let address = if ipv4 { v4 } else { v6 };
        Some(address.parse().unwrap())
    };
    let gateway = pick("10.1.0.1", "fd00:1::1");
    match (client, host_ip) {
        (_, HostIp::Other) | (Client::Localhost, HostIp::Specific) => return None,
        // The kernel has no route_localnet for IPv6.
        (Client::Localhost, _) if !ipv4 => return None,
        _ => {}
    }
    match (client, snat) {
        // Their answers do not pass the host.
        (Client::Localhost | Client::Neighbour | Client::Itself, Snat::Off) => None,
        (Client::Localhost | Client::Neighbour | Client::Itself, _) | (_, Snat::All) => gateway,
        (Client::Outside, _) => pick("192.0.2.2", "2001:db8::2"),
        (Client::Host, _) => pick("192.0.2.1", "2001:db8::1"),
    }
}

fn mappings(host_ip: HostIp) -> Value {
    let hosts: &[&str] = match host_ip {
        HostIp::None => &[""],
        HostIp::Specific => &["192.0.2.1", "2001:db8::1"],
        HostIp::Unspecified => &["0.0.0.0", "::"],
        HostIp::Other => &["192.0.2.9", "2001:db8::9"],
    };
    let mut list = Vec::new();
    for host in hosts {
        for protocol in ["tcp", "udp"] {
            list.push(json!({
                "hostPort": 8080, "containerPort": 80, "protocol": protocol, "hostIP": host,
            }));
        }
    }
    list.into()
}

/// The whole table for one implementation.
fn matrix(plugin: &Plugin, keys: &Value, snats: &[Snat]) {
    let net = Net::new();
    let server = Server::new(&net.container, 80);
    let far = Server::new(&net.far, 8080);
    let mut wrong = Vec::new();
    for snat in snats.iter().copied() {
        for host_ip in HOST_IPS {
            let mut keys = keys.clone();
            keys["snat"] = (snat != Snat::Off).into();
            keys["masqAll"] = (snat == Snat::All).into();
            let config = config(&net.container, &mappings(host_ip), &keys);
            net.host
                .set_sysctl("net/ipv4/conf/cni0/route_localnet", "0");
            plugin.add(&net.container, &config).expect_ok();
            for client in CLIENTS {
                for ipv4 in [true, false] {
                    let wanted = expected(client, ipv4, host_ip, snat);
                    let patience = if wanted.is_some() { LONG } else { SHORT };
                    let seen =
                        [true, false].map(|tcp| probe(&net, &server, client, ipv4, tcp, patience));
                    if seen != [wanted; 2] {
                        wrong.push(format!(
                            "{client:?} ipv4={ipv4} hostIP={host_ip:?} snat={snat:?}: \
                             tcp and udp saw {seen:?}, wanted {wanted:?}"
                        ));
                    }
                }
            }
            assert_forwarded(&net, &far);
            assert_not_masqueraded(&net, &server);
            plugin.del(&net.container, &config).expect_ok();
            for tcp in [true, false] {
                let seen = probe(&net, &server, Client::Outside, true, tcp, SHORT);
                assert_eq!(seen, None);
            }
        }
    }
    let rules = net.host.command(&["nft", "list", "ruleset"]);
    assert!(wrong.is_empty(), "{}\n{rules}", wrong.join("\n"));
}

fn probe(
    net: &Net,
    server: &Server,
    client: Client,
    ipv4: bool,
    tcp: bool,
    patience: Duration,
) -> Option<IpAddr> {
    let to = match (client, ipv4) {
        (Client::Localhost, true) => "127.0.0.1",
        (Client::Localhost, false) => "::1",
        (_, true) => "192.0.2.1",
        (_, false) => "2001:db8::1",
    };
    let to = SocketAddr::new(to.parse().unwrap(), 8080);
    let container = match client {
        Client::Outside => &net.outside,
        Client::Neighbour => &net.neighbour,
        Client::Itself => &net.container,
        Client::Host | Client::Localhost => {
            return ask(server, &net.host, to, tcp, patience);
        }
    };
    ask(server, container, to, tcp, patience)
}

fn ask(
    server: &Server,
    node: &impl Node,
    to: SocketAddr,
    tcp: bool,
    patience: Duration,
) -> Option<IpAddr> {
    if tcp {
        return server.tcp_within(node, to, patience);
    }
    server.answers_within(&datagram_socket(node, to)?, patience)
}

/// Packets to other machines are never mapped (CVE-2025-67499).
#[track_caller]
fn assert_forwarded(net: &Net, far: &Server) {
    for (to, outside, neighbour, host) in [
        ("198.51.100.2", "192.0.2.2", "10.1.0.3", "198.51.100.1"),
        ("2001:db8:9::2", "2001:db8::2", "fd00:1::3", "2001:db8:9::1"),
    ] {
        let to = SocketAddr::new(to.parse().unwrap(), 8080);
        let seen = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        assert_eq!(far.tcp(&net.outside, to), seen(outside));
        assert_eq!(far.udp(&net.outside, to), seen(outside));
        assert_eq!(far.tcp(&net.neighbour, to), seen(neighbour));
        assert_eq!(far.udp(&net.host, to), seen(host));
    }
}

/// Connections to the container's own address are not masqueraded.
#[track_caller]
fn assert_not_masqueraded(net: &Net, server: &Server) {
    for (to, outside, neighbour) in [
        ("10.1.0.2", "192.0.2.2", "10.1.0.3"),
        ("fd00:1::2", "2001:db8::2", "fd00:1::3"),
    ] {
        let to = SocketAddr::new(to.parse().unwrap(), 80);
        let seen = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        assert_eq!(server.tcp(&net.outside, to), seen(outside));
        assert_eq!(server.udp(&net.neighbour, to), seen(neighbour));
    }
}

#[test]
fn iptables() {
    matrix(&portmap(), &json!({"backend": "iptables"}), &ALL);
}

#[test]
fn nftables() {
    matrix(&portmap(), &json!({"backend": "nftables"}), &ALL);
}

#[test]
fn nftables_with_maps() {
    let keys = json!({"backend": "nftables", "rules": "map"});
    matrix(&portmap(), &keys, &ALL);
}

/// The distribution's upstream, version 1.1.1, does not know `masqAll`.
#[test]
fn upstream() {
    matrix(&Plugin::peer("portmap"), &json!({}), &[Snat::On, Snat::Off]);
}
