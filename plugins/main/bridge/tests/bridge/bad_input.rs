//! Bad input is refused with a message that names it, before anything is changed.

use crate::common::{assert_restored, bridge, dual, ipv4, layer2, used_host};
use serde_json::{Value, json};
use testkit::{Host, Invocation, Node, state};

/// ADD of `config` fails and changes nothing.
#[track_caller]
fn refused(config: &Value, code: u64, words: &str) {
    let host = Host::new();
    let container = host.container("c1");
    let before = host.snapshot();
    let call = bridge().command("ADD").container(&container).config(config);
    call.run().expect_error(code).mentions(words);
    before.assert_same(&host.snapshot());
}

#[test]
fn values_of_the_wrong_type() {
    for (key, value, found) in [
        ("bridge", json!(5), "bridge: expected a string, got number"),
        (
            "isGateway",
            json!("true"),
            "isGateway: expected true or false, got string",
        ),
        (
            "isDefaultGateway",
            json!(1),
            "isDefaultGateway: expected true or false, got number",
        ),
        (
            "forceAddress",
            json!([]),
            "forceAddress: expected true or false, got array",
        ),
        (
            "mtu",
            json!("1500"),
            "mtu: expected an integer or \"auto\", got \"1500\"",
        ),
        (
            "mtu",
            json!(1500.5),
            "mtu: expected an integer or \"auto\", got number",
        ),
        (
            "txQueueLen",
            json!(-1),
            "txQueueLen: -1 is out of range, expected 0 to 4294967295",
        ),
        (
            "hairpinMode",
            json!({}),
            "hairpinMode: expected true or false, got object",
        ),
        (
            "promiscMode",
            json!("x"),
            "promiscMode: expected true or false, got string",
        ),
        (
            "enabledad",
            json!("x"),
            "enabledad: expected true or false, got string",
        ),
        ("vlan", json!("5"), "vlan: expected an integer, got string"),
        (
            "vlanTrunk",
            json!(5),
            "vlanTrunk: expected an array, got number",
        ),
        (
            "vlanTrunk",
            json!([{"id": 5}, {"minID": "x"}]),
            "vlanTrunk[1].minID: expected an integer, got string",
        ),
        (
            "vlanTrunk",
            json!([5]),
            "vlanTrunk[0]: expected an object, got number",
        ),
        (
            "preserveDefaultVlan",
            json!(1),
            "preserveDefaultVlan: expected true or false, got number",
        ),
        (
            "portIsolation",
            json!("yes"),
            "portIsolation: expected true or false, got string",
        ),
        (
            "ipam",
            json!("host-local"),
            "ipam: expected an object, got string",
        ),
        ("ipam", json!([]), "ipam: expected an object, got array"),
        (
            "ipam",
            json!({"type": 5}),
            "ipam.type: expected a string, got number",
        ),
        (
            "dns",
            json!({"nameservers": "x"}),
            "dns.nameservers: expected an array, got string",
        ),
        (
            "args",
            json!({"cni": {"mac": 5}}),
            "args.cni.mac: expected a string, got number",
        ),
        ("args", json!("x"), "args: expected an object, got string"),
        (
            "runtimeConfig",
            json!({"mac": []}),
            "runtimeConfig.mac: expected a string, got array",
        ),
        (
            "capabilities",
            json!({"mac": "yes"}),
            "capabilities.mac: expected true or false, got string",
        ),
    ] {
        let config = dual(json!({key: value}));
        refused(&config, 999, &format!("failed to load netconf: {found}"));
    }
}

#[test]
fn keys_match_in_any_case_and_unknown_ones_are_ignored() {
    let host = Host::new();
    let container = host.container("c1");
    let config = json!({
        "CNIVersion": "1.1.0", "NAME": "net", "Type": "bridge", "ISGATEWAY": true,
        "isgateway": false, "BRIDGE": "br0", "bridge": null, "Ipam": {"Type": "host-local", "Subnet": "10.1.0.0/24"}, "unknown": [{}],
        "ipMasq": false, "vlan": 0, "macspoofchk": null, "vlanTrunk": null, "portIsolation": false,
    });
    bridge().add(&container, &config).expect_ok();
    assert_eq!(host.addresses("br0"), [""; 0], "the last spelling counts");
    assert_eq!(container.addresses("eth0"), ["10.1.0.2/24"]);
}

#[test]
fn vlan_ids_out_of_range_and_malformed_trunks() {
    let of_trunk = |element: Value| dual(json!({"vlanTrunk": [{"id": 5}, element]}));
    for (config, words) in [
        (
            dual(json!({"vlan": 4095})),
            "invalid VLAN ID 4095 (must be between 0 and 4094)",
        ),
        (
            dual(json!({"vlan": -1})),
            "invalid VLAN ID -1 (must be between 0 and 4094)",
        ),
        (
            of_trunk(json!({"minID": 0, "maxID": 5})),
            "incorrect trunk minID parameter; vlanTrunk[1]: 0 is not between 1 and 4094",
        ),
    ] {
        refused(&config, 999, words);
    }
    refused(&of_trunk(Value::Null), 7, "element 1 of vlanTrunk is null");
}

#[test]
fn options_that_cannot_be_combined() {
    let both = dual(json!({"hairpinMode": true, "promiscMode": true}));
    refused(
        &both,
        999,
        "cannot set hairpin mode and promiscuous mode at the same time",
    );
    refused(
        &dual(json!({"mtu": 4294967296u64})),
        7,
        "mtu 4294967296 is out of range (68 to 65535)",
    );
}

