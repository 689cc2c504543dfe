//! What one implementation added, the other checks and deletes.

use crate::common::{attribute, dual, host, layer2, macvlan};
use serde_json::{Value, json};
use testkit::{Node, Plugin, leases};

/// What the peer, an older release, understands.
fn configs() -> Vec<Value> {
    let mut configs = Vec::new();
    for version in ["0.4.0", "1.0.0"] {
        let mac = json!({"mac": "02:00:00:00:00:0a"});
        configs.push(dual(
            json!({"cniVersion": version, "mtu": 1400, "runtimeConfig": mac}),
        ));
        configs.push(dual(json!({"cniVersion": version, "mode": "passthru"})));
        configs.push(layer2(
            json!({"cniVersion": version, "mode": "vepa", "runtimeConfig": mac}),
        ));
    }
    configs
}

/// ADD by one, CHECK and DEL by the other; what ADD printed, and what it made.
fn added_by(adder: &Plugin, other: &Plugin, config: &Value) -> (Value, Value) {
    let (host, _router) = host();
    let container = host.container("c1");
    let run = adder.add(&container, config).expect_ok();
    other.check(&container, &run.with_prev()).expect_ok();
    let mut link = json!({});
    // Not the length of the transmit queue, which the peer, an older release, makes 0.
    for pointer in ["/mtu", "/linkinfo", "/flags"] {
        link[pointer] = attribute(&container, "eth0", pointer);
    }
    let mut result = run.json();
    if result["dns"] == json!({}) {
        // The newest release has none, as its specification.
        result.as_object_mut().expect("an object").remove("dns");
    }
    if config["mode"] == "passthru" {
        result["interfaces"][0]["mac"] = json!("the master's");
    }
    for deleter in [other, adder] {
        deleter.del(&container, &run.with_prev()).expect_ok();
        assert_eq!(container.link_names(), ["lo"]);
        assert_eq!(leases("net"), [""; 0]);
    }
    (result, link)
}

#[test]
fn either_way_round() {
    let peer = Plugin::peer("macvlan");
    for config in configs() {
        let ours = added_by(&macvlan(), &peer, &config);
        let theirs = added_by(&peer, &macvlan(), &config);
        assert_eq!(ours, theirs);
    }
}

#[test]
fn side_by_side() {
    let peer = Plugin::peer("macvlan");
    let (host, _router) = host();
    let (a, b) = (host.container("a"), host.container("b"));
    let config = dual(json!({"cniVersion": "1.0.0"}));
    macvlan().add(&a, &config).expect_ok();
    peer.add(&b, &config).expect_ok();
    a.ping("10.1.0.11");
    b.ping("fd00:1::10");
}
