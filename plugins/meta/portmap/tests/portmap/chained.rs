//! The result is passed on, and without mappings nothing is done.

use serde_json::{Value, json};
use testkit::{Host, Node, VERSIONS};

use crate::common::{backends, config, portmap, ruleset, web};

#[test]
fn the_result_is_passed_on_in_every_version() {
    let host = Host::new();
    let container = host.container("c1");
    for version in VERSIONS {
        let prev = match version {
            "0.1.0" | "0.2.0" => json!({
                "cniVersion": version,
                "ip4": {"ip": "10.1.0.2/24", "gateway": "10.1.0.1"},
                "dns": {"nameservers": ["10.1.0.1"]},
            }),
            _ => {
                let mut ip =
                    json!({"address": "10.1.0.2/24", "gateway": "10.1.0.1", "interface": 0});
                if version < "1.0.0" {
                    ip["version"] = "4".into();
                }
                json!({
                    "cniVersion": version,
                    "interfaces": [{"name": "eth0", "sandbox": "/run/netns/c1"}],
                    "ips": [ip],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dns": {"nameservers": ["10.1.0.1"], "domain": "example.org"},
                })
            }
        };
        for mappings in [web(), json!([])] {
            let keys = json!({"cniVersion": version, "backend": "nftables", "prevResult": prev});
            let config = config(&container, &mappings, &keys);
            let add = portmap().add(&container, &config).expect_ok();
            assert_eq!(add.json(), prev, "{version}");
            assert_eq!(add.stderr_text(), "");
            let check = portmap().check(&container, &add.with_prev());
            if version >= "0.4.0" {
                assert_eq!(check.expect_ok().stdout_text(), "");
            } else {
                check.expect_error(1);
            }
            let del = portmap().del(&container, &add.with_prev()).expect_ok();
            assert_eq!((del.stdout_text(), del.stderr_text()), Default::default());
        }
    }
}

/// No file, no rule, no process, even with a missing backend.
#[test]
fn without_mappings_nothing_is_done() {
    let host = Host::new();
    let container = host.container("c1");
    let before = host.snapshot();
    for keys in backends() {
        for mappings in [json!([]), Value::Null] {
            let config = config(&container, &mappings, &keys);
            let call = |verb: &str| {
                let call = portmap().command(verb).container(&container);
                call.env("PATH", "/nowhere")
                    .config(&config)
                    .run()
                    .expect_ok()
            };
            assert_eq!(call("ADD").json()["ips"], config["prevResult"]["ips"]);
            call("CHECK");
            call("DEL");
        }
    }
    before.assert_same(&host.snapshot());
    assert_eq!(host.sysctl("net/ipv4/conf/all/route_localnet"), "0");
}

#[test]
fn addresses_of_other_interfaces_are_not_mapped() {
    let host = Host::new();
    let container = host.container("c1");
    let prev = json!({
        "cniVersion": "1.0.0",
        "interfaces": [
            {"name": "cni0"},
            {"name": "eth1", "sandbox": "/run/netns/c1"},
            {"name": "eth0", "sandbox": "/run/netns/c1"},
        ],
        "ips": [
            {"address": "10.9.0.1/24", "interface": 0},
            {"address": "10.9.1.1/24", "interface": 1},
            {"address": "10.1.0.2/24", "interface": 2},
            {"address": "10.9.2.1/24", "interface": 2},
            {"address": "fd00:1::2/64"},
        ],
    });
    for keys in backends() {
        let mut config = config(&container, &web(), &keys);
        config["prevResult"] = prev.clone();
        portmap().add(&container, &config).expect_ok();
        let rules = ruleset(&host);
        assert!(!rules.contains("10.9."), "{rules}");
        assert!(rules.contains("10.1.0.2"), "{rules}");
        assert!(rules.contains("fd00:1::2"), "{rules}");
        portmap().del(&container, &config).expect_ok();
    }
}

#[test]
fn without_addresses_nothing_is_mapped() {
    let host = Host::new();
    let container = host.container("c1");
    let before = host.snapshot();
    for keys in backends() {
        let mut config = config(&container, &web(), &keys);
        config["prevResult"]["ips"] = json!([]);
        portmap().add(&container, &config).expect_ok();
        portmap().check(&container, &config).expect_ok();
        before.assert_same(&host.snapshot());
    }
}

#[test]
fn status_says_whether_the_backend_works() {
    let host = Host::new();
    let container = host.container("c1");
    for keys in backends() {
        let mut config = config(&container, &web(), &keys);
        config["cniVersion"] = "1.1.0".into();
        let before = host.snapshot();
        let status = portmap().status(&config).expect_ok();
        assert_eq!(status.stdout_text(), "");
        let nowhere = portmap().command("STATUS").env("PATH", "/nowhere");
        let run = nowhere.config(&config).run();
        if keys["backend"] == "iptables" {
            run.expect_error(50).mentions("executable file not found");
        } else {
            run.expect_ok();
        }
        if keys["backend"] == "nftables" {
            before.assert_same(&host.snapshot());
        }
    }
}
