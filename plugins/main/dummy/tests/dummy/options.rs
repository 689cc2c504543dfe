//! What ADD makes, and what it refuses.

use crate::common::{dual, dummy, host};
use serde_json::json;
use testkit::{Node, leases, run_all, single_interface_in_every_version};

#[test]
fn every_version() {
    let host = host();
    // The name service is the IPAM plugin's.
    let resolv = host.write("resolv.conf", "nameserver 10.1.0.53\nsearch example.org\n");
    let mut config = dual(json!({}));
    config["ipam"]["resolvConf"] = resolv.to_str().unwrap().into();
    single_interface_in_every_version(&host, &dummy(), &config);
}

#[test]
fn an_interface_that_leads_nowhere() {
    let host = host();
    let container = host.container("c1");
    let config = dual(json!({"dns": {"nameservers": ["192.0.2.1"]}}));
    let run = dummy().add(&container, &config).expect_ok();
    assert!(run.json()["dns"].is_null());
    let link = container.link("eth0").unwrap();
    assert_eq!(link["linkinfo"]["info_kind"], "dummy");
    assert!(link["flags"].as_array().unwrap().contains(&json!("UP")));
    assert_eq!(
        container.addresses("eth0"),
        ["10.1.0.10/24", "fd00:1::10/64"]
    );
    assert_eq!(container.routes("-4"), ["default via 10.1.0.1 dev eth0"]);
    container.command(&["ip", "link", "set", "lo", "up"]);
    container.ping("10.1.0.10");
    container.ping("fd00:1::10");
    assert_eq!(host.link_names(), ["lo"]);
}

/// Upstream has no such key, and a configuration may have it for another plugin.
#[test]
fn keys_of_others_are_ignored() {
    let host = host();
    let container = host.container("c1");
    let config = dual(json!({"mtu": 9000, "mac": "02:00:00:00:00:0a", "master": "gone"}));
    dummy().add(&container, &config).expect_ok();
    let link = container.link("eth0").unwrap();
    assert_eq!(link["mtu"], 1500);
    assert_ne!(link["address"], "02:00:00:00:00:0a");
}

#[test]
fn further_keys_of_the_link() {
    let host = host();
    let container = host.container("c1");
    let config =
        dual(json!({"txQueueLen": 77, "numQueues": 3, "gsoMaxSize": 30000, "groMaxSize": 20000}));
    let run = dummy().add(&container, &config).expect_ok();
    let link = container.link("eth0").unwrap();
    for (key, value) in [
        ("txqlen", 77),
        ("num_tx_queues", 3),
        ("gso_max_size", 30000),
        ("gro_max_size", 20000),
    ] {
        assert_eq!(link[key], value, "{key}");
    }
    dummy().check(&container, &run.with_prev()).expect_ok();
}

#[test]
fn many_at_once() {
    let host = host();
    // A link of the host's is no obstacle.
    host.command(&["ip", "link", "add", "eth0", "type", "dummy"]);
    let containers: Vec<_> = (0..6).map(|n| host.container(&format!("c{n}"))).collect();
    let config = dual(json!({}));
    let add = |c| dummy().command("ADD").container(c).config(&config);
    for run in run_all(containers.iter().map(add)) {
        run.expect_ok();
    }
    assert_eq!(leases("net").len(), 12);
    assert_eq!(host.link_names(), ["eth0", "lo"]);
}

#[test]
fn what_cannot_be_meant() {
    let host = host();
    let container = host.container("c1");
    let before = host.snapshot();
    for (extra, words) in [
        (
            json!({"ipam": null}),
            "dummy interface requires an IPAM configuration",
        ),
        (
            json!({"ipam": {}}),
            "dummy interface requires an IPAM configuration",
        ),
        (
            json!({"ipam": {"type": ""}}),
            "dummy interface requires an IPAM configuration",
        ),
        (
            json!({"ipam": 7}),
            "failed to parse network config: ipam: expected",
        ),
        (
            json!({"dns": 7}),
            "failed to parse network config: dns: expected",
        ),
        (
            json!({"prevResult": 7}),
            "failed to parse network config: prevResult: expected an object",
        ),
        (
            json!({"txQueueLen": -1}),
            "failed to parse network config: txQueueLen: -1 is out of range",
        ),
        (
            json!({"numQueues": 5000}),
            "failed to create dummy: invalid argument",
        ),
    ] {
        dummy()
            .add(&container, &dual(extra))
            .expect_error(999)
            .mentions(words);
    }
    before.assert_same(&host.snapshot());
}

#[test]
fn an_interface_that_exists() {
    let host = host();
    let container = host.container("c1");
    dummy().add(&container, &dual(json!({}))).expect_ok();
    let before = host.snapshot();
    dummy()
        .add(&container, &dual(json!({})))
        .expect_error(999)
        .mentions("failed to create dummy: file exists; container interface \"eth0\" already exists in /run/netns/c1");
    before.assert_same(&host.snapshot());
}
