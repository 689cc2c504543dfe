//! Addresses, and which of them answer as soon as ADD has returned.

use crate::common::{bridge, dual, host_end, ipv4, ipv6, layer2};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::Duration;
use testkit::{Container, Host, Node, leases, reused_addresses_are_reachable};

fn two_containers(host: &Host, config: &Value) -> (Container, Container) {
    let (c1, c2) = (host.container("c1"), host.container("c2"));
    for container in [&c1, &c2] {
        bridge().add(container, config).expect_ok();
    }
    (c1, c2)
}

#[test]
fn ipv4_only() {
    let host = Host::new();
    host.set_sysctl("net/ipv4/ip_forward", "0");
    host.set_sysctl("net/ipv6/conf/all/forwarding", "0");
    let (c1, c2) = two_containers(&host, &ipv4(json!({"isDefaultGateway": true})));
    assert_eq!(c1.addresses("eth0"), ["10.1.0.2/24"]);
    assert_eq!(c1.routes("-4"), ["default via 10.1.0.1 dev eth0"]);
    assert_eq!(c1.routes("-6"), [""; 0]);
    assert_eq!(host.addresses("cni0"), ["10.1.0.1/24"]);
    c1.ping("10.1.0.3");
    c2.ping("10.1.0.1");
    assert_eq!(host.sysctl("net/ipv4/ip_forward"), "1");
    assert_eq!(host.sysctl("net/ipv6/conf/all/forwarding"), "0");
}

#[test]
fn ipv6_only() {
    let host = Host::new();
    host.set_sysctl("net/ipv4/ip_forward", "0");
    host.set_sysctl("net/ipv6/conf/all/forwarding", "0");
    let (c1, c2) = two_containers(&host, &ipv6(json!({"isDefaultGateway": true})));
    assert_eq!(c1.addresses("eth0"), ["fd00:1::2/64"]);
    assert_eq!(
        c1.routes("-6"),
        ["default via fd00:1::1 dev eth0 metric 1024 pref medium"]
    );
    assert_eq!(host.addresses("cni0"), ["fd00:1::1/64"]);
    c1.ping("fd00:1::3");
    c2.ping("fd00:1::1");
    assert_eq!(host.sysctl("net/ipv4/ip_forward"), "0");
    assert_eq!(host.sysctl("net/ipv6/conf/all/forwarding"), "1");
}

#[test]
fn addresses_of_both_families_answer_at_once() {
    let host = Host::new();
    let (c1, c2) = (host.container("c1"), host.container("c2"));
    let config = dual(json!({"isGateway": true}));
    bridge().add(&c1, &config).expect_ok();
    bridge().add(&c2, &config).expect_ok();
    // Too short for a second neighbour solicitation.
    for target in ["fd00:1::1", "10.1.0.1", "fd00:1::2", "10.1.0.2"] {
        let target: IpAddr = target.parse().unwrap();
        assert!(c2.can_reach(target, Duration::from_millis(300)), "{target}");
    }
    let source: IpAddr = "fd00:1::3".parse().unwrap();
    assert!(host.can_reach(source, Duration::from_millis(300)));
    for link in [c1.ip("-6 addr"), host.ip("-6 addr")] {
        let tentative = link
            .lines()
            .find(|line| line.contains("fd00") && line.contains("tentative"));
        assert_eq!(tentative, None);
    }
}

#[test]
fn two_networks_reach_each_other_through_the_host() {
    let host = Host::new();
    let (c1, c2) = (host.container("c1"), host.container("c2"));
    bridge()
        .add(&c1, &dual(json!({"isDefaultGateway": true})))
        .expect_ok();
    let ranges = json!([[{"subnet": "10.2.0.0/24"}], [{"subnet": "fd00:2::/64"}]]);
    let other = dual(json!({
        "name": "other", "bridge": "cni1", "isDefaultGateway": true,
        "ipam": {"type": "host-local", "ranges": ranges},
    }));
    bridge().add(&c2, &other).expect_ok();
    c1.ping("10.2.0.2");
    c1.ping("fd00:2::2");
    c2.ping("10.1.0.2");
}

