//! CHECK reports each single difference.

use crate::common::{IFB, bandwidth, both, host, run};
use serde_json::{Value, json};
use testkit::{Host, Node, merge};

/// ADD with `extra`, `commands` on the host, and CHECK with what `call` makes of the
/// configuration, which fails with `text`: the message, which is upstream's where
/// upstream has one, and details behind `"; "`.
#[track_caller]
fn after(extra: Value, commands: &str, call: impl Fn(Value) -> Value, words: &str) {
    let (host, container) = host();
    let added = bandwidth().add(&container, &both(extra)).expect_ok();
    bandwidth()
        .check(&container, &added.with_prev())
        .expect_ok();
    if !commands.is_empty() {
        run(&host, commands);
    }
    bandwidth()
        .check(&container, &call(added.with_prev()))
        .expect_error(999)
        .mentions(words);
}

#[track_caller]
fn drift(commands: &str, words: &str) {
    after(json!({}), commands, |config| config, words);
}

#[test]
fn the_veth() {
    let change = "tc qdisc change dev veth1 root handle 1: tbf";
    for (commands, words) in [
        (
            "tc qdisc del dev veth1 root".to_owned(),
            "Failed to find qdisc; link veth1 has noqueue, not tbf",
        ),
        (
            "tc qdisc del dev veth1 root; tc qdisc add dev veth1 root handle 1: htb".to_owned(),
            "Failed to find qdisc; link veth1 has htb, not tbf",
        ),
        (
            format!("{change} rate 9mbit burst 100000 latency 25ms"),
            "Rate doesn't match; qdisc of link veth1 has 1125000, not 1000000",
        ),
        (
            format!("{change} rate 8mbit burst 100000 limit 99999"),
            "Limit doesn't match; qdisc of link veth1 has 99999, not 125000",
        ),
        (
            format!("{change} rate 8mbit burst 50000 limit 125000"),
            "Buffer doesn't match; qdisc of link veth1 has 781250, not 1562500",
        ),
        (
            "tc qdisc del dev veth1 ingress".to_owned(),
            "link veth1 has no ingress qdisc to redirect from",
        ),
        (
            "tc filter del dev veth1 ingress".to_owned(),
            "link veth1 has no filter that redirects to bwp623e1c388032",
        ),
    ] {
        drift(&commands, words);
    }
}

#[test]
fn the_ifb() {
    let change = format!("tc qdisc change dev {IFB} root handle 1: tbf");
    for (commands, words) in [
        (
            format!("ip link del {IFB}"),
            "get ifb device: Link not found; bwp623e1c388032",
        ),
        (
            format!("ip link set {IFB} down"),
            "ifb device bwp623e1c388032 is down",
        ),
        (
            format!("tc qdisc del dev {IFB} root"),
            "Failed to find qdisc; link bwp623e1c388032 has ",
        ),
        (
            format!("{change} rate 17mbit burst 200000 latency 25ms"),
            "Rate doesn't match; qdisc of link bwp623e1c388032 has 2125000, not 2000000",
        ),
        (
            format!("ip link del {IFB}; ip link add {IFB} up type bridge"),
            "link bwp623e1c388032 is not an ifb",
        ),
        // Another ifb of the same name, to which the filter does not redirect.
        (
            format!("ip link del {IFB}; ip link add {IFB} up type ifb"),
            "link veth1 has no filter that redirects to bwp623e1c388032",
        ),
    ] {
        drift(&commands, words);
    }
}

#[test]
fn the_configuration() {
    for (extra, words) in [
        (
            json!({"ingressRate": 80_000}),
            "Rate doesn't match; qdisc of link veth1",
        ),
        (
            json!({"egressRate": 80_000}),
            "Rate doesn't match; qdisc of link bwp623e1c388032",
        ),
        (
            json!({"latency": "50ms"}),
            "Limit doesn't match; qdisc of link veth1",
        ),
        (
            json!({"shapedSubnets": ["10.0.0.0/8"]}),
            "Failed to find qdisc; link veth1 has tbf, not htb",
        ),
        (
            json!({"queue": "fq"}),
            "queue doesn't match; link veth1 has a plain queue at 1:1, not fq",
        ),
        (
            json!({"prevResult": null}),
            "must be called as a chained plugin",
        ),
        (
            json!({"prevResult": {"cniVersion": "1.1.0"}}),
            "no interfaces provided",
        ),
    ] {
        let call = |config: Value| merge(config, &extra);
        after(json!({}), "", call, words);
    }
}

/// The hardware address differs from the result's.
#[test]
fn the_hardware_address() {
    let call = |mut config: Value| {
        config["prevResult"]["interfaces"][2]["mac"] = json!("02:00:00:00:00:09");
        config
    };
    let words = "Interface bwp623e1c388032 Mac 02:00:00:00:00:09 doesn't match Mac: ";
    after(json!({}), "", call, words);
}

#[test]
fn the_container() {
    drift(
        "ip -n c1 link set eth0 down; ip -n c1 link set eth0 name eth7",
        "container interface eth0 has no veth peer: Link not found",
    );
    drift(
        "ip link del veth1; ip -n c1 link add eth0 type ifb",
        "container interface eth0 has no veth peer: it is a link of kind ifb, only veth can be shaped",
    );
    drift(
        "ip link set veth1 down; ip link set veth1 name veth2 up",
        "no veth peer of container interface found in host ns; veth2 is not",
    );
    drift(
        "ip link del veth1; ip -n c1 link add eth0 type veth peer name other",
        "is not in host ns",
    );
}

/// The peer is in a third namespace, and the host has another link of its index.
#[test]
fn a_peer_in_a_third_namespace() {
    let host = Host::new();
    let container = host.container("c1");
    let third = host.container("c2");
    // The host's own veth pair has these indexes.
    run(
        &host,
        "ip link add veth1 index 50 type veth peer name veth1p index 60",
    );
    run(
        &container,
        "ip link add eth0 index 70 type veth peer name e index 50 netns c2",
    );
    assert!(third.link("e").is_some());
    bandwidth()
        .add(&container, &both(json!({})))
        .expect_error(999)
        .mentions("veth peer with index 50 is not in host ns");
}

#[test]
fn foreign_changes_are_ignored() {
    let (host, container) = host();
    let added = bandwidth().add(&container, &both(json!({}))).expect_ok();
    run(
        &host,
        "tc filter add dev veth1 ingress protocol ip prio 5 u32 match u32 0 0 flowid 1:1",
    );
    run(&host, "ip link set veth1 mtu 1400");
    bandwidth()
        .check(&container, &added.with_prev())
        .expect_ok();
    // A later plugin of the chain dropped the ifb from the result.
    let mut config = added.with_prev();
    config["prevResult"] = both(json!({}))["prevResult"].clone();
    bandwidth().check(&container, &config).expect_ok();
}
