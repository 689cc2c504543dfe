//! Chained after the bridge plugin.

use crate::common::{bandwidth, host};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, Plugin, merge};

fn network(extra: &Value) -> Value {
    let base = json!({"cniVersion": "1.0.0", "name": "k8s"});
    merge(base, extra)
}

fn bridge(subnets: &[&str]) -> Value {
    let ranges: Vec<Value> = subnets.iter().map(|s| json!([{"subnet": s}])).collect();
    network(&json!({
        "type": "bridge", "bridge": "cni0", "isDefaultGateway": true,
        "ipam": {"type": "host-local", "ranges": ranges}
    }))
}

fn shaped(prev: &Value) -> Value {
    network(&json!({
        "type": "bandwidth", "prevResult": prev,
        "runtimeConfig": {"bandwidth": {
            "ingressRate": 80_000_000, "ingressBurst": 8_000_000,
            "egressRate": 80_000_000, "egressBurst": 8_000_000,
        }},
    }))
}

fn attach(first: &Plugin, second: &Plugin, container: &Container) -> Value {
    let subnets = ["10.7.0.0/16", "fd00:7::/64"];
    let result = first.add(container, &bridge(&subnets)).expect_ok().json();
    second.add(container, &shaped(&result)).expect_ok().json()
}

fn detach(first: &Plugin, second: &Plugin, container: &Container, result: &Value) {
    let prev = json!({"prevResult": result});
    second.del(container, &shaped(result)).expect_ok();
    let bridge = merge(bridge(&["10.7.0.0/16", "fd00:7::/64"]), &prev);
    first.del(container, &bridge).expect_ok();
}

/// Both plugins of both implementations, in all combinations.
#[test]
fn behind_a_bridge() {
    let ours = |name| Plugin::new(name);
    let peers = |name| Plugin::peer(name);
    let host = Host::new();
    for (add, del) in [(0, 0), (0, 3), (3, 0), (1, 2), (2, 1)] {
        let choose = |mix: u8, bit: u8, name| match mix & bit {
            0 => ours(name),
            _ => peers(name),
        };
        let container = host.container("c1");
        let (first, second) = (choose(add, 1, "bridge"), choose(add, 2, "bandwidth"));
        let result = attach(&first, &second, &container);
        assert_eq!(
            result["interfaces"].as_array().map(Vec::len),
            Some(4),
            "{result}"
        );
        container.ping("10.7.0.1");
        container.ping("fd00:7::1");
        bandwidth().check(&container, &shaped(&result)).expect_ok();
        Plugin::peer("bandwidth")
            .check(&container, &shaped(&result))
            .expect_ok();
        let (first, second) = (choose(del, 1, "bridge"), choose(del, 2, "bandwidth"));
        detach(&first, &second, &container, &result);
        assert!(
            host.link_names()
                .iter()
                .all(|name| !name.starts_with("bwp"))
        );
        container.delete();
    }
}

/// Of a container's veth pairs, the one of `CNI_IFNAME` is shaped.
#[test]
fn one_of_several_veth_pairs() {
    let (host, container) = host();
    let result = Plugin::new("bridge")
        .command("ADD")
        .container(&container)
        .ifname("net1")
        .config(&bridge(&["10.7.0.0/16"]))
        .run()
        .expect_ok()
        .json();
    let mut config = shaped(&result);
    // Some meta plugins list the interfaces of the first network, too.
    let interfaces = config["prevResult"]["interfaces"].as_array_mut().unwrap();
    interfaces.insert(0, json!({"name": "veth1"}));
    let call = |verb: &str, config: &Value| {
        let call = bandwidth().command(verb).container(&container);
        call.ifname("net1").config(config).run().expect_ok()
    };
    let added = call("ADD", &config);
    let veth = result["interfaces"][1]["name"].as_str().unwrap();
    let shown = |link: &str| host.command(&["tc", "qdisc", "show", "dev", link]);
    assert!(shown(veth).contains("tbf"), "{}", shown(veth));
    assert!(shown("veth1").contains("noqueue"), "{}", shown("veth1"));
    call("CHECK", &added.with_prev());
    call("DEL", &added.with_prev());
    assert!(shown(veth).contains("noqueue"), "{}", shown(veth));
}
