//! DEL from any state that a crash may leave.

use crate::common::{IFB, bandwidth, both, host, qdisc, run};
use rtnl::TcHandle;
use serde_json::{Value, json};
use testkit::{Container, Host, Node, merge};

/// ADD, `commands` on the host, then DEL twice with `extra` over the configuration, and
/// perhaps without `CNI_NETNS`: no output, and the ifb is gone.
#[track_caller]
fn del_after(commands: &str, extra: &Value, netns: Option<&str>) -> (Host, Container) {
    let (host, container) = host();
    let added = bandwidth().add(&container, &both(json!({}))).expect_ok();
    if !commands.is_empty() {
        run(&host, commands);
    }
    for _ in 0..2 {
        let config = merge(added.with_prev(), extra);
        let mut call = bandwidth()
            .command("DEL")
            .container(&container)
            .config(&config);
        if let Some(netns) = netns {
            call = call.netns(netns);
        }
        let del = call.run().expect_ok();
        assert_eq!((del.stdout_text(), del.stderr_text()), Default::default());
        assert_eq!(host.link(IFB), None, "{commands}");
    }
    (host, container)
}

#[test]
fn del_succeeds_when_objects_are_gone() {
    let nothing = json!({});
    for commands in [
        "",
        "ip link del veth1",
        "ip netns del c1",
        "tc qdisc del dev veth1 root",
        "tc qdisc del dev veth1 ingress",
        "tc filter del dev veth1 ingress",
        "ip link del bwp623e1c388032",
        "ip link set veth1 down; ip link set veth1 name other",
    ] {
        drop(del_after(commands, &nothing, None));
    }
    drop(del_after("", &nothing, Some("")));
    drop(del_after("", &nothing, Some("/run/netns/gone")));
}

#[test]
fn del_succeeds_with_an_invalid_configuration() {
    for extra in [
        json!({"prevResult": null}),
        json!({"prevResult": {"cniVersion": "0.2.0"}}),
        json!({"prevResult": 5}),
        json!({"ingressRate": null, "ingressBurst": null, "egressRate": null, "egressBurst": null}),
        json!({"ingressRate": 0}),
        json!({"egressRate": "fast"}),
        json!({"runtimeConfig": 5}),
        json!({"queue": "x", "latency": 5, "burst": []}),
    ] {
        drop(del_after("", &extra, None));
    }
}

/// Packets of a veth that is kept are not lost. Upstream leaves the redirection.
#[test]
fn del_cleans_a_veth_that_is_kept() {
    let (host, container) = host();
    let before = host.snapshot();
    let added = bandwidth().add(&container, &both(json!({}))).expect_ok();
    for config in [
        added.with_prev(),
        merge(added.with_prev(), &json!({"prevResult": null})),
    ] {
        bandwidth().del(&container, &config).expect_ok();
        before.assert_same(&host.snapshot());
    }
    container.ping("10.1.0.1");
    // The redirection is deleted even if the runtime passes no rates to DEL.
    bandwidth().add(&container, &both(json!({}))).expect_ok();
    let zero = json!({"ingressRate": 0, "ingressBurst": 0, "egressRate": 0, "egressBurst": 0});
    bandwidth()
        .del(&container, &merge(added.with_prev(), &zero))
        .expect_ok();
    assert_eq!(qdisc("veth1", TcHandle::INGRESS), None);
    container.ping("10.1.0.1");
}

/// Objects that others created since ADD are kept.
#[test]
fn del_keeps_foreign_objects() {
    let (host, _container) = del_after(
        "tc qdisc del dev veth1 root; tc qdisc add dev veth1 root handle 1: tbf rate 1mbit burst 10k latency 9ms; \
         tc filter add dev veth1 ingress protocol ip prio 5 u32 match u32 0 0 flowid 1:1",
        &json!({}),
        None,
    );
    let shown = host.command(&["tc", "qdisc", "show", "dev", "veth1"]);
    assert!(shown.contains("rate 1Mbit"), "{shown}");
    assert!(shown.contains("qdisc ingress"), "{shown}");
}

/// The ifbs of two interfaces of one network have the same name: DEL of one interface
/// keeps that of the other.
#[test]
fn two_interfaces_of_one_network() {
    let (host, container) = host();
    run(&host, "ip link add veth2 type veth peer name net1 netns c1");
    run(&host, "ip link set veth2 up");
    let second = |verb: &str, config: &Value| {
        bandwidth()
            .command(verb)
            .container(&container)
            .ifname("net1")
            .config(config)
            .run()
    };
    let added = bandwidth().add(&container, &both(json!({}))).expect_ok();
    let before = host.snapshot();
    let mut config = both(json!({}));
    config["prevResult"]["interfaces"] =
        json!([{"name": "veth2"}, {"name": "net1", "sandbox": "/run/netns/c1"}]);
    second("ADD", &config)
        .expect_error(999)
        .mentions("adding link: file exists")
        .mentions("shapes eth0 of this container on this network");
    before.assert_same(&host.snapshot());
    second("DEL", &config).expect_ok();
    before.assert_same(&host.snapshot());
    bandwidth()
        .check(&container, &added.with_prev())
        .expect_ok();
    bandwidth().del(&container, &added.with_prev()).expect_ok();
    assert_eq!(host.link(IFB), None);
    second("ADD", &config).expect_ok();
    second("DEL", &config).expect_ok();
    assert_eq!(host.link(IFB), None);
}
