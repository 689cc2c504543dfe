//! GC: blocks of attachments that are no more.

use crate::common::{BLOCK, bandwidth, both, host, run};
use serde_json::{Value, json};
use testkit::{Node, Plugin, merge};

fn gc(extra: &Value) {
    let config = json!({"cniVersion": "1.1.0", "name": "net", "type": "bandwidth"});
    let run = bandwidth().gc(&merge(config, extra)).expect_ok();
    assert_eq!((run.stdout_text(), run.stderr_text()), Default::default());
}

#[test]
fn only_what_is_stale_and_of_this_network() {
    let (host, container) = host();
    let added = bandwidth().add(&container, &both(json!({}))).expect_ok();
    let other = host.container("c2");
    run(&host, "ip link add veth2 type veth peer name eth0 netns c2");
    let mut config = both(json!({"name": "other"}));
    config["prevResult"]["interfaces"] =
        json!([{"name": "veth2"}, {"name": "eth0", "sandbox": "/run/netns/c2"}]);
    bandwidth().add(&other, &config).expect_ok();
    // Links of others that look alike, but for one thing each.
    run(&host, "ip link add bwp000000000001 alias x type ifb");
    run(&host, "ip link add mine type ifb");
    host.command(&["ip", "link", "set", "mine", "alias", "cni net c9 eth0"]);
    run(&host, "ip link add bwp000000000002 type ifb");
    let before = host.snapshot();

    let valid = |list: Value| json!({"cni.dev/valid-attachments": list});
    let own = json!({"containerID": "c1", "ifname": "eth0"});
    // Who says nothing about what is valid wants nothing collected.
    gc(&json!({}));
    gc(&valid(json!([own])));
    gc(&valid(
        json!([{"containerID": "c9", "ifname": "eth0"}, own]),
    ));
    before.assert_same(&host.snapshot());
    bandwidth()
        .check(&container, &added.with_prev())
        .expect_ok();

    let rest = before.without(BLOCK);
    gc(&valid(json!([{"containerID": "c1", "ifname": "net1"}])));
    assert_eq!(host.link(BLOCK), None);
    assert_eq!(
        host.snapshot().lines("host link").len(),
        rest.lines("host link").len()
    );
    gc(&valid(json!([])));
    assert!(host.link("mine").is_some());
}

/// The container is gone with its runtime; the block is all that is left.
#[test]
fn after_a_crash() {
    let (host, container) = host();
    bandwidth().add(&container, &both(json!({}))).expect_ok();
    run(&host, "ip netns del c1");
    assert!(host.link(BLOCK).is_some());
    gc(&json!({"cni.dev/valid-attachments": []}));
    assert_eq!(host.link(BLOCK), None);
    gc(&json!({"cni.dev/valid-attachments": []}));
}

/// The name of a peer's block does not tell whose it is; DEL finds it.
#[test]
fn a_block_of_the_peers() {
    let (host, container) = host();
    let mut config = both(json!({"cniVersion": "1.0.0"}));
    config["prevResult"]["cniVersion"] = json!("1.0.0");
    Plugin::peer("bandwidth")
        .add(&container, &config)
        .expect_ok();
    gc(&json!({"cni.dev/valid-attachments": []}));
    assert!(host.link(BLOCK).is_some());
}
