//! What one implementation added, the other checks and deletes.

use crate::common::{attached, config, prev, vrf};
use serde_json::{Value, json};
use testkit::{Node, Plugin};

fn old(extra: Value) -> Value {
    let mut config = config(extra);
    config["cniVersion"] = "1.0.0".into();
    config["prevResult"] = prev("1.0.0");
    config
}

#[test]
fn either_way_round() {
    let peer = Plugin::peer("vrf");
    for extra in [json!({}), json!({"table": 1001})] {
        let mut seen = Vec::new();
        for (adder, other) in [(&vrf(), &peer), (&peer, &vrf())] {
            let (_host, container) = attached();
            let run = adder.add(&container, &old(extra.clone())).expect_ok();
            let made = container.link("blue").unwrap();
            let mut result = run.json();
            result.as_object_mut().unwrap().remove("dns");
            seen.push((
                result,
                made["linkinfo"].clone(),
                container.addresses("eth0"),
            ));
            other.check(&container, &run.with_prev()).expect_ok();
            for deleter in [other, adder] {
                deleter.del(&container, &run.with_prev()).expect_ok();
                assert_eq!(container.link("eth0").unwrap()["master"], Value::Null);
            }
            // Only the implementation that created the VRF deletes it.
            assert_eq!(container.link("blue"), None);
        }
        assert_eq!(seen[0], seen[1]);
    }
}

/// Interfaces of both implementations in one VRF.
#[test]
fn side_by_side() {
    let peer = Plugin::peer("vrf");
    for (first, second) in [(&vrf(), &peer), (&peer, &vrf())] {
        let (_host, container) = attached();
        container.ip("link add net1 up type veth peer name net1p");
        let call = |plugin: &Plugin, verb: &str| {
            let call = plugin.command(verb).container(&container).ifname("net1");
            call.config(&old(json!({}))).run().expect_ok()
        };
        first.add(&container, &old(json!({}))).expect_ok();
        call(second, "ADD");
        assert_eq!(container.link("net1").unwrap()["master"], "blue");
        first.del(&container, &old(json!({}))).expect_ok();
        assert_eq!(container.link("net1").unwrap()["master"], "blue");
        call(second, "DEL");
        assert_eq!(container.link("net1").unwrap()["master"], Value::Null);
    }
}
