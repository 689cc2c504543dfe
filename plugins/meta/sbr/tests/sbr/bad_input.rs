//! Invalid input is refused before anything is changed.

use crate::common::{assert_same, attached, call, config, sbr, state};
use serde_json::{Value, json};

#[track_caller]
fn refused(extra: Value, words: &str) {
    let (host, container) = attached();
    let before = state(&host, &container);
    let run = call(&sbr(), "ADD", &container, &config(extra));
    run.expect_error(999).mentions(words);
    assert_same(&before, &state(&host, &container));
}

#[test]
fn values_and_types() {
    for (extra, words) in [
        (
            json!({"table": 0}),
            "invalid table 0, must be [1, 4294967295]",
        ),
        (json!({"table": -1}), "invalid table -1"),
        (json!({"table": 4294967296_u64}), "invalid table 4294967296"),
        (
            json!({"table": "100"}),
            "failed to parse network configuration: table: expected an integer, got string",
        ),
        (
            json!({"gateways": ["10.2.0.1", "fd00:2::1", "10.2.0.2"]}),
            "gateways list cannot contain more than 2 entries (one IPv4, one IPv6)",
        ),
        (
            json!({"gateways": ["10.2.0"]}),
            "invalid static gateway IP address: 10.2.0",
        ),
        (
            json!({"gateways": ["10.2.0.1", "10.2.0.2"]}),
            "gateways list contains multiple IPv4 addresses: 10.2.0.1 and 10.2.0.2",
        ),
        (
            json!({"gateways": ["fd00::1", "fd00::2"]}),
            "gateways list contains multiple IPv6 addresses: fd00::1 and fd00::2",
        ),
        (
            json!({"gateways": "10.2.0.1"}),
            "gateways: expected an array, got string",
        ),
        (json!({"addSourceHints": "yes"}), "addSourceHints: expected"),
        (
            json!({"prevResult": null}),
            "This plugin must be called as chained plugin",
        ),
        (
            json!({"prevResult": {"cniVersion": "0.2.0"}}),
            "could not parse prevResult",
        ),
        (
            json!({"prevResult": {"ips": 5}}),
            "could not parse prevResult",
        ),
        (
            json!({"prevResult": {"cniVersion": "1.1.0", "interfaces": [{"name": "net1", "sandbox": "/run/netns/c1"}]}}),
            "No IP addresses supplied on interface: net1",
        ),
        (
            json!({"prevResult": {
                "cniVersion": "1.1.0",
                "interfaces": [{"name": "eth0", "sandbox": "/run/netns/c1"}],
                "ips": [{"address": "10.1.0.5/24", "interface": 0}],
            }}),
            "No IP addresses supplied on interface: net1",
        ),
    ] {
        refused(extra, words);
    }
}

#[test]
fn no_such_interface_or_namespace() {
    let (host, container) = attached();
    let before = state(&host, &container);
    let mut config = config(json!({}));
    config["prevResult"]["interfaces"] = Value::Null;
    let call = |name: &str| {
        sbr()
            .command("ADD")
            .container(&container)
            .ifname(name)
            .config(&config)
            .run()
    };
    call("eth9")
        .expect_error(999)
        .mentions("Cannot find network interface eth9: Link not found");
    assert_same(&before, &state(&host, &container));
    container.delete();
    call("net1")
        .expect_error(999)
        .mentions("failed to Statfs \"/run/netns/c1\": no such file or directory");
    assert!(!std::fs::exists("/run/netns/c1").unwrap());
}
