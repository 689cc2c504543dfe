//! DEL in any state of configuration, records and rules.

use crate::common::{
    BACKENDS, call, config, filter_tables, firewall, mentions, nft_table, records,
};
use serde_json::{Value, json};
use testkit::{Host, Node, Plugin};

#[test]
fn del_removes_the_rules_in_any_state() {
    let without = |key: &str| {
        let mut config = json!({});
        config[key] = Value::Null;
        config
    };
    for backend in BACKENDS {
        for (what, change) in [
            ("all there", json!({})),
            ("no prevResult", without("prevResult")),
            ("policy gone", without("ingressPolicy")),
            ("broken policy", json!({"ingressPolicy": "none of these"})),
            (
                "broken type",
                json!({"ingressPolicy": 7, "firewalldZone": []}),
            ),
            ("broken result", json!({"prevResult": {"ips": 5}})),
            ("broken chain", json!({"iptablesAdminChainName": "-x"})),
            ("automatic", without("backend")),
            ("broken backend", json!({"backend": "none of these"})),
        ] {
            for netns in [true, false] {
                let host = Host::new();
                let c1 = host.container("c1");
                let added = config(json!({"backend": backend, "ingressPolicy": "same-bridge"}));
                // The bridge exists, and keeps its policy.
                host.command(&["ip", "link", "add", "cni0", "type", "bridge"]);
                firewall().add(&c1, &added).expect_ok();
                assert!(mentions(&host, "10.1.0.2") && mentions(&host, "fd00:1::2"));
                let changed = testkit::merge(added.clone(), &change);
                if !netns {
                    c1.delete();
                }
                for _ in 0..2 {
                    let del = firewall().command("DEL").id("c1").ifname("eth0");
                    let del = if netns {
                        del.netns("/run/netns/c1")
                    } else {
                        del.netns("")
                    };
                    del.config(&changed).run().expect_ok();
                    let rest = filter_tables(&host) + &nft_table(&host);
                    assert!(!mentions(&host, "10.1.0.2"), "{backend}, {what}:\n{rest}");
                    assert!(!mentions(&host, "fd00:1::2"), "{backend}, {what}:\n{rest}");
                    assert!(rest.contains("cni0"), "{backend}, {what}:\n{rest}");
                    assert_eq!(records(), [""; 0]);
                }
            }
        }
    }
}

#[test]
fn del_without_rules_creates_no_table() {
    let host = Host::new();
    let c1 = host.container("c1");
    let before = host.snapshot();
    for backend in ["", "iptables", "nftables", "firewalld"] {
        let config = config(json!({"backend": backend, "ingressPolicy": "isolated"}));
        firewall().del(&c1, &config).expect_ok();
        firewall()
            .command("DEL")
            .id("c1")
            .ifname("eth0")
            .netns("")
            .config(&config)
            .run()
            .expect_ok();
        before.assert_same(&host.snapshot());
    }
}

#[test]
fn the_last_del_leaves_what_upstream_leaves() {
    let left = |plugin: &Plugin| {
        let host = Host::new();
        let c1 = host.container("c1");
        let mut config = config(json!({"cniVersion": "1.0.0", "backend": "iptables"}));
        config["prevResult"]["cniVersion"] = "1.0.0".into();
        plugin.add(&c1, &config).expect_ok();
        plugin.del(&c1, &config).expect_ok();
        filter_tables(&host)
    };
    assert_eq!(left(&firewall()), left(&Plugin::peer("firewall")));
}

#[test]
fn a_late_del_leaves_the_rules_of_the_next_container() {
    for backend in BACKENDS {
        let host = Host::new();
        let c1 = host.container("c1");
        let config = config(json!({"backend": backend}));
        call("ADD", &c1, "first", &config).run().expect_ok();
        call("ADD", &c1, "second", &config).run().expect_ok();
        let before = filter_tables(&host) + &nft_table(&host);
        call("DEL", &c1, "first", &config).run().expect_ok();
        assert_eq!(filter_tables(&host) + &nft_table(&host), before);
        call("CHECK", &c1, "second", &config).run().expect_ok();
        call("DEL", &c1, "second", &config).run().expect_ok();
        assert!(!mentions(&host, "10.1.0.2"), "{backend}");
    }
}

#[test]
fn del_finds_the_rules_after_the_backend_was_changed() {
    for (old, new) in [
        ("iptables", "nftables"),
        ("nftables", "iptables"),
        ("", "nftables"),
    ] {
        let host = Host::new();
        let c1 = host.container("c1");
        let mut config = config(json!({"backend": old}));
        firewall().add(&c1, &config).expect_ok();
        config["backend"] = new.into();
        firewall().del(&c1, &config).expect_ok();
        assert!(!mentions(&host, "10.1.0.2"), "{old} {new}");
        assert_eq!(records(), [""; 0]);
    }
}

#[test]
fn the_policy_of_a_deleted_bridge_is_removed() {
    for backend in BACKENDS {
        let host = Host::new();
        let c1 = host.container("c1");
        let config = config(json!({"backend": backend, "ingressPolicy": "isolated"}));
        firewall().add(&c1, &config).expect_ok();
        firewall().del(&c1, &config).expect_ok();
        let rest = filter_tables(&host) + &nft_table(&host);
        assert!(!rest.contains("cni0"), "{backend}:\n{rest}");
    }
}

#[test]
fn the_plugin_works_where_no_records_can_be_kept() {
    let host = Host::new();
    let c1 = host.container("c1");
    std::fs::create_dir_all("/run/cni").unwrap();
    host.mount_tmpfs("/run/cni", "size=4k,ro");
    let config = config(json!({"backend": "iptables"}));
    let run = firewall().add(&c1, &config).expect_ok();
    assert!(
        run.stderr_text().contains("going on without a record"),
        "{}",
        run.stderr_text()
    );
    assert!(mentions(&host, "10.1.0.2"));
    firewall().check(&c1, &config).expect_ok();
    firewall().del(&c1, &config).expect_ok();
    assert!(!mentions(&host, "10.1.0.2"));
}
