//! DEL, in any state of configuration, records and rules.

use std::fs;

use serde_json::{Value, json};
use testkit::{Host, Node, merge};

use crate::common::{all_keys, backends, config, is_mapped, portmap, rules_of, ruleset, web};

fn both() -> Value {
    json!([
        {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
        {"hostPort": 53, "containerPort": 5353, "protocol": "udp", "hostIP": "192.0.2.1"},
        {"hostPort": 53, "containerPort": 5353, "protocol": "udp", "hostIP": "2001:db8::1"},
        {"hostPort": 9000, "containerPort": 9000, "protocol": "sctp"},
    ])
}

/// With incomplete or invalid configurations, with and without records.
#[test]
fn del_removes_the_rules_in_any_state() {
    let broken = [
        json!({}),
        json!({"prevResult": null}),
        json!({"prevResult": {"cniVersion": "9"}}),
        json!({"markMasqBit": 99, "backend": "no such", "conditionsV4": 3}),
        json!({"runtimeConfig": {"portMappings": [{"hostPort": -1}, 7]}}),
        json!({"backend": null, "rules": null}),
    ];
    for keys in backends() {
        for forgotten in [false, true] {
            for extra in &broken {
                let host = Host::new();
                let container = host.container("c1");
                let config = config(&container, &both(), &keys);
                portmap().add(&container, &config).expect_ok();
                assert!(is_mapped(&host));
                if forgotten {
                    fs::remove_dir_all("/run/cni").unwrap();
                }
                container.delete();
                let config = merge(config, extra);
                for netns in ["", "/run/netns/c1"] {
                    let call = portmap().command("DEL").container(&container);
                    let del = call.netns(netns).config(&config).run().expect_ok();
                    assert_eq!((del.stdout_text(), del.stderr_text()), Default::default());
                    let rules = ruleset(&host);
                    assert!(!is_mapped(&host), "{keys} {forgotten} {extra}\n{rules}");
                    assert_eq!(rules_of(&host, "CNI-DN-"), [""; 0]);
                }
            }
        }
    }
}

#[test]
fn del_without_mappings_uses_the_record() {
    for keys in backends() {
        let host = Host::new();
        let container = host.container("c1");
        let config = config(&container, &both(), &keys);
        portmap().add(&container, &config).expect_ok();
        let bare = merge(config, &json!({"runtimeConfig": null, "prevResult": null}));
        portmap().del(&container, &bare).expect_ok();
        assert!(!is_mapped(&host), "{keys}");
    }
}

/// Somebody has deleted a set, and the rule that looks it up. The others are searched.
#[test]
fn del_without_one_of_the_sets() {
    let host = Host::new();
    let container = host.container("c1");
    let config = config(&container, &both(), &json!({"rules": "map"}));
    portmap().add(&container, &config).expect_ok();
    let chain = host.command(&["nft", "-a", "list", "chain", "ip", "cni_portmap", "clients"]);
    let rule = chain.lines().find(|line| line.contains("@from_localhost"));
    let (_, handle) = rule.and_then(|rule| rule.rsplit_once(' ')).unwrap();
    host.command(&[
        "nft",
        &format!(
            "delete rule ip cni_portmap clients handle {handle}; delete set ip cni_portmap from_localhost"
        ),
    ]);
    let invalid = json!({"runtimeConfig": {"portMappings": [7]}});
    portmap()
        .del(&container, &merge(config, &invalid))
        .expect_ok();
    assert!(!is_mapped(&host), "{}", ruleset(&host));
}

/// The container's other networks and interfaces, and other containers.
#[test]
fn del_leaves_the_rules_of_others() {
    for keys in backends() {
        for forgotten in [false, true] {
            let host = Host::new();
            let container = host.container("c1");
            let mapping =
                |port: u16| json!([{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]);
            let with = |name: &str, port: u16, address: &str| {
                let mut config = config(&container, &mapping(port), &keys);
                config["name"] = name.into();
                config["prevResult"]["ips"] = json!([{"address": address}]);
                config
            };
            let calls = [
                ("c1", "eth0", with("net", 8080, "10.1.0.2/24")),
                ("c1", "eth1", with("other", 8081, "10.2.0.2/24")),
                ("c1", "eth2", with("net", 8082, "10.1.0.4/24")),
                ("c2", "eth0", with("net", 8083, "10.1.0.5/24")),
            ];
            let call = |verb: &str, (id, ifname, config): &(&str, &str, Value)| {
                let call = portmap().command(verb).container(&container);
                call.id(id).ifname(ifname).config(config).run().expect_ok();
            };
            for one in &calls {
                call("ADD", one);
            }
            let iptables = keys["backend"] == "iptables";
            // Upstream's chains are the same for two interfaces.
            if iptables && forgotten {
                continue;
            }
            if forgotten {
                fs::remove_dir_all("/run/cni").unwrap();
            }
            for number in 0..calls.len() {
                call("DEL", &calls[number]);
                for (later, (_, _, config)) in calls.iter().enumerate() {
                    let address = config["prevResult"]["ips"][0]["address"].as_str().unwrap();
                    let address = address.split('/').next().unwrap();
                    let there = !rules_of(&host, address).is_empty();
                    let rules = ruleset(&host);
                    assert_eq!(there, later > number, "{keys} {number} {later}\n{rules}");
                }
            }
        }
    }
}

#[test]
fn a_second_add_replaces_the_first() {
    for keys in backends() {
        let host = Host::new();
        let container = host.container("c1");
        let config = config(&container, &both(), &keys);
        portmap().add(&container, &config).expect_ok();
        let mut moved = merge(
            config.clone(),
            &json!({"runtimeConfig": {"portMappings": web()}}),
        );
        moved["prevResult"]["ips"] = json!([{"address": "10.1.0.7/24"}]);
        portmap().add(&container, &moved).expect_ok();
        let rules = ruleset(&host);
        if keys["backend"] == "iptables" {
            // The other family is left alone.
            assert!(rules_of(&host, "10.1.0.2").is_empty(), "{rules}");
        } else {
            assert!(!is_mapped(&host), "{keys}\n{rules}");
        }
        assert!(rules.contains("10.1.0.7"), "{rules}");
        portmap().check(&container, &moved).expect_ok();
        portmap().del(&container, &moved).expect_ok();
        assert!(
            !host
                .command(&["nft", "list", "ruleset"])
                .contains("10.1.0.7")
        );
    }
}

#[test]
fn rules_of_another_backend_are_removed() {
    for added in backends() {
        for deleted in backends() {
            let host = Host::new();
            let container = host.container("c1");
            let make = |keys: &Value| config(&container, &both(), keys);
            portmap().add(&container, &make(&added)).expect_ok();
            portmap().del(&container, &make(&deleted)).expect_ok();
            assert!(!is_mapped(&host), "{added} {deleted}");
            // An ADD with another backend removes the old rules.
            portmap().add(&container, &make(&added)).expect_ok();
            portmap().add(&container, &make(&deleted)).expect_ok();
            portmap().del(&container, &make(&deleted)).expect_ok();
            assert!(!is_mapped(&host), "{added} {deleted}");
        }
    }
}

/// The comments of iptables and nftables are shorter than such an ID.
#[test]
fn a_long_container_id_is_taken() {
    let ids = ["x".repeat(299) + "1", "x".repeat(299) + "2"];
    for keys in all_keys() {
        let host = Host::new();
        let container = host.container("c1");
        let with = |number: u16| {
            let mapping =
                json!([{"hostPort": 8080 + number, "containerPort": 80, "protocol": "tcp"}]);
            let mut config = config(&container, &mapping, &keys);
            config["cniVersion"] = "1.1.0".into();
            config["prevResult"] = json!({
                "cniVersion": "1.1.0", "ips": [{"address": format!("10.1.0.{}/24", number + 2)}],
            });
            config
        };
        let call = |verb: &str, number: u16| {
            let call = portmap().command(verb).container(&container);
            let call = call.id(&ids[usize::from(number)]).config(&with(number));
            call.run().expect_ok();
        };
        for number in [0, 1] {
            call("ADD", number);
            call("CHECK", number);
        }
        let mut gc = with(0);
        gc["cni.dev/valid-attachments"] = json!([{"containerID": ids[1], "ifname": "eth0"}]);
        portmap().gc(&gc).expect_ok();
        assert!(rules_of(&host, "10.1.0.2").is_empty(), "{keys}");
        call("CHECK", 1);
        call("DEL", 1);
        assert!(rules_of(&host, "10.1.0.3").is_empty(), "{keys}");
    }
}
