//! `macspoofchk`: only frames with the container's own hardware address pass.

use crate::common::{assert_restored, attached, bridge, dual, host_end, layer2, reaches};
use crate::masquerade::traces;
use serde_json::{Value, json};
use std::fs;
use testkit::{Host, Node, filters, namespace, state};

fn config() -> Value {
    dual(json!({"isGateway": true, "macspoofchk": true}))
}

#[test]
fn frames_with_another_source_address_are_dropped() {
    let host = Host::new();
    let (c1, _) = attached(&host, "c1", &config());
    let (c2, _) = attached(&host, "c2", &config());
    for to in ["10.1.0.1", "fd00:1::1", "10.1.0.3", "fd00:1::3"] {
        c1.ping(to);
    }
    let own = c1.link_attribute("eth0", "/address");
    c1.ip("link set eth0 address 02:00:00:00:00:66");
    for to in ["10.1.0.1", "fd00:1::1", "10.1.0.3"] {
        assert!(!reaches(&c1, to), "{to}");
    }
    c2.ping("10.1.0.1");
    c1.ip(&format!("link set eth0 address {}", own.as_str().unwrap()));
    for node in [&c1, &c2] {
        node.ip("neigh flush all");
    }
    c1.ping("10.1.0.3");
}

/// As `nft` prints them.
#[test]
fn rules_are_upstreams() {
    let host = Host::new();
    let mac = "02:00:00:00:00:07";
    let config = layer2(json!({"macspoofchk": true, "runtimeConfig": {"mac": mac}}));
    let container = host.container("c1");
    let run = bridge().add(&container, &config).expect_ok();
    let expected = format!(
        r#"table bridge nat {{
	chain PREROUTING {{
		type filter hook prerouting priority dstnat; policy accept;
		iifname "{}" jump cni-br-iface-c1-eth0 comment "macspoofchk-c1-eth0"
	}}

	chain cni-br-iface-c1-eth0 {{
		jump cni-br-iface-c1-eth0-mac comment "macspoofchk-c1-eth0"
	}}

	chain cni-br-iface-c1-eth0-mac {{
		ether saddr {mac} return comment "macspoofchk-c1-eth0"
		drop comment "macspoofchk-c1-eth0"
	}}
}}
"#,
        host_end(&run)
    );
    assert_eq!(host.command(&["nft", "list", "ruleset"]), expected);
    bridge().check(&container, &run.with_prev()).expect_ok();
    bridge().del(&container, &run.with_prev()).expect_ok();
    assert_eq!(traces(&host), [""; 0]);
}

#[test]
fn check_names_what_is_missing() {
    for (change, words) in [
        (
            "nft flush chain bridge nat PREROUTING",
            "not found in chain PREROUTING",
        ),
        (
            "nft flush chain bridge nat cni-br-iface-c1-eth0",
            "chain cni-br-iface-c1-eth0 of the bridge's nftables table nat is not as it should be",
        ),
        (
            "nft flush chain bridge nat cni-br-iface-c1-eth0-mac",
            "chain cni-br-iface-c1-eth0-mac of",
        ),
        (
            "nft insert rule bridge nat cni-br-iface-c1-eth0-mac accept",
            "chain cni-br-iface-c1-eth0-mac of",
        ),
    ] {
        let host = Host::new();
        let (container, run) = attached(&host, "c1", &config());
        namespace::run(change);
        let check = bridge().check(&container, &run.with_prev());
        check.expect_error(999).mentions(words);
        bridge().del(&container, &run.with_prev()).expect_ok();
        assert_eq!(traces(&host), [""; 0], "{change}");
    }
}

#[test]
fn del_deletes_the_rules_whatever_is_left() {
    for gone in ["nothing", "link", "namespace", "environment", "table"] {
        for recorded in [true, false] {
            let host = Host::new();
            let (container, run) = attached(&host, "c1", &config());
            let (other, others) = attached(&host, "c2", &config());
            let mut config = run.with_prev();
            config["prevResult"] = Value::Null;
            let mut del = bridge().command("DEL").container(&container);
            match gone {
                "link" => drop(container.ip("link del eth0")),
                "namespace" => container.delete(),
                "environment" => del = del.netns(""),
                "table" => drop(namespace::run("nft flush ruleset")),
                _ => {}
            }
            if !recorded {
                fs::remove_dir_all("/run/cni/filters").unwrap();
            }
            for _ in 0..2 {
                let run = del.clone().config(&config).run().expect_ok();
                assert_eq!(run.stderr_text(), "");
                let left = traces(&host);
                assert!(
                    !left.iter().any(|line| line.contains("c1-eth0")),
                    "{gone}: {left:#?}"
                );
            }
            if gone != "table" {
                bridge().check(&other, &others.with_prev()).expect_ok();
            }
            bridge().del(&other, &others.with_prev()).expect_ok();
            assert_eq!(traces(&host), [""; 0], "{gone} {recorded}");
        }
    }
}

#[test]
fn gc_deletes_rules_of_ports_that_no_longer_exist() {
    for recorded in [true, false] {
        let host = Host::new();
        let (dead, _) = attached(&host, "c1", &config());
        let (live, run) = attached(&host, "c2", &config());
        // Of another network, of which this one's GC knows no attachments.
        let other = host.container("c3");
        let config_of_other = layer2(json!({"name": "other", "macspoofchk": true}));
        let run_of_other = bridge().add(&other, &config_of_other).expect_ok();
        dead.ip("link del eth0");
        if !recorded {
            fs::remove_dir_all("/run/cni/filters").unwrap();
        }
        let mut gc = config();
        gc["cni.dev/valid-attachments"] = json!([{"containerID": "c2", "ifname": "eth0"}]);
        bridge().gc(&gc).expect_ok();
        assert!(!traces(&host).iter().any(|line| line.contains("c1-eth0")));
        bridge().check(&live, &run.with_prev()).expect_ok();
        bridge()
            .check(&other, &run_of_other.with_prev())
            .expect_ok();
    }
}

/// An earlier attachment of the same name left its rules; upstream adds a second jump.
#[test]
fn added_again_without_a_del_between() {
    for recorded in [true, false] {
        let host = Host::new();
        let (container, _) = attached(&host, "c1", &config());
        container.ip("link del eth0");
        fs::remove_dir_all("/var/lib/cni/networks").unwrap();
        if !recorded {
            fs::remove_dir_all("/run/cni/filters").unwrap();
        }
        let run = bridge().add(&container, &config()).expect_ok();
        let rules = filters(&host);
        let jumps = rules
            .iter()
            .filter(|line| line.contains("jump cni-br-iface-c1-eth0 "));
        assert_eq!(jumps.count(), 1, "{rules:#?}");
        bridge().check(&container, &run.with_prev()).expect_ok();
        bridge().del(&container, &run.with_prev()).expect_ok();
        assert_eq!(traces(&host), [""; 0]);
    }
}

#[test]
fn a_container_id_too_long_for_a_comment_is_refused() {
    let host = Host::new();
    let container = host.container("c1");
    let before = state(&host);
    let add = |id: &str| {
        let add = bridge().command("ADD").container(&container).id(id);
        add.config(&config()).run()
    };
    let error = add(&"i".repeat(112)).expect_error(4);
    error.mentions("container ID of 112 bytes is too long for macspoofchk (at most 111)");
    assert_restored(&host, &before, "after the failure");
    let id = "i".repeat(111);
    add(&id).expect_ok();
    let del = bridge().command("DEL").container(&container).id(&id);
    del.config(&config()).run().expect_ok();
    assert_eq!(traces(&host), [""; 0]);
}
