//! Beside the peer's binaries: what one has added, the other checks and deletes.

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
fn handed_over() {
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

/// Rules of ours that the peer deleted: the record they left does no harm.
#[test]
fn records_outlive_rules() {
    let host = Host::new();
    let c1 = host.container("c1");
    let config = of("1.0.0", json!({"backend": "iptables"}));
    firewall().add(&c1, &config).expect_ok();
    Plugin::peer("firewall").del(&c1, &config).expect_ok();
    assert_eq!(records().len(), 2);
    // The address's next container is the peer's; GC knows it by its being valid, or
    // not at all.
    let gc = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "firewall", "cni.dev/valid-attachments": [],
    });
    firewall().gc(&gc).expect_ok();
    assert_eq!(records(), []);
    assert!(!mentions(&host, "10.1.0.2"));
}