#[test]
fn without_a_gateway_the_host_does_not_forward() {
    let host = Host::new();
    host.set_sysctl("net/ipv4/ip_forward", "0");
    let (c1, _c2) = two_containers(&host, &dual(json!({})));
    c1.ping("10.1.0.3");
    c1.ping("fd00:1::3");
    assert_eq!(host.addresses("cni0"), [""; 0]);
    assert_eq!(host.sysctl("net/ipv4/ip_forward"), "0");
    assert_eq!(c1.routes("-4"), [""; 0]);
}

#[test]
fn several_addresses_of_one_family() {
    let host = Host::new();
    let container = host.container("c1");
    let ranges = json!([
        [{"subnet": "10.1.0.0/24"}],
        [{"subnet": "fd00:1::/64"}],
        [{"subnet": "fd00:2::/64"}]
    ]);
    let config = dual(json!({
        "isDefaultGateway": true, "ipam": {"type": "host-local", "ranges": ranges},
    }));
    let run = bridge().add(&container, &config).expect_ok();
    let mut gateways = host.addresses("cni0");
    gateways.sort();
    assert_eq!(gateways, ["10.1.0.1/24", "fd00:1::1/64", "fd00:2::1/64"]);
    container.ping("fd00:2::1");
    // One default route for each family, through the first gateway.
    let routes = run.json()["routes"].clone();
    let expected =
        json!([{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}, {"dst": "::/0", "gw": "fd00:1::1"}]);
    assert_eq!(routes, expected);
    bridge().check(&container, &run.with_prev()).expect_ok();
    bridge().del(&container, &config).expect_ok();
    assert_eq!(leases("net"), [""; 0]);
}

#[test]
fn a_pair_whose_ends_have_the_same_index_works_at_once() {
    let host = Host::new();
    let container = host.container("c1");
    let config = dual(json!({"isGateway": true}));
    bridge().add(&container, &config).expect_ok();
    // Interface 2 of the host is the bridge, 3 the port; the container's are 2 and 3.
    let run = bridge()
        .command("ADD")
        .ifname("net1")
        .container(&container)
        .config(&config)
        .run();
    let second = host_end(&run.expect_ok());
    let on_host = host.link_attribute(&second, "/ifindex");
    let inside = container.link_attribute("net1", "/ifindex");
    // Makes the indexes of the third pair the same.
    for _ in inside.as_u64().unwrap()..on_host.as_u64().unwrap() {
        container.ip("link add filler type bridge");
        container.ip("link del filler");
    }
    let other = dual(json!({
        "name": "other", "bridge": "cni0", "isGateway": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "fd00:2::/64"}]]},
    }));
    let run = bridge()
        .command("ADD")
        .ifname("net2")
        .container(&container)
        .config(&other)
        .run();
    let third = host_end(&run.expect_ok());
    assert!(host.can_reach("fd00:2::2".parse().unwrap(), Duration::from_millis(300)));
    let on_host = host.link_attribute(&third, "/ifindex");
    let inside = container.link_attribute("net2", "/ifindex");
    assert_eq!(on_host, inside, "the case that this test is for");
}

/// Its neighbours have cached the MAC address of the container that had the address before.
#[test]
fn a_reused_address_is_reachable_at_once() {
    let with_address = |last: &str| {
        let addresses = json!([
            {"address": format!("10.1.0.{last}/24"), "gateway": "10.1.0.1"},
            {"address": format!("fd00:1::{last}/64"), "gateway": "fd00:1::1"},
        ]);
        layer2(json!({"isGateway": true, "ipam": {"type": "static", "addresses": addresses}}))
    };
    let host = Host::new();
    let neighbour = host.container("neighbour");
    bridge().add(&neighbour, &with_address("9")).expect_ok();
    let reused = ["10.1.0.10", "fd00:1::10"];
    let config = with_address("10");
    reused_addresses_are_reachable(&host, &neighbour, &bridge(), &config, &reused);
    let host = Host::new();
    reused_addresses_are_reachable(&host, &host, &bridge(), &config, &reused);
}
