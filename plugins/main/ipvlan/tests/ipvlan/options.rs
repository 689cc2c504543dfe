//! Each key does what it says.

use crate::common::{attribute, dual, host, host_with, ipv4, ipvlan};
use serde_json::json;
use testkit::{Node, run_all, single_interface_in_every_version};

#[test]
fn every_version() {
    let (host, _router) = host();
    let dns = json!({"nameservers": ["10.1.0.53"], "search": ["example.org"]});
    single_interface_in_every_version(&host, &ipvlan(), &dual(json!({"dns": dns})));
}

#[test]
fn addresses_and_routes_of_both_families() {
    let (host, router) = host();
    let container = host.container("c1");
    let mut config = dual(json!({}));
    config["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "10.50.0.0/16", "mtu": 1300}]);
    let run = ipvlan().add(&container, &config).expect_ok();
    // The hardware address is the master's.
    let mac = attribute(&host, "m0", "/address");
    assert_eq!(run.json()["interfaces"][0]["mac"], mac);
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
    router.ping("fd00:1::10");
    assert_eq!(container.sysctl("net/ipv4/conf/eth0/arp_notify"), "1");
    assert_eq!(container.sysctl("net/ipv6/conf/eth0/ndisc_notify"), "1");
    assert_eq!(host.link_names(), ["lo", "m0"]);
}

#[test]
fn mtu_up_to_the_masters() {
    let (host, _router) = host();
    host.command(&["ip", "route", "add", "default", "dev", "m0", "mtu", "1300"]);
    for (mtu, actual) in [
        (json!(1400), 1400),
        (json!(1500), 1500),
        (json!(0), 1500),
        (json!(-1), 1500),
        (json!("auto"), 1300),
    ] {
        let container = host.container("c1");
        let run = ipvlan()
            .add(&container, &ipv4(json!({"mtu": mtu})))
            .expect_ok();
        assert_eq!(run.json()["interfaces"][0]["mtu"], actual);
        assert_eq!(attribute(&container, "eth0", "/mtu"), actual);
        ipvlan().check(&container, &run.with_prev()).expect_ok();
        ipvlan().del(&container, &run.with_prev()).expect_ok();
        container.delete();
    }
}

#[test]
fn further_keys_of_the_link() {
    let (host, _router) = host();
    let container = host.container("c1");
    let config =
        ipv4(json!({"txQueueLen": 77, "numQueues": 3, "gsoMaxSize": 30000, "groMaxSize": 20000}));
    let run = ipvlan().add(&container, &config).expect_ok();
    for (pointer, value) in [
        ("/txqlen", 77),
        ("/num_tx_queues", 3),
        ("/gso_max_size", 30000),
        ("/gro_max_size", 20000),
    ] {
        assert_eq!(attribute(&container, "eth0", pointer), value, "{pointer}");
    }
    ipvlan().check(&container, &run.with_prev()).expect_ok();
}

#[test]
fn the_default_route_tells_the_master() {
    let (host, _router) = host();
    host.command(&[
        "ip", "link", "add", "m1", "up", "type", "veth", "peer", "name", "p1",
    ]);
    host.command(&[
        "ip",
        "route",
        "add",
        "unreachable",
        "default",
        "metric",
        "1",
    ]);
    host.command(&["ip", "route", "add", "default", "dev", "m1", "metric", "20"]);
    host.command(&["ip", "route", "add", "default", "dev", "m0", "metric", "10"]);
    let container = host.container("c1");
    let run = ipvlan()
        .add(&container, &ipv4(json!({"master": null})))
        .expect_ok();
    ipvlan().check(&container, &run.with_prev()).expect_ok();
    container.ping("10.1.0.1");
}

/// The name of the container's interface is usually one that the host has, too.
#[test]
fn names_of_the_host_are_no_obstacle() {
    let (host, router) = host_with("eth0");
    let containers: Vec<_> = (0..4).map(|n| host.container(&format!("c{n}"))).collect();
    let config = ipv4(json!({"master": "eth0"}));
    let add = |c| ipvlan().command("ADD").container(c).config(&config);
    for run in run_all(containers.iter().map(add)) {
        run.expect_ok();
    }
    for container in &containers {
        assert_eq!(container.link_names(), ["eth0", "lo"]);
    }
    router.ping("10.1.0.13");
    assert_eq!(host.link_names(), ["eth0", "lo"]);
}

#[test]
fn the_master_in_the_container() {
    let (host, _router) = host();
    let container = host.container("c1");
    host.command(&["ip", "link", "set", "m0", "netns", "c1", "name", "up0"]);
    container.command(&["ip", "link", "set", "up0", "up"]);
    let config = ipv4(json!({"master": "up0", "linkInContainer": true}));
    ipvlan().status(&config).expect_ok();
    let run = ipvlan().add(&container, &config).expect_ok();
    assert_eq!(attribute(&container, "eth0", "/link"), "up0");
    container.ping("10.1.0.1");
    ipvlan().check(&container, &run.with_prev()).expect_ok();
    for _ in 0..2 {
        ipvlan().del(&container, &run.with_prev()).expect_ok();
        assert_eq!(container.link_names(), ["lo", "up0"]);
    }
    // By the container's default route, too.
    container.command(&["ip", "route", "add", "default", "dev", "up0"]);
    let config = ipv4(json!({"master": null, "linkInContainer": true}));
    ipvlan().add(&container, &config).expect_ok();
}

/// An ipvlan as master: the kernel puts the new link beside it.
#[test]
fn an_ipvlan_can_be_the_master() {
    let (host, _router) = host();
    host.command(&[
        "ip", "link", "add", "ipv0", "up", "link", "m0", "type", "ipvlan", "mode", "l2",
    ]);
    let container = host.container("c1");
    let run = ipvlan()
        .add(&container, &ipv4(json!({"master": "ipv0"})))
        .expect_ok();
    ipvlan().check(&container, &run.with_prev()).expect_ok();
    container.ping("10.1.0.1");
}
