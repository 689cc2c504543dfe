//! The hardware address: which of its sources has precedence, and duplicates.

use crate::common::MACVLAN;
use serde_json::json;
use testkit::{Node, leases, state};

#[test]
fn precedence() {
    let network = MACVLAN.network();
    let key = json!({"mac": "02:00:00:00:00:0a"});
    let args = "IgnoreUnknown=1;K8S_POD_NAME=x;MAC=02:00:00:00:00:0b";
    for (extra, args, expected) in [
        (json!({}), "", "02:00:00:00:00:0a"),
        (json!({}), args, "02:00:00:00:00:0b"),
        (
            json!({"runtimeConfig": {"mac": "02:00:00:00:00:0c"}}),
            args,
            "02:00:00:00:00:0c",
        ),
        // Empty means not given.
        (
            json!({"runtimeConfig": {"mac": ""}}),
            "MAC=",
            "02:00:00:00:00:0a",
        ),
        // Only the bridge plugin reads this one.
        (
            json!({"args": {"cni": {"mac": "02:00:00:00:00:0d"}}}),
            "",
            "02:00:00:00:00:0a",
        ),
        (json!({"mac": "0200.0000.00AB"}), "", "02:00:00:00:00:ab"),
    ] {
        let container = network.container("c1");
        let config = testkit::merge(MACVLAN.layer2(key.clone()), &extra);
        let call = MACVLAN.plugin().command("ADD").container(&container);
        let run = call.args(args).config(&config).run().expect_ok();
        assert_eq!(run.json()["interfaces"][0]["mac"], expected);
        assert_eq!(container.link_attribute("eth0", "/address"), expected);
        // A namespace is deleted in the background, and the address with it.
        MACVLAN.plugin().del(&container, &config).expect_ok();
        container.delete();
    }
}

#[test]
fn malformed_arguments_are_refused() {
    let network = MACVLAN.bare_network();
    let container = network.container("c1");
    let before = network.snapshot();
    for (args, words) in [
        ("K8S_POD_NAME=x", "ARGS: unknown args [\"K8S_POD_NAME=x\"]"),
        ("MAC", "ARGS: invalid pair \"MAC\""),
        ("MAC=zz", "address zz: invalid MAC address"),
        ("mac=02:00:00:00:00:0a", "ARGS: unknown args"),
    ] {
        let call = MACVLAN.plugin().command("ADD").container(&container);
        let call = call.args(args).config(&MACVLAN.layer2(json!({})));
        call.run().expect_error(999).mentions(words);
    }
    before.assert_same(&network.snapshot());
}

#[test]
fn a_hardware_address_that_exists() {
    let network = MACVLAN.network();
    let mac = json!({"mac": "02:00:00:00:00:0a"});
    let layer2 = MACVLAN.layer2(mac.clone());
    let first = network.container("c1");
    MACVLAN.plugin().add(&first, &layer2).expect_ok();
    let other = network.container("c2");
    let before = state(&network);
    for config in [layer2, MACVLAN.dual(mac)] {
        MACVLAN
            .plugin()
            .add(&other, &config)
            .expect_error(999)
            .mentions("address already in use");
    }
    // The first allocation of the network creates its directory.
    let diff = before.diff(&state(&network));
    assert!(!diff.contains("eth0"), "{diff}");
    assert_eq!(other.link_names(), ["lo"]);
    assert_eq!(leases("net"), [""; 0]);
}

/// Another host on the network has the address.
#[test]
fn a_duplicate_ipv6_address() {
    let network = MACVLAN.network();
    network.router().ip("addr add fd00:1::10/64 dev eth0 nodad");
    let container = network.container("c1");
    let before = network.snapshot().without("/var/lib/cni");
    MACVLAN
        .plugin()
        .add(&container, &MACVLAN.dual(json!({})))
        .expect_error(999)
        .mentions("failed to settle addresses for \"eth0\": link eth0 has address fd00:1::10 in DADFAILED state");
    before.assert_same(&network.snapshot().without("/var/lib/cni"));
    assert_eq!(leases("net"), [""; 0]);
}
