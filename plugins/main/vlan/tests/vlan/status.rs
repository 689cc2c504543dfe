//! STATUS says whether an ADD could succeed, and changes nothing.

use crate::common::{dual, host, vlan};
use serde_json::json;
use testkit::ScriptedIpam;

#[test]
fn ready_and_not_ready() {
    let (host, _router) = host();
    let before = host.snapshot();
    vlan().status(&dual(json!({}))).expect_ok();
    for (extra, code, words) in [
        (
            json!({"master": "gone"}),
            50,
            "failed to lookup master \"gone\": Link not found",
        ),
        (
            json!({"mtu": 9000}),
            50,
            "invalid MTU 9000, must be [0, master MTU(1500)]",
        ),
        (json!({"vlanId": 5000}), 999, "invalid VLAN ID 5000"),
        (json!({"ipam": null}), 999, "no plugin name provided"),
    ] {
        vlan()
            .status(&dual(extra))
            .expect_error(code)
            .mentions(words);
    }
    before.assert_same(&host.snapshot());
    let ipam = ScriptedIpam::new(&host, "");
    let config = dual(json!({"ipam": {"type": "scripted"}}));
    ipam.command(&vlan(), "STATUS")
        .config(&config)
        .run()
        .expect_ok();
    assert_eq!(ipam.calls(), ["STATUS"]);
}
