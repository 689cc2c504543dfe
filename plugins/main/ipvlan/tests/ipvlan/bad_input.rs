//! What cannot be meant is refused before anything is changed.

use crate::common::{dual, host, ipvlan};
use serde_json::json;
use testkit::{Node, leases};

#[test]
fn values_and_types() {
    let (host, _router) = host();
    let container = host.container("c1");
    let before = host.snapshot();
    for (extra, words) in [
        (
            json!({"master": "gone"}),
            "failed to lookup master \"gone\": Link not found",
        ),
        (json!({"master": null}), "no default route interface found"),
        (
            json!({"master": 7}),
            "failed to load netconf: master: expected a string, got number",
        ),
        (json!({"mode": "l4"}), "unknown ipvlan mode: \"l4\""),
        (json!({"mode": "L2"}), "unknown ipvlan mode: \"L2\""),
        (
            json!({"mtu": 1501}),
            "invalid MTU 1501, must be [0, master MTU(1500)]",
        ),
        (
            json!({"mtu": "x"}),
            "failed to load netconf: mtu: expected an integer or \"auto\", got \"x\"",
        ),
        (
            json!({"linkInContainer": 1}),
            "failed to load netconf: linkInContainer: expected",
        ),
        (
            json!({"ipam": "x"}),
            "failed to load netconf: ipam: expected",
        ),
        (json!({"ipam": {}}), "no plugin name provided"),
    ] {
        ipvlan()
            .add(&container, &dual(extra))
            .expect_error(999)
            .mentions(words);
    }
    before.assert_same(&host.snapshot());
    assert_eq!(leases("net"), [""; 0]);
}

#[test]
fn masters_that_the_kernel_refuses() {
    let (host, _router) = host();
    host.command(&["ip", "link", "add", "mv0", "link", "m0", "type", "macvlan"]);
    let container = host.container("c1");
    let before = host.snapshot();
    for (master, words) in [
        ("m0", "failed to create ipvlan: device or resource busy"),
        ("lo", "failed to create ipvlan: invalid argument"),
    ] {
        ipvlan()
            .add(&container, &dual(json!({"master": master})))
            .expect_error(999)
            .mentions(words);
    }
    before.assert_same(&host.snapshot());
}

#[test]
fn an_interface_that_exists() {
    let (host, _router) = host();
    let container = host.container("c1");
    ipvlan().add(&container, &dual(json!({}))).expect_ok();
    let before = host.snapshot();
    ipvlan()
        .add(&container, &dual(json!({})))
        .expect_error(999)
        .mentions("file exists; container interface \"eth0\" already exists in /run/netns/c1");
    before.assert_same(&host.snapshot());
    container.ping("10.1.0.1");
}

/// Programs compare `msg` with upstream's; what we add is in `details`.
#[test]
fn messages_are_upstreams() {
    let host = testkit::Host::new();
    let container = host.container("c1");
    for (extra, msg) in [
        (json!({"mode": "vepa"}), "unknown ipvlan mode: \"vepa\""),
        (json!({"master": ""}), "no default route interface found"),
        (json!({"ipam": {}}), "no plugin name provided"),
    ] {
        let error = ipvlan().add(&container, &dual(extra)).expect_error(999);
        assert_eq!(error.msg, msg);
        assert_ne!(error.details, "");
    }
}
