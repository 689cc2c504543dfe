//! A failing ADD with VLANs leaves host and container as they were.

use crate::common::{bridge, dual, layer2};
use crate::rollback::fails_without_a_trace;
use serde_json::{Value, json};
use testkit::{Node, needs};

fn everything() -> Value {
    dual(json!({
        "isDefaultGateway": true, "hairpinMode": true, "portIsolation": true, "vlan": 100,
        "vlanTrunk": [{"minID": 200, "maxID": 220}, {"id": 300}], "forceAddress": true,
    }))
}

#[test]
fn each_request_with_a_new_bridge() {
    needs(&["bridge-vlan-filtering"]);
    fails_without_a_trace(&everything(), |_| {});
}

/// ADD enables VLAN filtering, and its failure disables it.
#[test]
fn each_request_with_an_existing_bridge() {
    needs(&["bridge-vlan-filtering"]);
    fails_without_a_trace(&everything(), |host| {
        host.ip("link add cni0 type bridge vlan_default_pvid 7");
    });
}

#[test]
fn each_request_with_a_network_in_use() {
    needs(&["bridge-vlan-filtering"]);
    fails_without_a_trace(&everything(), |host| {
        let mut network = everything();
        network["name"] = "other".into();
        let neighbour = host.container("neighbour");
        bridge().add(&neighbour, &network).expect_ok();
        // It is to live as long as the host.
        std::mem::forget(neighbour);
    });
}

/// It is down, its port has no master, and it has other addresses.
#[test]
fn each_request_with_a_vlan_interface_to_change() {
    needs(&["bridge-vlan-filtering"]);
    fails_without_a_trace(&everything(), |host| {
        for command in [
            "link add cni0 up type bridge vlan_filtering 1",
            "link add gateway up type veth peer name cni0.100",
            "addr add 10.9.0.1/24 dev cni0.100",
            "addr add 10.9.0.2/24 dev cni0.100",
        ] {
            host.ip(command);
        }
    });
}

#[test]
fn each_request_without_ipam() {
    needs(&["bridge-vlan-filtering"]);
    let config = layer2(json!({"vlanTrunk": [{"minID": 2, "maxID": 4094}]}));
    fails_without_a_trace(&config, |_| {});
}
