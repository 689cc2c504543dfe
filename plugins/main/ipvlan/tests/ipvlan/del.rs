//! DEL and GC find everything gone already, and always reach IPAM.

use crate::common::{host, ipv4, ipvlan};
use serde_json::json;
use testkit::{del_from_anywhere, leases};

#[test]
fn from_anywhere() {
    let broken = [
        json!({"mode": "nonsense"}),
        json!({"mtu": []}),
        json!({"master": "gone"}),
        // Neither a default route nor a single interface before.
        json!({"master": null}),
        json!({"master": null, "prevResult": {"interfaces": [{"name": "a"}, {"name": "b"}]}}),
        json!({"prevResult": "nonsense"}),
    ]
    .map(ipv4);
    del_from_anywhere(&ipvlan(), &ipv4(json!({})), &broken, host);
}

#[test]
fn collecting_releases_what_nobody_holds() {
    let (host, _router) = host();
    let lost = host.container("lost");
    ipvlan().add(&lost, &ipv4(json!({}))).expect_ok();
    lost.delete();
    let mut config = ipv4(json!({}));
    ipvlan().gc(&config).expect_ok();
    assert_eq!(leases("net"), ["10.1.0.10"]);
    config["cni.dev/valid-attachments"] = json!([]);
    ipvlan().gc(&config).expect_ok();
    assert_eq!(leases("net"), [""; 0]);
}
