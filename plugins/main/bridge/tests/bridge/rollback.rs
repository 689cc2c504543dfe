//! A failing ADD leaves host and container exactly as they were, wherever it fails.

use crate::common::{
    add, assert_restored, bridge, call, dual, give_address, ipam_calls, ipv4, layer2, script_ipam,
    script_result, state, used_host,
};
use serde_json::{Value, json};
use testkit::{Host, Node, fail_each_request_of_first};

/// Makes each request to the kernel fail in turn, on a host that `prepare` gives a bridge if there is to be one.
#[track_caller]
pub(crate) fn fails_without_a_trace(config: &Value, prepare: impl Fn(&Host)) {
    let host = used_host(&dual(json!({})));
    prepare(&host);
    let container = host.container("c1");
    fail_each_request_of_first(&host, || {
        call(&host, "ADD").container(&container).config(config)
    });
}

fn everything() -> Value {
    let mut config = dual(json!({
        "isDefaultGateway": true, "hairpinMode": true, "mtu": 1400, "forceAddress": true,
        "runtimeConfig": {"mac": "02:00:00:00:00:77"}, "portIsolation": true, "txQueueLen": 77,
    }));
    config["ipam"]["routes"] = json!([
        {"dst": "10.50.0.0/16", "mtu": 1300}, {"dst": "10.51.0.0/16", "table": 100},
        {"dst": "fd00:50::/32"},
    ]);
    config
}

#[test]
fn each_request_with_a_new_bridge() {
    fails_without_a_trace(&everything(), |_| {});
}

#[test]
fn each_request_with_a_bridge_that_is_down() {
    fails_without_a_trace(&everything(), |host| {
        host.command(&["ip", "link", "add", "cni0", "type", "bridge"]);
    });
}

#[test]
fn each_request_with_a_bridge_in_use() {
    fails_without_a_trace(&everything(), |host| {
        let network = dual(json!({
            "name": "other", "isGateway": true,
            "ipam": {"type": "host-local", "subnet": "10.9.0.0/24"},
        }));
        let neighbour = host.container("neighbour");
        bridge().add(&neighbour, &network).expect_ok();
        // Lives as long as the host.
        std::mem::forget(neighbour);
    });
}

#[test]
fn each_request_with_addresses_to_replace() {
    fails_without_a_trace(&everything(), |host| {
        host.command(&["ip", "link", "add", "cni0", "up", "type", "bridge"]);
        for address in ["10.9.0.1/24", "10.9.0.2/24", "fd00:1::7/64"] {
            give_address(host, address, "cni0");
        }
    });
}

#[test]
fn each_request_in_promiscuous_mode() {
    let config = ipv4(json!({"promiscMode": true}));
    fails_without_a_trace(&config, |_| {});
    fails_without_a_trace(&config, |host| {
        host.command(&["ip", "link", "add", "cni0", "up", "type", "bridge"]);
    });
}

#[test]
fn each_request_without_ipam() {
    fails_without_a_trace(&layer2(json!({"hairpinMode": true})), |_| {});
}

#[test]
fn each_request_with_duplicate_address_detection() {
    fails_without_a_trace(&dual(json!({"enabledad": true, "isGateway": true})), |_| {});
}

/// ADD with a scripted IPAM plugin that fails: the verbs it was called with.
#[track_caller]
fn ipam_fails(on_add: &str, code: u64, words: &str) -> Vec<String> {
    let host = Host::new();
    script_ipam(&host, "scripted", on_add);
    let container = host.container("c1");
    let before = host.snapshot();
    let config = layer2(json!({"ipam": {"type": "scripted"}, "isGateway": true}));
    add(&host, &container, &config)
        .expect_error(code)
        .mentions(words);
    before.assert_same(&host.snapshot());
    ipam_calls(&host, "scripted")
}

