//! A failing ADD leaves host and container exactly as they were, wherever it fails.

use crate::common::{dual, layer2, make_bridge, tap};
use serde_json::{Value, json};
use testkit::{Host, fail_each_request};

#[track_caller]
fn fails_without_a_trace(config: &Value, at_least: u32) {
    let host = Host::new();
    let container = host.container("c1");
    make_bridge(&container);
    let requests = fail_each_request(&host, || {
        let add = tap().command("ADD").container(&container);
        add.config(config)
    });
    assert!(requests >= at_least, "{requests}");
}

#[test]
fn each_request_to_the_kernel() {
    let keys = json!({"bridge": "br0", "mtu": 1400, "owner": 1, "mac": "02:00:00:00:00:09"});
    fails_without_a_trace(&dual(keys.clone()), 6);
    fails_without_a_trace(&layer2(keys), 2);
}

#[test]
fn ipam_fails() {
    let host = Host::new();
    let container = host.container("c1");
    let before = host.snapshot();
    for (ipam, words) in [
        (
            json!({"type": "no-such-plugin"}),
            "failed to find plugin \"no-such-plugin\"",
        ),
        (
            json!({"type": "static"}),
            "IPAM plugin returned missing IP config",
        ),
        (
            json!({"type": "static", "addresses": [{"address": "10.1.0.2/24"}],
                "routes": [{"dst": "10.9.0.0/16", "gw": "192.0.2.1"}]}),
            "failed to add route",
        ),
    ] {
        tap()
            .add(&container, &layer2(json!({"ipam": ipam})))
            .expect_error(999)
            .mentions(words);
        before.assert_same(&host.snapshot());
    }
}
