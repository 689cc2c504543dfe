//! `linkInContainer`: master and interface are both in the container.

use crate::common::{attribute, dual, layer2, macvlan};
use serde_json::json;
use testkit::{Container, Host, Node, fail_each_request, wire};

/// A container with a link `up0` to the network of the router.
fn container(host: &Host) -> Container {
    let _router = wire(host, "m0", "router", &["10.1.0.1/24", "fd00:1::1/64"]);
    // The router lives on in the host's directory of namespaces.
    std::mem::forget(_router);
    let container = host.container("c1");
    host.command(&["ip", "link", "set", "m0", "netns", "c1", "name", "up0"]);
    container.command(&["ip", "link", "set", "up0", "up"]);
    container
}

#[test]
fn a_named_master() {
    let host = Host::new();
    let container = container(&host);
    let config = dual(json!({"master": "up0", "linkInContainer": true, "mtu": 1400}));
    macvlan().status(&config).expect_ok();
    let run = macvlan().add(&container, &config).expect_ok();
    assert_eq!(run.json()["interfaces"][0]["sandbox"], "/run/netns/c1");
    let parent = attribute(&container, "up0", "/ifindex");
    // iproute2 tells the name where it is in the same namespace.
    assert_eq!(attribute(&container, "eth0", "/link"), "up0", "{parent}");
    container.ping("10.1.0.1");
    macvlan().check(&container, &run.with_prev()).expect_ok();
    for _ in 0..2 {
        macvlan().del(&container, &run.with_prev()).expect_ok();
        assert_eq!(container.link_names(), ["lo", "up0"]);
    }
}

#[test]
fn the_default_route_of_the_container() {
    let host = Host::new();
    let container = container(&host);
    container.command(&["ip", "addr", "add", "10.1.0.5/24", "dev", "up0"]);
    container.command(&["ip", "route", "add", "default", "via", "10.1.0.1"]);
    let config = layer2(json!({"master": null, "linkInContainer": true}));
    let run = macvlan().add(&container, &config).expect_ok();
    assert_eq!(attribute(&container, "eth0", "/link"), "up0");
    macvlan().check(&container, &run.with_prev()).expect_ok();
}

#[test]
fn the_hosts_links_are_out_of_sight() {
    let host = Host::new();
    let container = container(&host);
    host.command(&[
        "ip", "link", "add", "m1", "up", "type", "veth", "peer", "name", "p1",
    ]);
    let before = host.snapshot();
    for (extra, words) in [
        (
            json!({"master": "m1"}),
            "failed to lookup master \"m1\": Link not found",
        ),
        (
            json!({"master": "up0", "mtu": 1501}),
            "invalid MTU 1501, must be [0, master MTU(1500)]",
        ),
    ] {
        let mut config = layer2(extra);
        config["linkInContainer"] = json!(true);
        macvlan()
            .add(&container, &config)
            .expect_error(999)
            .mentions(words);
    }
    before.assert_same(&host.snapshot());
}

#[test]
fn failures_leave_nothing() {
    let host = Host::new();
    let container = container(&host);
    let config = dual(json!({"master": "up0", "linkInContainer": true}));
    let add = || {
        macvlan()
            .command("ADD")
            .container(&container)
            .config(&config)
    };
    assert_eq!(fail_each_request(&host, add), 6);
}

#[test]
fn check_tells_the_sides_apart() {
    let host = Host::new();
    let container = container(&host);
    host.command(&[
        "ip", "link", "add", "up0", "up", "type", "veth", "peer", "name", "p1",
    ]);
    let config = layer2(json!({"master": "up0", "linkInContainer": true}));
    let mut config = macvlan().add(&container, &config).expect_ok().with_prev();
    config["linkInContainer"] = json!(false);
    macvlan()
        .check(&container, &config)
        .expect_error(999)
        .mentions("interface eth0 is not on master \"up0\"");
}
