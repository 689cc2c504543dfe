//! GC removes what stale attachments left, and nothing else.

use crate::common::{
    BACKENDS, bridged, call, config, filter_tables, firewall, mentions, nft_table, records,
};
use serde_json::{Value, json};
use std::fs;
use testkit::{Container, Host, Node, Plugin};

/// ADDs of `net` (10.1.0.2 to .4, IDs `id2` to `id4`) and of `other` (10.1.0.9).
fn crowd(c1: &Container, backend: &str) -> Value {
    let base = json!({"backend": backend, "ingressPolicy": "same-bridge"});
    for number in [2, 3, 4] {
        let mut config = config(base.clone());
        config["prevResult"] = bridged("1.1.0", "cni0", number);
        call("ADD", c1, &format!("id{number}"), &config)
            .run()
            .expect_ok();
    }
    let mut other = config(base.clone());
    other["name"] = "other".into();
    other["prevResult"] = bridged("1.1.0", "br-other", 9);
    call("ADD", c1, "id2", &other).run().expect_ok();
    let mut gc = config(base);
    gc["prevResult"] = Value::Null;
    gc
}

fn all(host: &Host) -> String {
    filter_tables(host) + &nft_table(host)
}

#[test]
fn gc_removes_what_is_not_valid() {
    for backend in BACKENDS {
        let host = Host::new();
        let c1 = host.container("c1");
        host.command(&["ip", "link", "add", "cni0", "type", "bridge"]);
        host.command(&["ip", "link", "add", "br-other", "type", "bridge"]);
        let mut gc = crowd(&c1, backend);
        let before = all(&host);
        // Without the key nothing is stale.
        firewall().gc(&gc).expect_ok();
        assert_eq!(all(&host), before);
        gc["cni.dev/valid-attachments"] = json!([
            {"containerID": "id2", "ifname": "eth0"}, {"containerID": "id3", "ifname": "net1"},
            {"containerID": "id4", "ifname": "eth0"},
        ]);
        firewall().gc(&gc).expect_ok();
        for (address, stays) in [
            ("10.1.0.2", true),
            ("fd00:1::2", true),
            ("10.1.0.3", false),
            ("fd00:1::3", false),
            ("10.1.0.4", true),
            ("10.1.0.9", true),
            ("fd00:1::9", true),
        ] {
            assert_eq!(mentions(&host, address), stays, "{backend} {address}");
        }
        gc["cni.dev/valid-attachments"] = json!([]);
        gc["ingressPolicy"] = "nonsense".into();
        firewall().gc(&gc).expect_ok();
        assert!(!mentions(&host, "10.1.0.2") && !mentions(&host, "fd00:1::4"));
        assert!(mentions(&host, "10.1.0.9") && all(&host).contains("cni0"));
        if backend == "iptables" {
            assert_eq!(records(), ["10.1.0.9", "fd00:1::9"]);
        }
        // Policies are removed with their bridges, whichever network set them.
        host.command(&["ip", "link", "del", "cni0"]);
        firewall().gc(&gc).expect_ok();
        assert!(!all(&host).contains("cni0"), "{}", all(&host));
        assert!(all(&host).contains("br-other"));
    }
}

/// Rules of upstream and of an administrator.
#[test]
fn rules_without_a_record_stay() {
    let host = Host::new();
    let c1 = host.container("c1");
    host.command(&["ip", "link", "add", "cni0", "type", "bridge"]);
    let mut config = config(json!({"cniVersion": "1.0.0", "backend": "iptables"}));
    config["prevResult"]["cniVersion"] = "1.0.0".into();
    Plugin::peer("firewall").add(&c1, &config).expect_ok();
    let before = all(&host);
    let gc = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "firewall", "cni.dev/valid-attachments": [],
    });
    firewall().gc(&gc).expect_ok();
    assert_eq!(all(&host), before);
}

/// Whoever goes back to this release from a later one has records of another form, which name
/// their owner.
#[test]
fn records_of_a_later_release_are_collected_with_their_rules() {
    let host = Host::new();
    let c1 = host.container("c1");
    host.command(&["ip", "link", "add", "cni0", "type", "bridge"]);
    let mut gc = crowd(&c1, "iptables");
    for entry in fs::read_dir("/run/cni/firewall").unwrap() {
        let path = entry.unwrap().path();
        let record = fs::read_to_string(&path).unwrap();
        let later = record.replace("\"version\":1", "\"version\":2");
        assert_ne!(later, record);
        fs::write(&path, later.replace("\"address\"", "\"host\"")).unwrap();
    }
    let exists = |address: &str| fs::exists(format!("/run/cni/firewall/{address}")).unwrap();
    gc["cni.dev/valid-attachments"] = json!([
        {"containerID": "id2", "ifname": "eth0"}, {"containerID": "id4", "ifname": "eth0"},
    ]);
    firewall().gc(&gc).expect_ok();
    // DEL finds them without prevResult, too.
    let del = config(json!({"backend": "iptables", "prevResult": null}));
    call("DEL", &c1, "id4", &del).run().expect_ok();
    for (address, stays) in [
        ("10.1.0.2", true),
        ("fd00:1::2", true),
        ("10.1.0.3", false),
        ("fd00:1::3", false),
        ("10.1.0.4", false),
        ("fd00:1::4", false),
        ("10.1.0.9", true),
    ] {
        assert_eq!(mentions(&host, address), stays, "{address}");
        assert_eq!(exists(address), stays, "{address}");
    }
}

#[test]
fn six_hundred_addresses_are_collected() {
    let host = Host::new();
    let c1 = host.container("c1");
    let mut result = bridged("1.1.0", "cni0", 2);
    let addresses: Vec<Value> = (0..600)
        .map(|n| json!({"interface": 2, "address": format!("10.2.{}.{}/16", n / 250, n % 250)}))
        .collect();
    result["ips"] = addresses.into();
    let config = config(json!({"backend": "iptables", "prevResult": result}));
    firewall().add(&c1, &config).expect_ok();
    assert_eq!(records().len(), 600);
    let gc = testkit::merge(
        config,
        &json!({"prevResult": null, "cni.dev/valid-attachments": []}),
    );
    firewall().gc(&gc).expect_ok();
    assert_eq!(records(), [""; 0]);
    assert!(!mentions(&host, "10.2.1.7"));
}
