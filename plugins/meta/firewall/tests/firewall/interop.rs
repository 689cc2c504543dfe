//! Interoperability: what one implementation added, the other checks and deletes.

use crate::common::{bridged, config, filter_tables, firewall, mentions, records};
use serde_json::{Value, json};
use testkit::{Host, Plugin};

fn of(version: &str, extra: Value) -> Value {
    let mut config = config(extra);
    config["cniVersion"] = version.into();
    config["prevResult"] = bridged(version, "cni0", 2);
    config
}

#[test]
fn one_checks_and_deletes_what_the_other_added() {
    let (ours, peer) = (firewall(), Plugin::peer("firewall"));
    for (from, to) in [(&peer, &ours), (&ours, &peer)] {
        for version in ["0.4.0", "1.0.0"] {
            for extra in [
                json!({"backend": "iptables"}),
                json!({"ingressPolicy": "same-bridge"}),
                json!({"iptablesAdminChainName": "OTHER"}),
            ] {
                let host = Host::new();
                let c1 = host.container("c1");
                let config = of(version, extra);
                let result = from.add(&c1, &config).expect_ok().json()["ips"].take();
                for plugin in [to, from] {
                    plugin.check(&c1, &config).expect_ok();
                }
                // Both at once, in a host that has both.
                assert_eq!(to.add(&c1, &config).expect_ok().json()["ips"], result);
                for plugin in [to, from] {
                    plugin.check(&c1, &config).expect_ok();
                }
                to.del(&c1, &config).expect_ok();
                assert!(!mentions(&host, "10.1.0.2"), "{}", filter_tables(&host));
                assert!(!mentions(&host, "fd00:1::2"), "{}", filter_tables(&host));
                from.del(&c1, &config).expect_ok();
            }
        }
    }
}

/// The record of rules that upstream deleted does no harm.
#[test]
fn a_record_without_rules_is_harmless() {
    let host = Host::new();
    let c1 = host.container("c1");
    let config = of("1.0.0", json!({"backend": "iptables"}));
    firewall().add(&c1, &config).expect_ok();
    Plugin::peer("firewall").del(&c1, &config).expect_ok();
    assert_eq!(records().len(), 2);
    // Upstream added the address's next container, which has no record.
    let gc = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "firewall", "cni.dev/valid-attachments": [],
    });
    firewall().gc(&gc).expect_ok();
    assert_eq!(records(), [""; 0]);
    assert!(!mentions(&host, "10.1.0.2"));
}
