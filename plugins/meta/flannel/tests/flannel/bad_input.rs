//! Bad input: the right code, a message that names the thing, and nothing changed.

use std::fs;

use crate::common::{IPV4, SUBNET_FILE, config, flannel, host};
use serde_json::{Value, json};
use testkit::Host;

#[track_caller]
fn refused(host: &Host, extra: Value, code: u64, words: &str) {
    let container = host.container("c1");
    let before = host.snapshot();
    let error = flannel().add(&container, &config(extra)).expect_error(code);
    error.mentions(words);
    before.assert_same(&host.snapshot());
}

#[test]
fn configurations() {
    let host = host(IPV4);
    for (extra, words) in [
        (
            json!({"delegate": 5}),
            "failed to load flannel netconf file: failed to load netconf: delegate: expected an object",
        ),
        (
            json!({"ipam": []}),
            "failed to load netconf: ipam: expected an object, got array",
        ),
        (
            json!({"subnetFile": 5}),
            "failed to load netconf: subnetFile: expected a string, got number",
        ),
        (
            json!({"dataDir": {}}),
            "failed to load netconf: dataDir: expected a string, got object",
        ),
        (
            json!({"runtimeConfig": 5}),
            "failed to load netconf: runtimeConfig: expected an object",
        ),
        (
            json!({"delegate": {"type": 5}}),
            "'delegate' dictionary, if present, must have (string) 'type' field",
        ),
        (
            json!({"delegate": {"name": "x"}}),
            "'delegate' dictionary must not have 'name' field",
        ),
        (
            json!({"delegate": {"ipam": {}}}),
            "'delegate' dictionary must not have 'ipam' field",
        ),
        (
            json!({"delegate": {"type": "flannel"}}),
            "flannel would call itself for ever",
        ),
        (
            json!({"ipam": {"routes": [{"dst": "x"}]}}),
            "failed to assemble Delegate IPAM: failed to read IPAM routes: failed to parse ipam.routes: ",
        ),
    ] {
        refused(&host, extra, 999, words);
    }
}

/// The text that upstream has, around what is wrong.
fn told(cause: &str) -> String {
    format!("failed to load flannel 'subnet.env' file: {cause}")
}

#[test]
fn a_daemon_that_is_not_ready() {
    let host = Host::new();
    let missing = told(
        "open /run/flannel/subnet.env: no such file or directory. Check the flannel pod log for this node.",
    );
    refused(&host, json!({}), 11, &missing);
    fs::create_dir_all("/run/flannel").unwrap();
    for (text, keys) in [
        (
            "",
            "FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK, FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET, FLANNEL_MTU, FLANNEL_IPMASQ",
        ),
        (
            "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_MTU=1500\n",
            "FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET, FLANNEL_IPMASQ",
        ),
    ] {
        fs::write(SUBNET_FILE, text).unwrap();
        refused(
            &host,
            json!({}),
            11,
            &told(&format!("/run/flannel/subnet.env is missing {keys}. Check")),
        );
    }
    let elsewhere = json!({"subnetFile": "/run/elsewhere.env"});
    refused(
        &host,
        elsewhere,
        11,
        &told("open /run/elsewhere.env: no such file or directory"),
    );
}

#[test]
fn malformed_subnet_files() {
    let host = host(IPV4);
    for (line, words) in [
        ("FLANNEL_SUBNET", "FLANNEL_SUBNET has no value"),
        (
            "FLANNEL_SUBNET=10.1.17.1",
            "FLANNEL_SUBNET: invalid CIDR address: 10.1.17.1",
        ),
        ("FLANNEL_MTU=\"1450\"", "FLANNEL_MTU: "),
        (
            "FLANNEL_IPV6_NETWORK=fd00::/48",
            "has FLANNEL_IPV6_NETWORK without FLANNEL_IPV6_SUBNET",
        ),
    ] {
        fs::write(SUBNET_FILE, format!("{IPV4}{line}\n")).unwrap();
        refused(
            &host,
            json!({}),
            999,
            &told(&format!("/run/flannel/subnet.env: {words}")),
        );
    }
    fs::remove_file(SUBNET_FILE).unwrap();
    fs::create_dir(SUBNET_FILE).unwrap();
    refused(
        &host,
        json!({}),
        999,
        &told("open /run/flannel/subnet.env: is a directory"),
    );
}
