//! Interoperability with the distribution's upstream, which has iptables only.

use serde_json::{Value, json};
use testkit::{Host, Node, Plugin};

use crate::common::{config, portmap};

fn many() -> Value {
    let mut list = vec![
        json!({"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "192.0.2.1"}),
        json!({"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "2001:db8::1"}),
        json!({"hostPort": 9000, "containerPort": 9000, "protocol": "sctp"}),
        json!({"hostPort": 54, "containerPort": 53, "protocol": "udp", "hostIP": "0.0.0.0"}),
    ];
    for port in 8000..8040 {
        list.push(json!({"hostPort": port, "containerPort": 80, "protocol": "tcp"}));
    }
    list.into()
}

fn variants() -> Vec<Value> {
    vec![
        json!({}),
        json!({"snat": false}),
        json!({"markMasqBit": 3}),
        json!({"externalSetMarkChain": "KUBE-MARK-MASQ"}),
        json!({
            "conditionsV4": ["!", "-s", "198.51.100.0/24"],
            "conditionsV6": ["!", "-s", "2001:db8:9::/64"],
        }),
    ]
}

fn saved(host: &Host) -> String {
    ["iptables-save", "ip6tables-save"]
        .map(|command| host.command(&[command, "-t", "nat"]))
        .concat()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(" [").next().unwrap_or_default().to_owned() + "\n")
        .collect()
}

fn host() -> Host {
    let host = Host::new();
    for command in ["iptables", "ip6tables"] {
        host.command(&[command, "-t", "nat", "-N", "KUBE-MARK-MASQ"]);
        // Another masquerade rule, which must not come first.
        let before = ["-A", "POSTROUTING", "-o", "ens1", "-j", "MASQUERADE"];
        host.command(&[&[command, "-t", "nat"], &before[..]].concat());
    }
    host
}

/// A directory with only the commands of IPv4.
fn only_iptables(host: &Host) -> String {
    let directory = host.dir().join("only");
    std::fs::create_dir_all(&directory).unwrap();
    for name in ["iptables", "iptables-save", "iptables-restore"] {
        let real = host.command(&["sh", "-c", &format!("command -v {name}")]);
        let _ = std::os::unix::fs::symlink(real.trim(), directory.join(name));
    }
    directory.display().to_string()
}

fn chains(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().filter(|line| line.starts_with(':')).collect();
    lines.sort_unstable();
    lines
}

fn rules(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with(':')).collect()
}

#[test]
fn the_rules_are_the_same() {
    for extra in variants() {
        let add = |plugin: &Plugin| {
            let host = host();
            let container = host.container("c1");
            let config = config(&container, &many(), &extra);
            plugin.add(&container, &config).expect_ok();
            saved(&host)
        };
        let (ours, theirs) = (add(&portmap()), add(&Plugin::peer("portmap")));
        assert_eq!(chains(&ours), chains(&theirs), "{extra}");
        let mut sorted = [rules(&ours), rules(&theirs)];
        assert!(sorted[0].len() > 20);
        // Rules of different chains may be in another order.
        for list in &mut sorted {
            list.sort_by_key(|rule| rule.split(' ').nth(1).map(str::to_owned));
        }
        assert_eq!(sorted[0], sorted[1], "{extra}");
    }
}

#[test]
fn one_checks_and_deletes_what_the_other_added() {
    let (ours, peer) = (portmap(), Plugin::peer("portmap"));
    for extra in variants() {
        for (adds, deletes) in [
            (&ours, &peer),
            (&peer, &ours),
            (&ours, &ours),
            (&peer, &peer),
        ] {
            let host = host();
            let container = host.container("c1");
            let config = config(&container, &many(), &extra);
            let before = saved(&host);
            adds.add(&container, &config).expect_ok();
            let mut of_ipv4 = config.clone();
            // The peer, version 1.1.1, also looks for IPv4 rules in ip6tables, if that is
            // installed.
            of_ipv4["prevResult"]["ips"] = json!([{"address": "10.1.0.2/24"}]);
            portmap().check(&container, &config).expect_ok();
            let check = deletes.command("CHECK").container(&container);
            let check = check.env("PATH", only_iptables(&host)).config(&of_ipv4);
            check.run().expect_ok();
            deletes.del(&container, &config).expect_ok();
            adds.del(&container, &config).expect_ok();
            // Upstream leaves the shared chains.
            let after = saved(&host);
            let shared = [
                "CNI-HOSTPORT-SETMARK",
                "CNI-HOSTPORT-MASQ",
                "CNI-HOSTPORT-DNAT",
            ];
            let left = after
                .lines()
                .filter(|line| !shared.iter().any(|chain| line.contains(chain)));
            let left: Vec<&str> = left.collect();
            assert_eq!(left, before.lines().collect::<Vec<_>>(), "{extra}");
        }
    }
}

#[test]
fn gc_collects_what_upstream_added() {
    let host = host();
    let containers = ["c1", "c2", "c3"].map(|name| host.container(name));
    let mut mine = Value::Null;
    for (number, container) in containers.iter().enumerate() {
        let mut config = config(container, &many(), &json!({}));
        // Of another network.
        if number == 2 {
            config["name"] = "other".into();
        }
        Plugin::peer("portmap").add(container, &config).expect_ok();
        mine = config;
    }
    mine["name"] = "net".into();
    mine["cniVersion"] = "1.1.0".into();
    mine["cni.dev/valid-attachments"] = json!([{"containerID": "c2", "ifname": "eth0"}]);
    portmap().gc(&mine).expect_ok();
    let rules = saved(&host);
    assert!(!rules.contains("id: \\\"c1\\\""), "{rules}");
    for id in ["c2", "c3"] {
        assert!(rules.contains(&format!("id: \\\"{id}\\\"")), "{rules}");
    }
    assert_eq!(
        rules
            .lines()
            .filter(|line| line.starts_with(":CNI-DN-"))
            .count(),
        4
    );
}
