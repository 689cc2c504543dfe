//! Every address of prevResult is served, whichever interface it is listed for.

use crate::common::{BACKENDS, config, filter_tables, firewall, mentions, records};
use serde_json::{Value, json};
use testkit::Host;

/// A result with one address of each family for interface `index`, which is the
/// bridge, the host's end of the veth pair, the container's, or none of them.
fn result(interfaces: &Value, index: Option<i64>) -> Value {
    let ip = |address: &str| match index {
        Some(index) => json!({"interface": index, "address": address}),
        None => json!({"address": address}),
    };
    json!({
        "cniVersion": "1.1.0", "interfaces": interfaces,
        "ips": [ip("10.1.0.2/24"), ip("fd00:1::2/64")],
    })
}

#[test]
fn an_address_is_served_whatever_interface_it_names() {
    let bridged = json!([
        {"name": "cni0"}, {"name": "veth0"}, {"name": "eth0", "sandbox": "/run/netns/c1"},
    ]);
    let without_sandbox = json!([{"name": "dummy0"}]);
    for backend in BACKENDS {
        for policy in ["open", "same-bridge", "isolated"] {
            for (interfaces, index) in [
                (&without_sandbox, Some(0)),
                (&bridged, Some(0)),
                (&bridged, Some(1)),
                (&bridged, Some(2)),
                (&bridged, Some(9)),
                (&bridged, None),
            ] {
                let host = Host::new();
                let c1 = host.container("c1");
                let result = result(interfaces, index);
                let config = config(json!({
                    "backend": backend, "ingressPolicy": policy, "prevResult": result,
                }));
                let case = format!("{backend}, {policy}, {interfaces}, interface {index:?}");
                firewall().check(&c1, &config).expect_error(999);
                assert_eq!(firewall().add(&c1, &config).expect_ok().json(), result);
                assert!(mentions(&host, "10.1.0.2"), "{case}");
                assert!(mentions(&host, "fd00:1::2"), "{case}");
                firewall().check(&c1, &config).expect_ok();
                if policy == "isolated" {
                    // GC, by the records and comments alone.
                    let mut gc = config.clone();
                    gc["prevResult"] = Value::Null;
                    gc["cni.dev/valid-attachments"] = json!([]);
                    firewall().gc(&gc).expect_ok();
                } else {
                    firewall().del(&c1, &config).expect_ok();
                }
                assert!(!mentions(&host, "10.1.0.2"), "{case}");
                assert!(!mentions(&host, "fd00:1::2"), "{case}");
                assert_eq!(records(), [""; 0], "{case}");
            }
        }
    }
}

#[test]
fn an_interface_without_sandbox_gets_the_rules_of_upstream() {
    let host = Host::new();
    let c1 = host.container("c1");
    let config = json!({
        "cniVersion": "1.0.0", "name": "test", "type": "firewall", "backend": "iptables",
        "prevResult": {
            "cniVersion": "1.0.0", "interfaces": [{"name": "dummy0"}],
            "ips": [{"address": "10.0.0.2/24", "interface": 0}],
        },
    });
    firewall().add(&c1, &config).expect_ok();
    let text = filter_tables(&host);
    for rule in [
        "-A FORWARD -m comment --comment \"CNI firewall plugin rules\" -j CNI-FORWARD",
        "-A CNI-FORWARD -m comment --comment \"CNI firewall plugin admin overrides\" -j CNI-ADMIN",
        "-A CNI-FORWARD -d 10.0.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A CNI-FORWARD -s 10.0.0.2/32 -j ACCEPT",
    ] {
        assert!(text.lines().any(|line| line == rule), "{rule} in\n{text}");
    }
}
