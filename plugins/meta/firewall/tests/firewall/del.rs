//! DEL from wherever things may be left, and the addresses' next containers.

use crate::common::{
    BACKENDS, call, config, filter_tables, firewall, mentions, nft_table, records,
};
use serde_json::{Value, json};
use testkit::{Host, Node, Plugin};

#[test]
fn from_wherever_things_are_left() {
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
                // The bridge is there, and keeps its policy.
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
                    assert_eq!(records(), []);
                }
            }
        }
    }
}

/// Without any rules there is nothing to do, and no table is brought about.
#[test]
fn of_nothing() {
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

/// A table is as it was before, but for the chains that upstream leaves as well.
#[test]
fn the_last_one_leaves_what_upstream_leaves() {
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

/// A late DEL of a container whose address has another one by now.
#[test]
fn an_address_that_has_gone_on() {
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

/// The network was switched from one backend to another under its containers.
#[test]
fn after_the_backend_has_changed() {
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
        assert_eq!(records(), []);
    }
}

/// A policy goes with its bridge.
#[test]
fn with_the_bridge_gone() {
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

/// Records cannot be kept: rules are made and removed all the same.
#[test]
fn without_records() {
    let host = Host::new();
    let c1 = host.container("c1");
    std::fs::create_dir_all("/run/cni").unwrap();
    host.mount_tmpfs("/run/cni", "size=4k,ro");
    let config = config(json!({"backend": "iptables"}));
    let run = firewall().add(&c1, &config).expect_ok();
    assert!(
        run.stderr_text().contains("no record of 10.1.0.2"),
        "{}",
        run.stderr_text()
    );
    assert!(mentions(&host, "10.1.0.2"));
    firewall().check(&c1, &config).expect_ok();
    firewall().del(&c1, &config).expect_ok();
    assert!(!mentions(&host, "10.1.0.2"));
}
