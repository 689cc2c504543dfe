//! STATUS says whether an ADD could succeed, and changes nothing.

use crate::common::{dual, host, layer2, macvlan};
use serde_json::json;
use testkit::{Node, ScriptedIpam};

#[test]
fn ready() {
    let (host, _router) = host();
    let before = host.snapshot();
    for config in [
        dual(json!({})),
        layer2(json!({"mode": "private", "mtu": 1500})),
    ] {
        let run = macvlan().status(&config).expect_ok();
        assert_eq!((run.stdout_text(), run.stderr_text()), Default::default());
    }
    before.assert_same(&host.snapshot());
}

#[test]
fn not_ready() {
    let (host, _router) = host();
    host.command(&["ip", "link", "add", "br0", "type", "bridge"]);
    host.command(&[
        "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1",
    ]);
    host.command(&["ip", "link", "set", "v0", "master", "br0"]);
    for (extra, words) in [
        (
            json!({"master": "gone"}),
            "failed to lookup master \"gone\": Link not found",
        ),
        (
            json!({"master": "v0"}),
            "master \"v0\" is a port of a bridge",
        ),
        (
            json!({"master": "lo"}),
            "master \"lo\" is the loopback interface",
        ),
        (
            json!({"mtu": 9000}),
            "invalid MTU 9000, must be [0, master MTU(1500)]",
        ),
    ] {
        macvlan()
            .status(&layer2(extra))
            .expect_error(50)
            .mentions(words);
    }
    // In the container it may be there.
    let config = layer2(json!({"master": "gone", "linkInContainer": true}));
    macvlan().status(&config).expect_ok();
}

#[test]
fn what_could_never_be() {
    let (_host, _router) = host();
    macvlan()
        .status(&layer2(json!({"mode": "x"})))
        .expect_error(999)
        .mentions("unknown macvlan mode");
}

#[test]
fn ipam_is_asked() {
    let (host, _router) = host();
    let ipam = ScriptedIpam::new(&host, "");
    let config = layer2(json!({"ipam": {"type": "scripted"}}));
    ipam.command(&macvlan(), "STATUS")
        .config(&config)
        .run()
        .expect_ok();
    assert_eq!(ipam.calls(), ["STATUS"]);
    host.write(
        "scripted",
        "#!/bin/sh\necho '{\"code\": 51, \"msg\": \"half empty\"}'; exit 1\n",
    );
    let run = ipam.command(&macvlan(), "STATUS").config(&config).run();
    run.expect_error(51).mentions("half empty");
}
