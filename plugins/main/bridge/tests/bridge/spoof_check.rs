//! `macspoofchk`: only frames with the container's own hardware address pass.

use crate::common::{assert_restored, bridge, dual, host_end, layer2, run_on, state};
use crate::masquerade::traces;
use serde_json::{Value, json};
use std::fs;
use std::net::IpAddr;
use std::time::Duration;
use testkit::{Container, Host, Node, Run, filters};

fn config() -> Value {
    dual(json!({"isGateway": true, "macspoofchk": true}))
}

fn attached(host: &Host, name: &str) -> (Container, Run) {
    let container = host.container(name);
    let run = bridge().add(&container, &config()).expect_ok();
    bridge().check(&container, &run.with_prev()).expect_ok();
    (container, run)
}

fn reaches(from: &Container, to: &str) -> bool {
    let to: IpAddr = to.parse().unwrap();
    from.can_reach(to, Duration::from_millis(400))
}

#[test]
fn frames_with_another_address_are_dropped() {
    let host = Host::new();
    let (c1, _) = attached(&host, "c1");
    let (c2, _) = attached(&host, "c2");
    for to in ["10.1.0.1", "fd00:1::1", "10.1.0.3", "fd00:1::3"] {
        c1.ping(to);
    }
    let own = c1.link("eth0").unwrap()["address"]
        .as_str()
        .unwrap()
        .to_owned();
    run_on(&c1, "ip link set eth0 address 02:00:00:00:00:66");
    for to in ["10.1.0.1", "fd00:1::1", "10.1.0.3"] {
        assert!(!reaches(&c1, to), "{to}");
    }
    c2.ping("10.1.0.1");
    run_on(&c1, &format!("ip link set eth0 address {own}"));
    for node in [&c1, &c2] {
        run_on(node, "ip neigh flush all");
    }
    c1.ping("10.1.0.3");
}

/// As the reference has them, and as `nft` prints them.
#[test]
fn what_the_kernel_has() {
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
        let (container, run) = attached(&host, "c1");
        run_on(&host, change);
        let check = bridge().check(&container, &run.with_prev());
        check.expect_error(999).mentions(words);
        bridge().del(&container, &run.with_prev()).expect_ok();
        assert_eq!(traces(&host), [""; 0], "{change}");
    }
}

#[test]
fn del_from_whatever_is_left() {
    for gone in ["nothing", "link", "namespace", "environment", "table"] {
        for noted in [true, false] {
            let host = Host::new();
            let (container, run) = attached(&host, "c1");
            let (other, others) = attached(&host, "c2");
            let mut config = run.with_prev();
            config["prevResult"] = Value::Null;
            let mut del = bridge().command("DEL").container(&container);
            match gone {
                "link" => drop(run_on(&container, "ip link del eth0")),
                "namespace" => container.delete(),
                "environment" => del = del.netns(""),
                "table" => drop(run_on(&host, "nft flush ruleset")),
                _ => {}
            }
            if !noted {
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
            assert_eq!(traces(&host), [""; 0], "{gone} {noted}");
        }
    }
}

#[test]
fn gc_collects_checks_of_ports_that_are_gone() {
    for noted in [true, false] {
        let host = Host::new();
        let (dead, _) = attached(&host, "c1");
        let (live, run) = attached(&host, "c2");
        // As of another network, which GC of this one knows nothing about.
        let other = host.container("c3");
        let config_of_other = layer2(json!({"name": "other", "macspoofchk": true}));
        let run_of_other = bridge().add(&other, &config_of_other).expect_ok();
        run_on(&dead, "ip link del eth0");
        if !noted {
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

/// Another attachment of this name has left its rules: upstream would add a second one.
#[test]
fn added_again_without_a_del_between() {
    for noted in [true, false] {
        let host = Host::new();
        let (container, _) = attached(&host, "c1");
        run_on(&container, "ip link del eth0");
        fs::remove_dir_all("/var/lib/cni/networks").unwrap();
        if !noted {
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
fn a_container_id_that_leaves_no_room_is_refused() {
    let host = Host::new();
    let container = host.container("c1");
    let before = state(&host);
    let add = |id: &str| {
        let add = bridge().command("ADD").container(&container).id(id);
        add.config(&config()).run()
    };
    let error = add(&"i".repeat(112)).expect_error(4);
    error.mentions("container ID of 112 bytes is too long for macspoofchk (at most 111)");
    assert_restored(&host, &before, "refused");
    let id = "i".repeat(111);
    add(&id).expect_ok();
    let del = bridge().command("DEL").container(&container).id(&id);
    del.config(&config()).run().expect_ok();
    assert_eq!(traces(&host), [""; 0]);
}
