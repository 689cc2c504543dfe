//! A kernel booted with `ipv6.disable=1`. It answers a dump of IPv6 routes with those of
//! all families that it has (`rtnetlink_rcv_msg` falls back to `PF_UNSPEC`).

use crate::common::{ip, sbr};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, Plugin, Run, merge, needs};

/// The rules with a source.
fn rules(container: &Container) -> Vec<String> {
    let text = ip(container, "rule");
    let lines = text.lines().filter(|line| !line.contains("from all"));
    lines.map(|line| line.replace('\t', " ")).collect()
}

/// The routes of a table; one that does not exist has none.
fn table(container: &Container, number: &str) -> Vec<String> {
    let shown = container.try_command(&["ip", "route", "show", "table", number]);
    let shown = shown.unwrap_or_default();
    shown.lines().map(|line| line.trim().to_owned()).collect()
}

/// Runs the chain of an interface plugin, tuning and sbr through its verbs.
#[track_caller]
fn chain(extra: &Value) {
    let host = Host::new();
    for command in [
        "link add v0 type veth peer name v1",
        "link set v0 up",
        "link set v1 up",
    ] {
        ip(&host, command);
    }
    let container = host.container("c1");
    ip(&container, "link set lo up");
    let network = json!({
        "cniVersion": "1.1.0",
        "name": "net",
        "ipam": {
            "type": "host-local",
            "subnet": "10.2.0.0/24",
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.60.0.0/16"}],
        },
    });
    let network = merge(network, extra);
    let kind = network["type"].as_str().unwrap().to_owned();
    let run = |name: &str, verb: &str, config: &Value| -> Run {
        let command = Plugin::new(name).command(verb).container(&container);
        command.config(config).run()
    };
    let added = run(&kind, "ADD", &network).expect_ok();
    let main = table(&container, "main");
    let chained = |name: &str, more: Value| {
        let config = json!({
            "cniVersion": "1.1.0", "name": "net", "type": name, "prevResult": added.json(),
        });
        merge(config, &more)
    };
    let configs = [
        (kind.as_str(), added.with_prev()),
        ("tuning", chained("tuning", json!({"mtu": 1400}))),
        ("sbr", chained("sbr", json!({}))),
    ];
    for (name, config) in &configs[1..] {
        run(name, "ADD", config).expect_ok();
    }
    assert_eq!(rules(&container), ["32765: from 10.2.0.2 lookup 100"]);
    let own = table(&container, "100");
    assert!(own.len() >= 3 && own.concat().contains("default via 10.2.0.1"));
    assert_eq!(table(&container, "main"), [""; 0], "{kind}");
    for (name, config) in &configs {
        run(name, "CHECK", config).expect_ok();
    }
    let (interface, chained) = configs.split_first().unwrap();
    for (name, config) in chained.iter().rev() {
        run(name, "DEL", config).expect_ok();
    }
    assert_eq!(table(&container, "main"), main, "{kind}");
    assert_eq!(rules(&container), [""; 0]);
    for (name, config) in configs.iter().rev().chain([interface]) {
        run(name, "DEL", config).expect_ok();
    }
    assert!(!ip(&container, "link").contains("eth0"), "{kind}");
    sbr().status(&configs[2].1).expect_ok();
}

#[test]
fn behind_each_interface_plugin() {
    needs(&["no-ipv6", "dummy", "ipvlan"]);
    for extra in [
        json!({"type": "dummy"}),
        json!({"type": "bridge", "bridge": "br0", "isGateway": true}),
        json!({"type": "macvlan", "master": "v0"}),
        json!({"type": "ptp"}),
        json!({"type": "ipvlan", "master": "v0"}),
    ] {
        chain(&extra);
    }
}
