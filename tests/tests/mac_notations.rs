//! Hardware addresses in every notation that upstream accepts.

use blackbox::answer;
use serde_json::{Value, json};
use testkit::{Host, Node, Plugin, merge};

const NOTATIONS: [&str; 5] = [
    "02:00:00:00:00:0a",
    "02:00:00:00:00:0A",
    "02-00-00-00-00-0a",
    "0200.0000.000a",
    "02000000000a",
];

#[test]
fn each_notation_is_accepted_for_every_hardware_address() {
    for mac in NOTATIONS {
        for (plugin, keys, args) in [
            (
                "bridge",
                json!({"args": {"cni": {"mac": mac}}}),
                String::new(),
            ),
            (
                "bridge",
                json!({"runtimeConfig": {"mac": mac}}),
                String::new(),
            ),
            ("bridge", json!({}), format!("MAC={mac}")),
            (
                "macvlan",
                json!({"master": "up0", "mac": mac}),
                String::new(),
            ),
            (
                "macvlan",
                json!({"master": "up0", "runtimeConfig": {"mac": mac}}),
                String::new(),
            ),
            ("tap", json!({"mac": mac}), String::new()),
            ("tap", json!({}), format!("MAC={mac}")),
        ] {
            let host = Host::new();
            host.command(&[
                "ip", "link", "add", "up0", "type", "veth", "peer", "name", "down0",
            ]);
            let container = host.container("c1");
            let config = merge(
                json!({"cniVersion": "1.1.0", "name": "net", "type": plugin}),
                &keys,
            );
            let call = Plugin::new(plugin).command("ADD").container(&container);
            let call = if args.is_empty() {
                call
            } else {
                call.args(&args)
            };
            answer::result(&call.config(&config).run());
            assert_eq!(
                address(&container.ip_json(&["link", "show", "eth0"])),
                "02:00:00:00:00:0a"
            );
        }
    }
}

#[test]
fn tuning_accepts_each_notation() {
    for mac in NOTATIONS {
        let host = Host::new();
        let container = host.container("c1");
        container.command(&[
            "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other",
        ]);
        let prev = json!({"cniVersion": "1.1.0", "interfaces": [{"name": "eth0", "sandbox": container.netns()}]});
        let config = json!({"cniVersion": "1.1.0", "name": "net", "type": "tuning", "mac": mac, "prevResult": prev});
        answer::result(&Plugin::new("tuning").add(&container, &config));
        assert_eq!(
            address(&container.ip_json(&["link", "show", "eth0"])),
            "02:00:00:00:00:0a"
        );
    }
}

fn address(links: &Value) -> String {
    links[0]["address"].as_str().unwrap_or_default().to_owned()
}
