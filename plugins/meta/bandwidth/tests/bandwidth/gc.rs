//! GC deletes the ifbs of attachments that are gone.

use crate::common::{IFB, bandwidth, both, host, run};
use serde_json::{Value, json};
use testkit::{Node, Plugin, merge};

fn gc(extra: &Value) {
    let config = json!({"cniVersion": "1.1.0", "name": "net", "type": "bandwidth"});
    let run = bandwidth().gc(&merge(config, extra)).expect_ok();
    assert_eq!((run.stdout_text(), run.stderr_text()), Default::default());
}

#[test]
fn gc_deletes_stale_ifbs_of_this_network() {
    let (host, container) = host();
    let added = bandwidth().add(&container, &both(json!({}))).expect_ok();
    let other = host.container("c2");
    run(&host, "ip link add veth2 type veth peer name eth0 netns c2");
    let mut config = both(json!({"name": "other"}));
    config["prevResult"]["interfaces"] =
        json!([{"name": "veth2"}, {"name": "eth0", "sandbox": "/run/netns/c2"}]);
    bandwidth().add(&other, &config).expect_ok();
    // Foreign links that differ in one property each.
    run(&host, "ip link add bwp000000000001 alias x type ifb");
    run(&host, "ip link add mine type ifb");
    host.command(&["ip", "link", "set", "mine", "alias", "cni:net/c9/eth0"]);
    run(&host, "ip link add bwp000000000002 type ifb");
    let before = host.snapshot();

    let valid = |list: Value| json!({"cni.dev/valid-attachments": list});
    let own = json!({"containerID": "c1", "ifname": "eth0"});
    // Without the key, nothing is collected.
    gc(&json!({}));
    gc(&valid(json!([own])));
    gc(&valid(
        json!([{"containerID": "c9", "ifname": "eth0"}, own]),
    ));
    before.assert_same(&host.snapshot());
    bandwidth()
        .check(&container, &added.with_prev())
        .expect_ok();

    let rest = before.without(IFB);
    gc(&valid(json!([{"containerID": "c1", "ifname": "net1"}])));
    assert_eq!(host.link(IFB), None);
    assert_eq!(
        host.snapshot().lines("host link").len(),
        rest.lines("host link").len()
    );
    gc(&valid(json!([])));
    assert!(host.link("mine").is_some());
}

/// Only the ifb is left of the container.
#[test]
fn gc_after_a_crash() {
    let (host, container) = host();
    bandwidth().add(&container, &both(json!({}))).expect_ok();
    run(&host, "ip netns del c1");
    assert!(host.link(IFB).is_some());
    gc(&json!({"cni.dev/valid-attachments": []}));
    assert_eq!(host.link(IFB), None);
    gc(&json!({"cni.dev/valid-attachments": []}));
}

/// An ifb of upstream has no alias; only DEL finds it.
#[test]
fn gc_keeps_ifbs_of_upstream() {
    let (host, container) = host();
    let mut config = both(json!({"cniVersion": "1.0.0"}));
    config["prevResult"]["cniVersion"] = json!("1.0.0");
    Plugin::peer("bandwidth")
        .add(&container, &config)
        .expect_ok();
    gc(&json!({"cni.dev/valid-attachments": []}));
    assert!(host.link(IFB).is_some());
}

/// Long names are hashed in the alias.
#[test]
fn gc_deletes_ifbs_of_long_container_ids() {
    let (host, container) = host();
    let id = "c".repeat(300);
    let command = bandwidth().command("ADD").container(&container).id(&id);
    let added = command.config(&both(json!({}))).run().expect_ok();
    let ifb = added.json()["interfaces"][2]["name"].clone();
    let ifb = ifb.as_str().unwrap();
    let valid = |list: Value| json!({"cni.dev/valid-attachments": list});
    for (name, is_kept) in [("eth0", true), ("net1", false)] {
        gc(&valid(json!([{"containerID": id, "ifname": name}])));
        assert_eq!(host.link(ifb).is_some(), is_kept, "{name}");
    }
}
