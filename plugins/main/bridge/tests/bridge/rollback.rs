//! A failing ADD leaves host and container as they were, whichever step fails.

use crate::common::{
    assert_restored, bridge, call, dual, give_address, ipv4, layer2, scripted, used_host,
};
use serde_json::{Value, json};
use testkit::{Host, Node, ScriptedIpam, fail_each_request_of_first, state};

/// Makes each request to the kernel fail in turn, on a host on which `prepare` may create
/// the bridge.
#[track_caller]
pub(crate) fn fails_without_a_trace(config: &Value, prepare: impl Fn(&Host)) {
    let host = used_host(&dual(json!({})));
    prepare(&host);
    let container = host.container("c1");
    fail_each_request_of_first(&host, || {
        let add = bridge().command("ADD").container(&container);
        add.config(config)
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
        host.ip("link add cni0 type bridge");
    });
    // There is nothing to change but that.
    fails_without_a_trace(&ipv4(json!({})), |host| {
        host.ip("link add cni0 type bridge");
        host.set_sysctl("net/ipv6/conf/cni0/accept_ra", "0");
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
        // It is to live as long as the host.
        std::mem::forget(neighbour);
    });
}

#[test]
fn each_request_with_addresses_to_replace() {
    fails_without_a_trace(&everything(), |host| {
        host.ip("link add cni0 up type bridge");
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
        host.ip("link add cni0 up type bridge");
        host.set_sysctl("net/ipv6/conf/cni0/accept_ra", "0");
    });
    // Of an operator.
    fails_without_a_trace(&config, |host| {
        host.ip("link add cni0 type bridge");
        host.ip("link set cni0 promisc on");
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

/// ADD fails with a scripted IPAM plugin, and leaves nothing. Returns the verbs that IPAM
/// was called with.
#[track_caller]
fn fails_with_ipam(on_add: &str, code: u64, words: &str) -> Vec<String> {
    let host = Host::new();
    let ipam = ScriptedIpam::new(&host, on_add);
    let container = host.container("c1");
    let before = host.snapshot();
    let config = scripted(json!({"isGateway": true}));
    call(&ipam, "ADD", &container, &config)
        .expect_error(code)
        .mentions(words);
    before.assert_same(&host.snapshot());
    ipam.calls()
}

#[test]
fn ipam_that_fails() {
    // Nothing is released: it may be the lease of another attachment.
    let error = r#"echo '{"code": 11, "msg": "no address", "details": "later"}'; exit 1"#;
    assert_eq!(fails_with_ipam(error, 11, "no address; later"), ["ADD"]);
    assert_eq!(
        fails_with_ipam(
            "exit 3",
            0,
            "netplugin failed with no error message: exit status 3"
        ),
        ["ADD"]
    );
    assert_eq!(
        fails_with_ipam("echo oops >&2; exit 1", 0, "netplugin failed: \"oops\\n\""),
        ["ADD"]
    );
}

#[test]
fn ipam_that_hands_out_no_address() {
    let empty = r#"echo '{"cniVersion": "1.1.0", "ips": []}'"#;
    let words = "IPAM plugin returned missing IP config";
    assert_eq!(fails_with_ipam(empty, 999, words), ["ADD", "DEL"]);
}

#[test]
fn ipam_with_an_invalid_result() {
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
        assert_eq!(
            fails_with_ipam(answer, 999, words),
            ["ADD", "DEL"],
            "{answer}"
        );
    }
}

#[test]
fn ipam_that_hands_out_an_address_twice() {
    let twice = r#"echo '{"cniVersion": "1.1.0",
        "ips": [{"address": "10.3.0.9/24"}, {"address": "10.3.0.9/24"}]}'"#;
    let words = "failed to add IP addr 10.3.0.9/24 to \"eth0\": file exists";
    assert_eq!(fails_with_ipam(twice, 999, words), ["ADD", "DEL"]);
}

#[test]
fn forwarding_that_cannot_be_enabled() {
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
    // If it is enabled already, nothing is written.
    host.unmount("/proc/sys");
    host.set_sysctl("net/ipv4/ip_forward", "1");
    host.make_read_only("/proc/sys");
    bridge().add(&container, &config).expect_ok();
}

#[test]
fn a_failed_add_does_not_enable_forwarding() {
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
fn add_succeeds_after_a_failed_add() {
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
