//! UDP clients that keep sending while mappings change.

use std::net::SocketAddr;

use serde_json::{Value, json};
use testkit::{Node, merge};

use crate::common::{LONG, Net, SHORT, Server, backends, config, datagram_socket, portmap};

fn mappings(host_ip: &str) -> Value {
    json!([{"hostPort": 8080, "containerPort": 80, "protocol": "udp", "hostIP": host_ip}])
}

#[test]
fn a_flow_follows_the_mapping() {
    for keys in backends() {
        for (to, host_ip) in [
            ("192.0.2.1:8080", ""),
            ("192.0.2.1:8080", "192.0.2.1"),
            ("[2001:db8::1]:8080", ""),
        ] {
            let net = Net::new();
            let to: SocketAddr = to.parse().unwrap();
            let first = Server::new(&net.container, 80);
            let second = Server::new(&net.neighbour, 80);
            // A rule that makes the kernel track connections.
            net.host.command(&["nft", "add", "table", "inet", "track"]);
            net.host.command(&[
                "nft",
                "add chain inet track c { type filter hook prerouting priority 0; }",
            ]);
            net.host
                .command(&["nft", "add rule inet track c ct state new counter"]);
            let client = datagram_socket(&net.outside, to).unwrap();
            assert_eq!(first.answers_within(&client, SHORT), None);
            let config = config(&net.container, &mappings(host_ip), &keys);
            portmap().add(&net.container, &config).expect_ok();
            let _ = client.recv(&mut [0; 8]);
            assert!(
                first.answers_within(&client, LONG).is_some(),
                "{keys} {to} {host_ip}"
            );
            portmap().del(&net.container, &config).expect_ok();
            assert_eq!(
                first.answers_within(&client, SHORT),
                None,
                "{keys} {to} {host_ip}"
            );
            let mut other = merge(config, &json!({}));
            other["prevResult"]["ips"] =
                json!([{"address": "10.1.0.3/24"}, {"address": "fd00:1::3/64"}]);
            portmap().add(&net.neighbour, &other).expect_ok();
            let _ = client.recv(&mut [0; 8]);
            assert!(
                second.answers_within(&client, LONG).is_some(),
                "{keys} {to} {host_ip}"
            );
        }
    }
}

/// Flows to the same port of other machines.
#[test]
fn the_flows_of_others_stay() {
    let net = Net::new();
    let far = Server::new(&net.far, 8080);
    net.host.command(&["nft", "add", "table", "inet", "track"]);
    net.host.command(&[
        "nft",
        "add chain inet track c { type filter hook prerouting priority 0; }",
    ]);
    net.host
        .command(&["nft", "add rule inet track c ct state new counter"]);
    let client = datagram_socket(&net.outside, "198.51.100.2:8080".parse().unwrap()).unwrap();
    assert!(far.answers_within(&client, LONG).is_some());
    let flows = || {
        net.host
            .command(&["conntrack", "-L", "-p", "udp", "-o", "id"])
    };
    let id = |text: String| text.split("id=").nth(1).map(|id| id.trim().to_owned());
    let before = id(flows()).unwrap();
    for keys in backends() {
        let config = config(&net.container, &mappings(""), &keys);
        portmap().add(&net.container, &config).expect_ok();
        portmap().del(&net.container, &config).expect_ok();
    }
    assert_eq!(id(flows()), Some(before));
}
