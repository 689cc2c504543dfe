//! A failing ADD changes nothing; what a killed one leaves is found by DEL and GC.

use serde_json::{Value, json};
use testkit::{Invocation, Node, fail_each_request};

use crate::common::{Net, all_keys, config, is_mapped, portmap, rules_of, ruleset};

fn mappings() -> Value {
    json!([
        {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
        {"hostPort": 53, "containerPort": 5353, "protocol": "udp"},
    ])
}

#[test]
fn add_is_undone_whichever_request_fails() {
    for keys in all_keys() {
        let net = Net::new();
        let config = config(&net.container, &mappings(), &keys);
        let add = || {
            net.host
                .set_sysctl("net/ipv4/conf/cni0/route_localnet", "0");
            portmap()
                .command("ADD")
                .container(&net.container)
                .config(&config)
        };
        let count = fail_each_request(&net.host, add);
        // One transaction for both families, and one of nft.
        assert!(
            (1..=2).contains(&count) || keys["backend"] == "iptables",
            "{keys}: {count}"
        );
    }
}

#[test]
fn a_failing_add_resets_route_localnet() {
    for keys in all_keys() {
        let net = Net::new();
        let config = config(&net.container, &mappings(), &keys);
        for at in ["1", "2"] {
            let call = portmap()
                .command("ADD")
                .container(&net.container)
                .config(&config);
            let run = call.env("RTNL_FAIL_AT", at).run();
            if !run.is_ok() {
                assert_eq!(net.host.sysctl("net/ipv4/conf/cni0/route_localnet"), "0");
            }
        }
    }
}

/// Killed before each change to the kernel, in ADD and in DEL.
#[test]
fn what_a_killed_call_leaves_is_removed() {
    for keys in all_keys() {
        for killed in ["ADD", "DEL"] {
            for way_out in ["DEL", "GC", "ADD and DEL"] {
                for at in 1..6 {
                    if !kill_one(&keys, killed, way_out, at) {
                        break;
                    }
                }
            }
        }
    }
}

/// Whether the process was killed.
fn kill_one(keys: &Value, killed: &str, way_out: &str, at: u32) -> bool {
    let net = Net::new();
    let mut config = config(&net.container, &mappings(), keys);
    config["cniVersion"] = "1.1.0".into();
    config["prevResult"]["cniVersion"] = "1.1.0".into();
    config["cni.dev/valid-attachments"] = json!([]);
    let call = |verb: &str| -> Invocation {
        portmap()
            .command(verb)
            .container(&net.container)
            .config(&config)
    };
    if killed == "DEL" {
        call("ADD").run().expect_ok();
    }
    let run = call(killed).env("RTNL_KILL_AT", at.to_string()).run();
    let hit = !run.is_ok();
    match way_out {
        "DEL" => drop(call("DEL").run().expect_ok()),
        "GC" => drop(portmap().gc(&config).expect_ok()),
        _ => {
            call("ADD").run().expect_ok();
            call("CHECK").run().expect_ok();
            call("DEL").run().expect_ok();
        }
    }
    let rules = ruleset(&net.host);
    assert!(
        !is_mapped(&net.host),
        "{keys} {killed} {way_out} {at}\n{rules}"
    );
    assert_eq!(rules_of(&net.host, "CNI-DN-"), [""; 0]);
    hit
}