#[test]
fn invalid_hardware_addresses() {
    for mac in [
        "x",
        "02:00:00:00:00",
        "02:00:00:00:00:00:00:01",
        "02-00:00:00:00:01",
        "01:00:5e:00:00:01",
        "00:00:00:00:00:00",
        "ff:ff:ff:ff:ff:ff",
        " 02:00:00:00:00:01",
    ] {
        let config = dual(json!({"runtimeConfig": {"mac": mac}}));
        refused(&config, 999, &format!("address {mac}: invalid MAC address"));
        let config = dual(json!({"args": {"cni": {"mac": mac}}}));
        refused(&config, 999, &format!("address {mac}: invalid MAC address"));
    }
}

#[test]
fn an_mtu_out_of_range() {
    let host = used_host(&ipv4(json!({})));
    let container = host.container("c1");
    let before = state(&host);
    for mtu in [67, 65536] {
        bridge()
            .add(&container, &ipv4(json!({"mtu": mtu})))
            .expect_error(7)
            .mentions(&format!("mtu {mtu} is out of range (68 to 65535)"));
        assert_restored(&host, &before, "after the failure");
    }
    // IPv6 needs 1280.
    let error = bridge()
        .add(&container, &dual(json!({"mtu": 1000})))
        .expect_error(7);
    error.mentions("mtu 1000 is below 1280, the minimum of IPv6");
    assert_restored(&host, &before, "after the failure");
}

/// ADD with the call changed by `change` fails and changes nothing.
#[track_caller]
fn refused_call(change: impl FnOnce(Invocation) -> Invocation, code: u64, words: &str) {
    let host = Host::new();
    let container = host.container("c1");
    container.ip("link add taken type veth peer name taken2");
    let file = host.write("file", "");
    assert_eq!(file.to_str(), Some("/run/testkit/file"));
    let before = host.snapshot();
    let call = bridge()
        .command("ADD")
        .container(&container)
        .config(&dual(json!({})));
    change(call).run().expect_error(code).mentions(words);
    before.assert_same(&host.snapshot());
}

#[test]
fn network_namespaces() {
    let words = "failed to open netns \"/run/netns/none\": failed to Statfs \"/run/netns/none\": no such file or directory";
    refused_call(|call| call.netns("/run/netns/none"), 999, words);
    let words =
        "failed to open netns \"/run/testkit/file\": unknown FS magic on \"/run/testkit/file\"";
    refused_call(|call| call.netns("/run/testkit/file"), 999, words);
    let words = "plugin's netns and netns from CNI_NETNS should not be the same";
    refused_call(|call| call.netns("/proc/self/ns/net"), 8, words);
    refused_call(
        |call| call.netns("/proc/self/ns/mnt"),
        999,
        "failed to open netns",
    );
}

#[test]
fn interface_names() {
    for name in ["taken", "lo"] {
        let words = format!("container interface {name:?} already exists in /run/netns/c1");
        refused_call(|call| call.ifname(name), 999, &words);
    }
    refused_call(
        |call| call.ifname("sixteen-letters-"),
        4,
        "interface name is too long",
    );
    refused_call(
        |call| call.ifname("a/b"),
        4,
        "interface name contains / or :",
    );
}

#[test]
fn a_second_add_leaves_the_first_attachment_alone() {
    let host = Host::new();
    let container = host.container("c1");
    let config = dual(json!({"isGateway": true}));
    let run = bridge().add(&container, &config).expect_ok();
    let before = host.snapshot();
    bridge()
        .add(&container, &config)
        .expect_error(999)
        .mentions("already exists");
    before.assert_same(&host.snapshot());
    bridge().check(&container, &run.with_prev()).expect_ok();
}

#[test]
fn malformed_arguments() {
    for (args, words) in [
        ("A=B", "ARGS: unknown args [\"A=B\"]"),
        ("MAC=02:00:00:00:00:01;", "ARGS: invalid pair \"\""),
        (
            "mac=02:00:00:00:00:01",
            "ARGS: unknown args [\"mac=02:00:00:00:00:01\"]",
        ),
        (
            "IgnoreUnknown=x",
            "ARGS: error parsing value of pair \"IgnoreUnknown=x\"",
        ),
        ("MAC=x", "address x: invalid MAC address"),
    ] {
        refused_call(|call| call.args(args), 999, words);
    }
}

#[test]
fn ipam_plugins_that_cannot_be_run() {
    refused(
        &layer2(json!({"ipam": {"type": "none"}})),
        999,
        "failed to find plugin \"none\"",
    );
    refused(
        &layer2(json!({"ipam": {"type": "../x"}})),
        999,
        "invalid plugin name: ../x",
    );
    // The error of IPAM reaches the runtime.
    let ranges = json!([[{"subnet": "10.1.0.0/31"}]]);
    let small = ipv4(json!({"ipam": {"type": "host-local", "ranges": ranges}}));
    let host = Host::new();
    let container = host.container("c1");
    let before = host.snapshot();
    let run = bridge().add(&container, &small);
    assert!(
        !run.is_ok() && run.stdout_text().contains("10.1.0.0/31"),
        "{}",
        run.report()
    );
    before
        .without("/var/lib/cni")
        .assert_same(&host.snapshot().without("/var/lib/cni"));
}