#[test]
fn ipam_refuses() {
    // What it did not hand out is not released: it may be another attachment's.
    let error = r#"echo '{"code": 11, "msg": "no address", "details": "later"}'; exit 1"#;
    assert_eq!(ipam_fails(error, 11, "no address; later"), ["ADD"]);
    assert_eq!(
        ipam_fails(
            "exit 3",
            0,
            "netplugin failed with no error message: exit status 3"
        ),
        ["ADD"]
    );
    assert_eq!(
        ipam_fails("echo oops >&2; exit 1", 0, "netplugin failed: \"oops\\n\""),
        ["ADD"]
    );
}

#[test]
fn ipam_hands_out_nothing() {
    let empty = r#"echo '{"cniVersion": "1.1.0", "ips": []}'"#;
    let words = "IPAM plugin returned missing IP config";
    assert_eq!(ipam_fails(empty, 999, words), ["ADD", "DEL"]);
}

#[test]
fn ipam_hands_out_what_nobody_understands() {
    for (answer, words) in [
        ("echo nonsense", "failed to unmarshal raw result"),
        ("true", "failed to unmarshal raw result"),
        (
            r#"echo '{"cniVersion": "1.1.0", "ips": [{"address": "x"}]}'"#,
            "invalid CIDR address: x",
        ),
        (
            r#"echo '{"cniVersion": "7.0.0"}'"#,
            "unsupported CNI result version \"7.0.0\"",
        ),
    ] {
        assert_eq!(ipam_fails(answer, 999, words), ["ADD", "DEL"], "{answer}");
    }
}

#[test]
fn ipam_hands_out_the_same_address_twice() {
    let twice = json!({
        "cniVersion": "1.1.0", "ips": [{"address": "10.3.0.9/24"}, {"address": "10.3.0.9/24"}],
    });
    let host = Host::new();
    script_result(&host, "scripted", &twice);
    let container = host.container("c1");
    let before = host.snapshot();
    let config = layer2(json!({"ipam": {"type": "scripted"}}));
    add(&host, &container, &config)
        .expect_error(999)
        .mentions("failed to add IP addr 10.3.0.9/24 to \"eth0\": file exists");
    before.assert_same(&host.snapshot());
}

#[test]
fn forwarding_cannot_be_switched_on() {
    let config = ipv4(json!({"isGateway": true}));
    let host = used_host(&config);
    let container = host.container("c1");
    host.set_sysctl("net/ipv4/ip_forward", "0");
    let before = state(&host);
    host.make_read_only("/proc/sys");
    bridge()
        .add(&container, &config)
        .expect_error(999)
        .mentions("failed to enable forwarding: cannot set net/ipv4/ip_forward to 1: read-only file system");
    assert_restored(&host, &before, "after the failure");
    // Where it is on already, nothing has to be written.
    host.unmount("/proc/sys");
    host.set_sysctl("net/ipv4/ip_forward", "1");
    host.make_read_only("/proc/sys");
    bridge().add(&container, &config).expect_ok();
}

#[test]
fn a_failed_add_does_not_touch_forwarding() {
    let mut config = ipv4(json!({"isGateway": true}));
    config["ipam"]["routes"] = json!([{"dst": "10.9.0.0/16", "gw": "192.0.2.1"}]);
    let host = Host::new();
    host.set_sysctl("net/ipv4/ip_forward", "0");
    bridge()
        .add(&host.container("c1"), &config)
        .expect_error(999);
    assert_eq!(host.sysctl("net/ipv4/ip_forward"), "0");
}

#[test]
fn the_same_container_can_be_added_after_a_failure() {
    let mut config = dual(json!({"isDefaultGateway": true}));
    let host = Host::new();
    let container = host.container("c1");
    config["ipam"]["routes"] = json!([{"dst": "10.9.0.0/16", "gw": "192.0.2.1"}]);
    bridge().add(&container, &config).expect_error(999);
    config["ipam"]["routes"] = json!([]);
    let run = bridge().add(&container, &config).expect_ok();
    bridge().check(&container, &run.with_prev()).expect_ok();
    container.ping("10.1.0.1");
}
