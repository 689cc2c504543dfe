//! STATUS says whether an ADD could succeed, and changes nothing.

use crate::common::{bare, dual, host, ipvlan};
use serde_json::json;
use testkit::{Node, ScriptedIpam};

#[test]
fn ready_and_not_ready() {
    let (host, _router) = host();
    host.command(&["ip", "link", "add", "br0", "type", "bridge"]);
    host.command(&[
        "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1",
    ]);
    host.command(&["ip", "link", "set", "v0", "master", "br0"]);
    let before = host.snapshot();
    ipvlan().status(&dual(json!({}))).expect_ok();
    // Which master it will be is for the plugin before it to say.
    ipvlan().status(&bare(json!({"master": null}))).expect_ok();
    for (extra, code, words) in [
        (
            json!({"master": "gone"}),
            50,
            "failed to lookup master \"gone\": Link not found",
        ),
        (
            json!({"master": "v0"}),
            50,
            "master \"v0\" is a port of a bridge",
        ),
        (
            json!({"master": "lo"}),
            50,
            "master \"lo\" is the loopback interface",
        ),
        (
            json!({"mtu": 9000}),
            50,
            "invalid MTU 9000, must be [0, master MTU(1500)]",
        ),
        (json!({"mode": "x"}), 999, "unknown ipvlan mode"),
    ] {
        ipvlan()
            .status(&dual(extra))
            .expect_error(code)
            .mentions(words);
    }
    before.assert_same(&host.snapshot());
    let ipam = ScriptedIpam::new(&host, "");
    let config = bare(json!({"ipam": {"type": "scripted"}}));
    ipam.command(&ipvlan(), "STATUS")
        .config(&config)
        .run()
        .expect_ok();
    assert_eq!(ipam.calls(), ["STATUS"]);
}
