//! What cannot be meant is refused before anything is changed.

use crate::common::{dual, host, layer2, macvlan};
use serde_json::{Value, json};
use testkit::{Node, leases};

#[track_caller]
fn refused(config: &Value, words: &str) {
    let (host, _router) = host();
    let container = host.container("c1");
    let before = host.snapshot();
    macvlan()
        .add(&container, config)
        .expect_error(999)
        .mentions(words);
    before.assert_same(&host.snapshot());
    assert_eq!(leases("net"), [""; 0]);
}

#[test]
fn values() {
    for (extra, words) in [
        (
            json!({"mode": "source"}),
            "unknown macvlan mode: \"source\"",
        ),
        (
            json!({"mode": "Bridge"}),
            "unknown macvlan mode: \"Bridge\"",
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
            json!({"mtu": 5_000_000_000_u64}),
            "invalid MTU 5000000000, must be",
        ),
        (
            json!({"master": "nosuch"}),
            "failed to lookup master \"nosuch\": Link not found",
        ),
        (
            json!({"mac": "02:00:00"}),
            "invalid args 02:00:00 for MAC addr: address 02:00:00: invalid MAC address",
        ),
        (
            json!({"runtimeConfig": {"mac": "x"}}),
            "address x: invalid MAC address",
        ),
        (
            json!({"mac": "01:00:5e:00:00:01"}),
            "it is a multicast address",
        ),
    ] {
        refused(&dual(extra), words);
    }
}

#[test]
fn types() {
    for (extra, words) in [
        (
            json!({"master": 7}),
            "failed to load netconf: master: expected a string, got number",
        ),
        (
            json!({"mode": true}),
            "failed to load netconf: mode: expected a string, got bool",
        ),
        (
            json!({"mtu": "big"}),
            "failed to load netconf: mtu: expected an integer or \"auto\", got \"big\"",
        ),
        (
            json!({"linkInContainer": 1}),
            "failed to load netconf: linkInContainer: expected",
        ),
        (
            json!({"bcqueuelen": -1}),
            "failed to load netconf: bcqueuelen: -1 is out of range",
        ),
        (
            json!({"numQueues": "2"}),
            "failed to load netconf: numQueues: expected an integer, got string",
        ),
        (
            json!({"runtimeConfig": {"mac": []}}),
            "failed to load netconf: runtimeConfig.mac: expected a string",
        ),
        (json!({"dns": "x"}), "failed to load netconf: dns: expected"),
        (
            json!({"ipam": "x"}),
            "failed to load netconf: ipam: expected",
        ),
        (
            json!({"ipam": {"type": 7}}),
            "failed to load netconf: ipam.type: expected a string",
        ),
        (
            json!({"prevResult": 7}),
            "failed to load netconf: prevResult: expected an object",
        ),
    ] {
        refused(&layer2(extra), words);
    }
}

#[test]
fn keys_match_in_any_case_and_null_is_absent() {
    let (host, _router) = host();
    let container = host.container("c1");
    // The last spelling counts.
    let text = r#"{"cniVersion": "1.1.0", "name": "net", "type": "macvlan", "master": "x",
                   "MASTER": "m0", "mtu": null, "mode": null, "bcqueuelen": null, "mac": null}"#;
    let call = macvlan().command("ADD").container(&container).stdin(text);
    call.run().expect_ok();
}

#[test]
fn arguments() {
    let (host, _router) = host();
    let container = host.container("c1");
    let before = host.snapshot();
    for (args, words) in [
        ("K8S_POD_NAME=x", "ARGS: unknown args [\"K8S_POD_NAME=x\"]"),
        ("MAC", "ARGS: invalid pair \"MAC\""),
        ("MAC=zz", "address zz: invalid MAC address"),
        ("mac=02:00:00:00:00:0a", "ARGS: unknown args"),
    ] {
        let call = macvlan().command("ADD").container(&container).args(args);
        call.config(&layer2(json!({})))
            .run()
            .expect_error(999)
            .mentions(words);
    }
    before.assert_same(&host.snapshot());
}

#[test]
fn masters_that_the_kernel_refuses() {
    let (host, _router) = host();
    host.command(&["ip", "link", "add", "br0", "type", "bridge"]);
    host.command(&[
        "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1",
    ]);
    host.command(&["ip", "link", "set", "v0", "master", "br0"]);
    let container = host.container("c1");
    let before = host.snapshot();
    for (master, words) in [
        ("v0", "failed to create macvlan: device or resource busy"),
        ("lo", "failed to create macvlan: invalid argument"),
    ] {
        let config = dual(json!({"master": master}));
        macvlan()
            .add(&container, &config)
            .expect_error(999)
            .mentions(words);
    }
    before.assert_same(&host.snapshot());
}

#[test]
fn an_interface_that_exists() {
    let (host, _router) = host();
    let container = host.container("c1");
    macvlan().add(&container, &dual(json!({}))).expect_ok();
    let before = host.snapshot();
    for config in [dual(json!({})), layer2(json!({}))] {
        macvlan()
            .add(&container, &config)
            .expect_error(999)
            .mentions("file exists; container interface \"eth0\" already exists in /run/netns/c1");
    }
    before.assert_same(&host.snapshot());
    container.ping("10.1.0.1");
}

#[test]
fn a_mac_that_exists() {
    let (host, _router) = host();
    let mac = json!({"mac": "02:00:00:00:00:0a"});
    let first = host.container("c1");
    macvlan().add(&first, &layer2(mac.clone())).expect_ok();
    let other = host.container("c2");
    let before = testkit::state(&host);
    for config in [layer2(mac.clone()), dual(mac)] {
        macvlan()
            .add(&other, &config)
            .expect_error(999)
            .mentions("address already in use");
    }
    // The first allocation of the network makes its directory.
    let diff = before.diff(&testkit::state(&host));
    assert!(!diff.contains("eth0"), "{diff}");
    assert_eq!(other.link_names(), ["lo"]);
    assert_eq!(leases("net"), [""; 0]);
}

#[test]
fn namespaces() {
    let (host, _router) = host();
    let call = |path: &str| {
        let call = macvlan().command("ADD").id("c1").ifname("eth0").netns(path);
        call.config(&layer2(json!({}))).run()
    };
    call("/run/netns/gone")
        .expect_error(999)
        .mentions("failed to open netns \"/run/netns/gone\"");
    let file = host.write("file", "");
    call(file.to_str().unwrap())
        .expect_error(999)
        .mentions("unknown FS magic");
}

/// Programs compare `msg` with upstream's; what we add is in `details`.
#[test]
fn messages_are_upstreams() {
    let (host, _router) = host();
    let container = host.container("c1");
    for (extra, msg) in [
        (json!({"mode": "l2"}), "unknown macvlan mode: \"l2\""),
        (json!({"master": ""}), "no default route interface found"),
        (
            json!({"mac": "01:00:5e:00:00:01"}),
            "invalid args 01:00:5e:00:00:01 for MAC addr: address 01:00:5e:00:00:01: invalid MAC address",
        ),
    ] {
        let error = macvlan().add(&container, &dual(extra)).expect_error(999);
        assert_eq!(error.msg, msg);
        assert_ne!(error.details, "");
    }
}
