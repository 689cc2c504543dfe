//! Bad input is refused before anything is changed.

use crate::common::{assert_same, attached, attached_without_vrf, config, state, vrf};
use serde_json::{Value, json};
use testkit::Node;
use testkit::table::cases;

#[test]
fn values_and_types() {
    let (host, container) = attached_without_vrf();
    let before = state(&host, &container);
    for case in cases(
        r#"
        {"vrfname": ""} => configuration is expected to have a valid vrf name
        {"vrfname": null} => configuration is expected to have a valid vrf name
        {"vrfname": "much-too-long-a-name"} => configuration is expected to have a valid vrf name
        {"vrfname": "a/b"} => configuration is expected to have a valid vrf name
        {"vrfname": ".."} => configuration is expected to have a valid vrf name
        {"vrfname": "a b"} => configuration is expected to have a valid vrf name
        {"vrfname": "eth0"} => a valid vrf name; eth0 is the interface's name
        {"vrfname": 7} => failed to load netconf: vrfname: expected a string, got number
        {"table": -1} => table:
        {"table": 4294967296} => table: 4294967296 is out of range
        {"table": "5"} => table: expected an integer, got string
        {"table": 254} => invalid table 254: the kernel uses it for routes outside of VRFs
        {"table": 255} => invalid table 255: the kernel uses it for local addresses
        {"table": 253} => invalid table 253
        {"prevResult": null} => missing prevResult from earlier plugin
        {"prevResult": {"cniVersion": "0.2.0"}} => could not parse prevResult
        {"vrfname": "lo"} => cmdAdd failed: Netlink lo is not a VRF
        "#,
    ) {
        let run = vrf().add(&container, &config(case.extra));
        run.expect_error(999).mentions(&case.words);
    }
    assert_same(&before, &state(&host, &container));
}

#[test]
fn conflicts() {
    let (host, container) = attached();
    for command in [
        "link add blue type vrf table 9",
        "link add br0 type bridge",
        "link add d0 type veth",
        "link set d0 master br0",
    ] {
        container.ip(command);
    }
    let before = state(&host, &container);
    let refused = |name: &str, extra: Value, words: &str| {
        let call = vrf().command("ADD").container(&container).ifname(name);
        let run = call.config(&config(extra)).run();
        run.expect_error(999).mentions(words);
    };
    refused(
        "eth0",
        json!({"table": 8}),
        "cmdAdd failed: VRF blue already exist with different routing table 9",
    );
    refused(
        "d0",
        json!({}),
        "cmdAdd failed: interface d0 has already a master set: br0",
    );
    refused(
        "d0",
        json!({"vrfname": "new"}),
        "cmdAdd failed: interface d0 has already a master set: br0",
    );
    refused(
        "eth9",
        json!({}),
        "cmdAdd failed: could not get link by name eth9: Link not found",
    );
    refused(
        "eth9",
        json!({"vrfname": "new"}),
        "cmdAdd failed: could not get link by name eth9",
    );
    assert_same(&before, &state(&host, &container));
    container.delete();
    vrf()
        .add(&container, &config(json!({})))
        .expect_error(999)
        .mentions("failed to Statfs \"/run/netns/c1\": no such file or directory");
}

/// Programs compare `msg` with upstream's; what we add is in `details`.
#[test]
fn messages_are_upstreams() {
    let host = testkit::Host::new();
    let container = host.container("c1");
    for name in ["a/b", "much-too-long-a-name", "eth0"] {
        let error = vrf()
            .add(&container, &config(json!({"vrfname": name})))
            .expect_error(999);
        assert_eq!(
            error.msg,
            "configuration is expected to have a valid vrf name"
        );
        assert_ne!(error.details, "");
    }
}
