//! A failing ADD leaves host and container exactly as they were, wherever it fails.

use crate::common::{dual, host, ipv4, layer2, macvlan};
use serde_json::json;
use testkit::{Node, ScriptedIpam, fail_each_request};

#[test]
fn each_request_with_addresses() {
    let (host, _router) = host();
    let container = host.container("c1");
    let mut config = dual(json!({"mtu": 1400, "bcqueuelen": 100, "mac": "02:00:00:00:00:0a"}));
    config["ipam"]["routes"] = json!([
        {"dst": "0.0.0.0/0"}, {"dst": "10.51.0.0/16", "table": 100}, {"dst": "fd00:50::/32"},
    ]);
    let add = || {
        macvlan()
            .command("ADD")
            .container(&container)
            .config(&config)
    };
    // The link, two addresses, up, three routes.
    assert_eq!(fail_each_request(&host, add), 7);
}

#[test]
fn each_request_without_addresses() {
    let (host, _router) = host();
    let container = host.container("c1");
    let config = layer2(json!({}));
    let add = || {
        macvlan()
            .command("ADD")
            .container(&container)
            .config(&config)
    };
    assert_eq!(fail_each_request(&host, add), 1);
}

#[test]
fn each_request_in_passthru_mode() {
    let (host, _router) = host();
    let container = host.container("c1");
    let config = ipv4(json!({"mode": "passthru"}));
    let add = || {
        macvlan()
            .command("ADD")
            .container(&container)
            .config(&config)
    };
    assert_eq!(fail_each_request(&host, add), 3);
}

/// Where the host has the interface's name, older kernels make it a longer way.
#[test]
fn each_request_with_a_name_of_the_hosts() {
    let (host, _router) = host();
    host.command(&[
        "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "p0",
    ]);
    let container = host.container("c1");
    for config in [ipv4(json!({})), layer2(json!({}))] {
        let add = || {
            macvlan()
                .command("ADD")
                .container(&container)
                .config(&config)
        };
        fail_each_request(&host, add);
    }
}

/// ADD with an IPAM plugin that fails: the verbs it was called with.
#[track_caller]
fn ipam_fails(on_add: &str, code: u64, words: &str) -> Vec<String> {
    let (host, _router) = host();
    let ipam = ScriptedIpam::new(&host, on_add);
    let container = host.container("c1");
    // Its log of calls.
    host.write("calls", "");
    host.write("stdin", "");
    let before = host.snapshot().without("testkit");
    let config = layer2(json!({"ipam": {"type": "scripted"}}));
    let call = ipam
        .command(&macvlan(), "ADD")
        .container(&container)
        .config(&config);
    call.run().expect_error(code).mentions(words);
    before.assert_same(&host.snapshot().without("testkit"));
    assert_eq!(container.link_names(), ["lo"]);
    ipam.calls()
}

#[test]
fn ipam_refuses() {
    let error = r#"echo '{"code": 11, "msg": "no address", "details": "later"}'; exit 1"#;
    assert_eq!(ipam_fails(error, 11, "no address; later"), ["ADD"]);
}

#[test]
fn ipam_hands_out_nothing() {
    let empty = r#"echo '{"cniVersion": "1.1.0", "ips": []}'"#;
    let words = "IPAM plugin returned missing IP config";
    assert_eq!(ipam_fails(empty, 999, words), ["ADD", "DEL"]);
}

#[test]
fn ipam_hands_out_what_the_kernel_refuses() {
    let twice = r#"echo '{"cniVersion": "1.1.0", "ips": [{"address": "10.3.0.9/24"}, {"address": "10.3.0.9/24"}]}'"#;
    let words = "failed to add IP addr 10.3.0.9/24 to \"eth0\": file exists";
    assert_eq!(ipam_fails(twice, 999, words), ["ADD", "DEL"]);
    let route = r#"echo '{"cniVersion": "1.1.0", "ips": [{"address": "10.3.0.9/24"}],
        "routes": [{"dst": "10.9.0.0/16", "gw": "192.0.2.1"}]}'"#;
    assert_eq!(
        ipam_fails(route, 999, "network is unreachable"),
        ["ADD", "DEL"]
    );
}

/// Somebody else on the network has the address.
#[test]
fn a_duplicate_address() {
    let (host, router) = host();
    router.command(&["ip", "addr", "add", "fd00:1::10/64", "dev", "eth0", "nodad"]);
    let container = host.container("c1");
    let before = host.snapshot().without("/var/lib/cni");
    macvlan()
        .add(&container, &dual(json!({})))
        .expect_error(999)
        .mentions("failed to settle addresses for \"eth0\": link eth0 has address fd00:1::10 in DADFAILED state");
    before.assert_same(&host.snapshot().without("/var/lib/cni"));
    assert_eq!(testkit::leases("net"), [""; 0]);
}
