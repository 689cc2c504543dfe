//! Interoperability with upstream: what one implementation added, the other checks and
//! deletes.

use crate::common::{attached, attribute, config, ip, prev, tuning};
use serde_json::{Value, json};
use std::fs;
use testkit::{Node, Plugin, merge};

/// Configurations that the installed release of upstream supports.
fn configs() -> Vec<Value> {
    let base = |extra: Value| {
        let base = json!({"cniVersion": "1.0.0", "prevResult": prev("1.0.0")});
        config(merge(base, &extra))
    };
    vec![
        base(json!({"mac": "02:00:00:00:00:0a", "mtu": 1400, "promisc": true, "allmulti": true})),
        base(json!({"runtimeConfig": {"mac": "02:00:00:00:00:0b"}, "allmulti": false})),
        base(
            json!({"mtu": 1400, "sysctl": {"net.core.somaxconn": "500", "net/ipv4/ip_forward": "1"}}),
        ),
        base(
            json!({"sysctl": {"net.ipv4.conf.eth0.arp_filter": "1"}, "args": {"cni": {"mtu": 1300}}}),
        ),
    ]
}

/// ADD by one, CHECK and DEL by the other. Returns the result, the state after ADD and the
/// state after DEL.
fn added_by(adder: &Plugin, other: &Plugin, config: &Value) -> (Value, Value, Value) {
    let (_host, container) = attached();
    let run = adder.add(&container, config).expect_ok();
    other.check(&container, &run.with_prev()).expect_ok();
    let link = container.link("eth0").unwrap();
    for deleter in [other, adder] {
        deleter.del(&container, &run.with_prev()).expect_ok();
        assert!(!fs::exists("/run/cni/tuning/c1_eth0.json").unwrap());
    }
    let mut result = run.json();
    if result["dns"] == json!({}) {
        result.as_object_mut().unwrap().remove("dns");
    }
    let strip = |mut link: Value| {
        link.as_object_mut()
            .unwrap()
            .retain(|key, _| !key.contains("index"));
        link
    };
    (result, strip(link), strip(container.link("eth0").unwrap()))
}

#[test]
fn each_implementation_restores_the_others_changes() {
    let peer = Plugin::peer("tuning");
    for config in configs() {
        let ours = added_by(&tuning(), &peer, &config);
        let theirs = added_by(&peer, &tuning(), &config);
        assert_eq!(ours, theirs, "{config}");
        assert_eq!(ours.2["mtu"], 1500);
        assert_eq!(ours.2["address"], crate::common::MAC);
    }
}

/// ADD of one implementation keeps the backup of the other.
#[test]
fn add_after_an_add_of_upstream() {
    let peer = Plugin::peer("tuning");
    let (_host, container) = attached();
    let config = &configs()[0];
    peer.add(&container, config).expect_ok();
    tuning().add(&container, config).expect_ok();
    tuning().del(&container, config).expect_ok();
    assert_eq!(attribute(&container, "mtu"), 1500);
    assert_eq!(attribute(&container, "address"), crate::common::MAC);
    ip(&container, "link show eth0");
}

/// Errors have upstream's text.
#[test]
fn the_same_messages() {
    let peer = Plugin::peer("tuning");
    for extra in [
        json!({"sysctl": {"kernel.hostname": "x"}}),
        json!({"mtu": 1400, "prevResult": null}),
    ] {
        let (_host, container) = attached();
        let config = merge(configs()[0].clone(), &extra);
        let words = |run: testkit::Run| {
            let text = run.expect_error(999).msg;
            // The installed release quotes the key as it is written.
            text.split('"').next().unwrap_or_default().to_owned()
        };
        let ours = words(tuning().add(&container, &config));
        let theirs = words(peer.add(&container, &config));
        assert_eq!(ours, theirs);
    }
}
