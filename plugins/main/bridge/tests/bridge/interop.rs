//! Beside the peer's binaries: what one has added, the other checks and deletes.

use crate::common::{bridge, dual, leases};
use serde_json::{Value, json};
use testkit::{Host, Node, Plugin};

/// The versions with CHECK that the peer speaks.
const VERSIONS: [&str; 2] = ["0.4.0", "1.0.0"];

fn config(version: &str) -> Value {
    let mut config = dual(json!({
        "cniVersion": version, "isDefaultGateway": true, "mtu": 1400, "hairpinMode": true,
        "dns": {"nameservers": ["10.1.0.1"]},
    }));
    config["ipam"]["routes"] = json!([
        // The peer's CHECK does not find routes that got their next hop from ADD.
        {"dst": "10.50.0.0/16", "gw": "10.1.0.1"}, {"dst": "fd00:50::/32", "gw": "fd00:1::1"},
    ]);
    config
}

#[track_caller]
fn handed_over(from: &Plugin, to: &Plugin) {
    for version in VERSIONS {
        let host = Host::new();
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let config = config(version);
        let run = from.add(&c1, &config).expect_ok();
        // Both at work on one bridge.
        let other = to.add(&c2, &config).expect_ok();
        c2.ping("10.1.0.1");
        for plugin in [to, from, to] {
            plugin.check(&c1, &run.with_prev()).expect_ok();
            plugin.check(&c2, &other.with_prev()).expect_ok();
        }
        to.del(&c1, &run.with_prev()).expect_ok();
        from.del(&c2, &other.with_prev()).expect_ok();
        assert_eq!(leases(), [""; 0]);
        assert_eq!(host.link_names(), ["cni0", "lo"]);
    }
}

#[test]
fn from_the_peer_to_us() {
    handed_over(&Plugin::peer("bridge"), &bridge());
}

#[test]
fn from_us_to_the_peer() {
    handed_over(&bridge(), &Plugin::peer("bridge"));
}

/// A result without what differs from one ADD to the next.
fn comparable(mut result: Value) -> Value {
    for interface in result["interfaces"].as_array_mut().into_iter().flatten() {
        interface.as_object_mut().unwrap().remove("mac");
        if interface["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("veth"))
        {
            interface["name"] = "veth".into();
        }
    }
    result
}

#[test]
fn the_kernel_is_left_in_the_same_state() {
    let state_after = |plugin: &Plugin| {
        let host = Host::new();
        let container = host.container("c1");
        let mut config = config("1.0.0");
        config["runtimeConfig"] = json!({"mac": "02:00:00:00:00:07"});
        let result = plugin.add(&container, &config).expect_ok().json();
        let snapshot = host.snapshot();
        let mut lines = Vec::new();
        for heading in [
            "c1 link",
            "c1 address",
            "c1 route -4",
            "c1 route -6",
            "host address",
            "host route -4",
        ] {
            lines.extend(snapshot.lines(heading).into_iter().map(String::from));
        }
        // Ours do without duplicate address detection on the bridge; the peer's release
        // made queues without length.
        for difference in ["nodad=true ", "txqlen=1000 "] {
            lines
                .iter_mut()
                .for_each(|line| *line = line.replace(difference, ""));
        }
        (comparable(result), lines)
    };
    assert_eq!(state_after(&bridge()), state_after(&Plugin::peer("bridge")));
}
