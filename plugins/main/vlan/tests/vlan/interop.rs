//! What one implementation added, the other checks and deletes.

use crate::common::{attribute, dual, host, vlan};
use serde_json::{Value, json};
use testkit::{Node, Plugin, leases};

/// ADD by one, CHECK and DEL by the other; what ADD printed, and what it made.
fn added_by(adder: &Plugin, other: &Plugin, config: &Value) -> (Value, Value) {
    let (host, _router) = host();
    // The master's address is the interface's.
    host.command(&["ip", "link", "set", "m0", "address", "02:00:00:00:00:0a"]);
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
    for deleter in [other, adder] {
        deleter.del(&container, &run.with_prev()).expect_ok();
        assert_eq!(container.link_names(), ["lo"]);
        assert_eq!(leases("net"), [""; 0]);
    }
    (result, link)
}

#[test]
fn either_way_round() {
    let peer = Plugin::peer("vlan");
    for version in ["0.4.0", "1.0.0"] {
        for extra in [json!({"mtu": 1400}), json!({"vlanId": 0})] {
            let mut config = dual(extra);
            config["cniVersion"] = version.into();
            let ours = added_by(&vlan(), &peer, &config);
            let theirs = added_by(&peer, &vlan(), &config);
            assert_eq!(ours, theirs);
        }
    }
}
