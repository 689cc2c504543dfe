//! What cannot be meant is refused before anything is changed.

use crate::common::{dual, host, ipv4, vlan};
use serde_json::json;
use testkit::{Node, leases};

#[test]
fn values_and_types() {
    let (host, _router) = host();
    let container = host.container("c1");
    let before = host.snapshot();
    for (extra, words) in [
        (
            json!({"master": ""}),
            "\"master\" field is required. It specifies the host interface name",
        ),
        (json!({"master": null}), "\"master\" field is required"),
        (
            json!({"master": "gone"}),
            "failed to lookup master \"gone\": Link not found",
        ),
        (
            json!({"vlanId": -1}),
            "invalid VLAN ID -1 (must be between 0 and 4095 inclusive)",
        ),
        (
            json!({"vlanId": 4095}),
            "invalid VLAN ID 4095 (must be between",
        ),
        (
            json!({"vlanId": 70000}),
            "invalid VLAN ID 70000 (must be between",
        ),
        (
            json!({"vlanId": "5"}),
            "failed to load netconf: vlanId: expected an integer, got string",
        ),
        (
            json!({"mtu": 1501}),
            "invalid MTU 1501, must be [0, master MTU(1500)]",
        ),
        (
            json!({"mtu": -1}),
            "invalid MTU -1, must be [0, master MTU(1500)]",
        ),
        (
            json!({"linkInContainer": "yes"}),
            "failed to load netconf: linkInContainer: expected",
        ),
        (json!({"ipam": null}), "no plugin name provided"),
        (json!({"ipam": {}}), "no plugin name provided"),
        (
            json!({"ipam": "x"}),
            "failed to load netconf: ipam: expected",
        ),
        (
            json!({"prevResult": []}),
            "failed to load netconf: prevResult: expected an object",
        ),
    ] {
        vlan()
            .add(&container, &dual(extra))
            .expect_error(999)
            .mentions(words);
    }
    before.assert_same(&host.snapshot());
    assert_eq!(leases("net"), [""; 0]);
}

/// The kernel has one link for each VLAN of a master.
#[test]
fn a_vlan_that_is_taken() {
    let (host, _router) = host();
    let (first, second) = (host.container("c1"), host.container("c2"));
    vlan().add(&first, &ipv4(json!({}))).expect_ok();
    let before = host.snapshot();
    vlan()
        .add(&second, &ipv4(json!({})))
        .expect_error(999)
        .mentions("failed to create vlan: file exists")
        .mentions("VLAN device already exists");
    before.assert_same(&host.snapshot());
    first.ping("10.1.0.1");
}

#[test]
fn an_interface_that_exists() {
    let (host, _router) = host();
    let container = host.container("c1");
    vlan().add(&container, &ipv4(json!({}))).expect_ok();
    let before = host.snapshot();
    vlan()
        .add(&container, &ipv4(json!({"vlanId": 6})))
        .expect_error(999)
        .mentions("file exists; container interface \"eth0\" already exists in /run/netns/c1");
    before.assert_same(&host.snapshot());
    assert_eq!(container.link_names(), ["eth0", "lo"]);
}

#[test]
fn a_master_that_has_no_vlans() {
    let (host, _router) = host();
    let container = host.container("c1");
    vlan()
        .add(&container, &ipv4(json!({"master": "lo"})))
        .expect_error(999)
        .mentions("failed to create vlan: operation not supported");
}

/// Programs compare `msg` with upstream's; what we add is in `details`.
#[test]
fn messages_are_upstreams() {
    let host = testkit::Host::new();
    let container = host.container("c1");
    for (extra, msg) in [
        (
            json!({"vlanId": 4095}),
            "invalid VLAN ID 4095 (must be between 0 and 4095 inclusive)",
        ),
        (json!({"ipam": {}}), "no plugin name provided"),
    ] {
        let error = vlan().add(&container, &dual(extra)).expect_error(999);
        assert_eq!(error.msg, msg);
        assert_ne!(error.details, "");
    }
}
