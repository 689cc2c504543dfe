//! DEL and GC find everything gone already, and always reach IPAM.

use crate::common::{host, ipv4, vlan};
use serde_json::json;
use testkit::{Node, del_from_anywhere, leases, merge};

#[test]
fn from_anywhere() {
    let broken = [
        json!({"vlanId": 7777}),
        json!({"vlanId": "x"}),
        json!({"mtu": 9000}),
        json!({"master": "gone"}),
        json!({"master": null}),
        json!({"prevResult": "nonsense"}),
    ]
    .map(ipv4);
    del_from_anywhere(&vlan(), &ipv4(json!({})), &broken, host);
}

#[test]
fn there_is_nothing_to_release() {
    let (host, _router) = host();
    let container = host.container("c1");
    vlan().add(&container, &ipv4(json!({}))).expect_ok();
    let without = merge(ipv4(json!({})), &json!({"ipam": null}));
    vlan().del(&container, &without).expect_ok();
    assert_eq!(container.link_names(), ["lo"]);
}

#[test]
fn collecting_releases_what_nobody_holds() {
    let (host, _router) = host();
    let lost = host.container("lost");
    vlan().add(&lost, &ipv4(json!({}))).expect_ok();
    lost.delete();
    let mut config = ipv4(json!({}));
    vlan().gc(&config).expect_ok();
    assert_eq!(leases("net"), ["10.1.0.10"]);
    config["cni.dev/valid-attachments"] = json!([]);
    vlan().gc(&config).expect_ok();
    assert_eq!(leases("net"), [""; 0]);
}
