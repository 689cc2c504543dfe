//! Each key does what it says.

use crate::common::{attribute, dual, host, host_with, ipv4, vlan};
use serde_json::json;
use std::net::IpAddr;
use std::time::Duration;
use testkit::{Node, single_interface_in_every_version, wire};

const ID: &str = "/linkinfo/info_data/id";

#[test]
fn every_version() {
    let (host, _router) = host();
    let dns = json!({"nameservers": ["10.1.0.53"], "search": ["example.org"]});
    single_interface_in_every_version(&host, &vlan(), &dual(json!({"dns": dns})));
}

#[test]
fn addresses_and_routes_of_both_families() {
    let (host, router) = host();
    let container = host.container("c1");
    let mut config = dual(json!({}));
    config["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "10.50.0.0/16", "mtu": 1300}]);
    vlan().add(&container, &config).expect_ok();
    assert_eq!(
        container.addresses("eth0"),
        ["10.1.0.10/24", "fd00:1::10/64"]
    );
    assert_eq!(
        container.routes("-4"),
        [
            "10.50.0.0/16 via 10.1.0.1 dev eth0 mtu 1300",
            "default via 10.1.0.1 dev eth0"
        ]
    );
    container.ping("10.1.0.1");
    container.ping("fd00:1::1");
    router.ping("10.1.0.10");
    assert_eq!(attribute(&container, "eth0", ID), 5);
    assert_eq!(
        attribute(&container, "eth0", "/linkinfo/info_data/protocol"),
        "802.1Q"
    );
    // Unlike macvlan and ipvlan, it does not announce.
    assert_eq!(container.sysctl("net/ipv4/conf/eth0/arp_notify"), "0");
    assert_eq!(host.link_names(), ["lo", "m0"]);
}

#[test]
fn vlans_are_networks_of_their_own() {
    let (host, _router) = host();
    let add = |name: &str, id: u16| {
        let container = host.container(name);
        vlan()
            .add(&container, &ipv4(json!({"vlanId": id})))
            .expect_ok();
        container
    };
    let (five, six) = (add("five", 5), add("six", 6));
    five.ping("10.1.0.1");
    six.command(&["ip", "addr", "add", "10.6.0.10/24", "dev", "eth0"]);
    six.ping("10.6.0.1");
    let silence = Duration::from_millis(400);
    assert!(!five.can_reach(IpAddr::from([10, 1, 0, 11]), silence));
    assert!(!six.can_reach(IpAddr::from([10, 1, 0, 10]), silence));
}

/// The same VLAN of two masters is one network where these are.
#[test]
fn one_vlan_of_two_masters() {
    let (host, router) = host();
    router.command(&["ip", "link", "add", "br0", "up", "type", "bridge"]);
    let other = wire(&host, "m1", "other", &[]);
    other.command(&["ip", "link", "add", "br0", "up", "type", "bridge"]);
    router.command(&[
        "ip", "link", "add", "up0", "type", "veth", "peer", "name", "up0", "netns", "other",
    ]);
    for switch in [&router, &other] {
        switch.command(&["ip", "link", "set", "eth0", "master", "br0"]);
        switch.command(&["ip", "link", "set", "up0", "up", "master", "br0"]);
    }
    let (a, b, c) = (
        host.container("a"),
        host.container("b"),
        host.container("c"),
    );
    vlan().add(&a, &ipv4(json!({"vlanId": 7}))).expect_ok();
    vlan()
        .add(&b, &ipv4(json!({"vlanId": 7, "master": "m1"})))
        .expect_ok();
    vlan()
        .add(&c, &ipv4(json!({"vlanId": 8, "master": "m1"})))
        .expect_ok();
    a.ping("10.1.0.11");
    assert!(!a.can_reach(IpAddr::from([10, 1, 0, 12]), Duration::from_millis(400)));
}

#[test]
fn ids_from_end_to_end() {
    let (host, _router) = host();
    for (extra, id) in [
        (json!({"vlanId": 1}), 1),
        (json!({"vlanId": 4094}), 4094),
        (json!({"vlanId": 0}), 0),
        (json!({"vlanId": null}), 0),
    ] {
        let container = host.container("c1");
        let run = vlan().add(&container, &ipv4(extra)).expect_ok();
        assert_eq!(attribute(&container, "eth0", ID), id);
        vlan().check(&container, &run.with_prev()).expect_ok();
        vlan().del(&container, &run.with_prev()).expect_ok();
        container.delete();
    }
}

#[test]
fn id_0_carries_a_priority_only() {
    let (host, router) = host();
    router.command(&[
        "ip", "link", "add", "prio", "up", "link", "eth0", "type", "vlan", "id", "0",
    ]);
    router.command(&["ip", "addr", "add", "10.1.0.3/24", "dev", "prio"]);
    let container = host.container("c1");
    vlan()
        .add(&container, &ipv4(json!({"vlanId": 0})))
        .expect_ok();
    router.command(&["ip", "route", "add", "10.1.0.10/32", "dev", "prio"]);
    container.ping("10.1.0.3");
}

#[test]
fn mtu_up_to_the_masters() {
    let (host, _router) = host();
    host.command(&["ip", "route", "add", "default", "dev", "m0", "mtu", "1300"]);
    for (mtu, actual) in [
        (json!(1400), 1400),
        (json!(1500), 1500),
        (json!(0), 1500),
        (json!("auto"), 1300),
    ] {
        let container = host.container("c1");
        let run = vlan()
            .add(&container, &ipv4(json!({"mtu": mtu})))
            .expect_ok();
        assert_eq!(run.json()["interfaces"][0]["mtu"], actual);
        assert_eq!(attribute(&container, "eth0", "/mtu"), actual);
        vlan().check(&container, &run.with_prev()).expect_ok();
        vlan().del(&container, &run.with_prev()).expect_ok();
        container.delete();
    }
}

#[test]
fn further_keys_of_the_link() {
    let (host, _router) = host();
    let container = host.container("c1");
    let config =
        ipv4(json!({"txQueueLen": 77, "numQueues": 3, "gsoMaxSize": 30000, "groMaxSize": 20000}));
    let run = vlan().add(&container, &config).expect_ok();
    for (pointer, value) in [
        ("/txqlen", 77),
        ("/num_tx_queues", 3),
        ("/gso_max_size", 30000),
        ("/gro_max_size", 20000),
    ] {
        assert_eq!(attribute(&container, "eth0", pointer), value, "{pointer}");
    }
    vlan().check(&container, &run.with_prev()).expect_ok();
}

/// The name of the container's interface is usually one that the host has, too.
#[test]
fn names_of_the_host_are_no_obstacle() {
    let (host, _router) = host_with("eth0");
    let container = host.container("c1");
    vlan()
        .add(&container, &ipv4(json!({"master": "eth0"})))
        .expect_ok();
    assert_eq!(container.link_names(), ["eth0", "lo"]);
    assert_eq!(host.link_names(), ["eth0", "lo"]);
    container.ping("10.1.0.1");
}

#[test]
fn the_master_in_the_container() {
    let (host, _router) = host();
    let container = host.container("c1");
    host.command(&["ip", "link", "set", "m0", "netns", "c1", "name", "up0"]);
    container.command(&["ip", "link", "set", "up0", "up"]);
    let config = ipv4(json!({"master": "up0", "linkInContainer": true, "mtu": 1400}));
    vlan().status(&config).expect_ok();
    let run = vlan().add(&container, &config).expect_ok();
    assert_eq!(attribute(&container, "eth0", "/link"), "up0");
    container.ping("10.1.0.1");
    vlan().check(&container, &run.with_prev()).expect_ok();
    for _ in 0..2 {
        vlan().del(&container, &run.with_prev()).expect_ok();
        assert_eq!(container.link_names(), ["lo", "up0"]);
    }
    // The host's are out of sight.
    host.command(&[
        "ip", "link", "add", "m1", "up", "type", "veth", "peer", "name", "p1",
    ]);
    let config = ipv4(json!({"master": "m1", "linkInContainer": true}));
    vlan()
        .add(&container, &config)
        .expect_error(999)
        .mentions("failed to lookup master \"m1\": Link not found");
}
