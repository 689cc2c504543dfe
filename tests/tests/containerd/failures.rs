//! Pods that cannot be attached.

use std::fs;

use serde_json::json;
use testkit::bin_dir;
use testkit::runtime::use_plugins;

use crate::pods::{Pods, list, pod};

/// containerd deletes what the plugins before the failing one have made.
#[track_caller]
fn a_late_failure_leaves_nothing(backend: &str) {
    let good = list("1.0.0", backend);
    let pods = Pods::new(&good);
    let mut bad = good.clone();
    bad["plugins"][4]["sysctl"] = json!({"net.ipv4.conf.eth0.no_such_key": "1"});
    pods.set_network(&bad);
    let why = pods.refusal(pod("web-0", 8080));
    assert!(why.contains("no_such_key"), "{why}");
    assert!(pods.cri.sandboxes().unwrap().is_empty());
    pods.assert_nothing_left();

    // Kubelet goes on trying, here until the network is right.
    pods.set_network(&good);
    let web = pods.run(pod("web-0", 8080));
    pods.assert_connected(&web, 8080);
    pods.end(&web);
    pods.assert_nothing_left();
}

#[test]
fn a_late_failure_leaves_nothing_in_iptables() {
    a_late_failure_leaves_nothing("iptables");
}

#[test]
fn a_late_failure_leaves_nothing_in_nftables() {
    a_late_failure_leaves_nothing("nftables");
}

#[test]
fn a_full_range_is_named_and_recovers() {
    let mut network = list("1.0.0", "iptables");
    network["plugins"][0]["ipam"]["ranges"] = json!([
        [{"subnet": "10.9.0.0/24", "rangeStart": "10.9.0.10", "rangeEnd": "10.9.0.11"}],
        [{"subnet": "fd00:9::/64"}],
    ]);
    let pods = Pods::new(&network);
    let one = pods.run(pod("one", 8081));
    let two = pods.run(pod("two", 8082));
    let full = pods.state();
    for _ in 0..2 {
        let why = pods.refusal(pod("three", 8083));
        let text = "no IP addresses available in range set: 10.9.0.10-10.9.0.11";
        assert!(why.contains(text), "{why}");
        pods.assert_back(&full);
    }
    // An address is free when a pod is stopped; it need not be removed.
    pods.cri.stop(&one.id).unwrap();
    let three = pods.run(pod("three", 8083));
    assert_eq!(three.addresses[0], one.addresses[0]);
    assert_ne!(three.addresses[1], two.addresses[1]);
    pods.assert_connected(&three, 8083);
    for one in [&one, &two, &three] {
        pods.end(one);
    }
    pods.assert_nothing_left();
}

/// The directory of the plugins is empty for a time, as while a package is replaced.
#[test]
fn pods_end_when_their_plugins_are_back() {
    let pods = Pods::new(&list("1.0.0", "iptables"));
    let web = pods.run(pod("web-0", 8080));
    let empty = pods.host.dir().join("empty");
    fs::create_dir(&empty).unwrap();
    use_plugins(&pods.host, &empty);
    let why = pods.refusal(pod("web-1", 8081));
    assert!(why.contains("failed to find plugin"), "{why}");
    pods.cri.stop(&web.id).unwrap_err();
    use_plugins(&pods.host, &bin_dir());
    pods.assert_whole(&web);
    pods.assert_connected(&web, 8080);
    pods.end(&web);
    // containerd keeps a sandbox that it could not clean up, for kubelet to stop.
    for sandbox in pods.cri.sandboxes().unwrap() {
        pods.cri.stop(&sandbox.id).unwrap();
        pods.cri.remove(&sandbox.id).unwrap();
    }
    pods.assert_nothing_left();
}

/// The second plugin refuses a mapping: what the first has made goes.
#[test]
fn an_invalid_mapping_leaves_nothing() {
    let pods = Pods::new(&list("1.0.0", "iptables"));
    let mut wrong = pod("web-0", 8080);
    wrong.port_mappings[0].host_ip = "192.0.2.300".into();
    let why = pods.refusal(wrong);
    assert!(why.contains("192.0.2.300"), "{why}");
    pods.assert_nothing_left();
}
