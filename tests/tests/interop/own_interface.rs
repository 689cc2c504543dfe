//! Cases of the plugins whose interface exists in the container only: macvlan, ipvlan, vlan, host-device, loopback.

use serde_json::{Value, json};
use testkit::{merge, needs};

use crate::difference::Difference;
use crate::differences::*;
use crate::exchange::{Case, TWO};
use crate::side::peer_is_new;
use crate::site;

fn ipv4() -> Value {
    json!({
        "type": "host-local",
        "ranges": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10"}]],
        "routes": [{"dst": "10.50.0.0/16", "gw": "10.1.0.1"}],
    })
}

fn dual() -> Value {
    merge(
        ipv4(),
        &json!({"ranges": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10"}], [{"subnet": "fd00:1::/64", "rangeStart": "fd00:1::10"}]]}),
    )
}

fn plugin(name: &str, extra: Value) -> Value {
    merge(json!({"type": name, "master": "m0"}), &extra)
}

/// Differences of an attachment with this configuration.
fn expected(config: &Value) -> Vec<&'static Difference> {
    let mut expected = vec![&MTU_IN_RESULT];
    if config["ipam"]["type"] == "host-local" {
        expected.push(&FILE_MODES);
        // GC of host-device moves a device back, so its cases have none.
        if config["type"] != "host-device" {
            expected.push(&NOTES);
        }
    }
    if config["ipam"].to_string().contains("fd00:") {
        expected.push(&KEEP_ADDRESSES);
    }
    if config["type"] != "host-device" {
        expected.push(&TX_QUEUE);
    }
    let is_notifying = config["type"] == "macvlan" || config["type"] == "ipvlan";
    if is_notifying && config["ipam"]["type"] == "host-local" {
        expected.push(&NDISC_NOTIFY_OLD);
    }
    if config["dns"].is_null() {
        expected.push(&EMPTY_DNS);
    }
    expected
}

/// Compares in two versions with both address families, in one otherwise.
#[track_caller]
fn compare(config: Value) {
    let versions = if config.to_string().contains("fd00:") {
        TWO
    } else {
        &["1.0.0"]
    };
    let expected = expected(&config);
    let case = Case::new(config).at(site::uplink).versions(versions);
    case.expect(&expected).run();
}

/// The same with a master in the container, for which upstream has a key since release 1.2.
#[track_caller]
fn compare_in_container(config: Value) {
    let config = merge(config, &json!({"master": "eth1", "linkInContainer": true}));
    let expected = expected(&config);
    let case = Case::new(config).at(site::uplink_in_container);
    case.expect(&expected).run();
}

#[test]
fn macvlan() {
    let config = plugin("macvlan", json!({"ipam": dual()}));
    compare(config);
    for keys in [
        json!({"mode": "private", "ipam": ipv4()}),
        json!({"mode": "vepa", "mtu": 1400, "ipam": ipv4()}),
        json!({"mode": "passthru", "ipam": {}}),
        json!({"mode": "bridge", "runtimeConfig": {"mac": "02:00:00:00:00:07"}, "ipam": {}}),
        json!({"mac": "02:00:00:00:00:08", "ipam": ipv4(), "dns": {"nameservers": ["10.1.0.1"]}}),
        // The interface of the default route.
        json!({"master": "", "ipam": ipv4()}),
    ] {
        compare(plugin("macvlan", keys));
    }
    if peer_is_new() {
        compare_in_container(plugin("macvlan", json!({"ipam": ipv4()})));
        compare(plugin(
            "macvlan",
            json!({"bcqueuelen": 2000, "ipam": ipv4()}),
        ));
    }
}

#[test]
fn ipvlan() {
    needs(&["ipvlan"]);
    let config = plugin("ipvlan", json!({"ipam": dual()}));
    compare(config);
    for keys in [
        json!({"mode": "l3", "ipam": ipv4()}),
        json!({"mode": "l3s", "mtu": 1400, "ipam": ipv4()}),
    ] {
        compare(plugin("ipvlan", keys));
    }
    if peer_is_new() {
        compare_in_container(plugin("ipvlan", json!({"ipam": ipv4()})));
    }
}

#[test]
fn vlan_and_dummy() {
    needs(&["vlan", "dummy"]);
    let config = plugin("vlan", json!({"vlanId": 100, "ipam": dual()}));
    compare(config);
    let config = plugin("vlan", json!({"vlanId": 4094, "mtu": 1400, "ipam": ipv4()}));
    compare(config);
    // Upstream has dummy since release 1.2.
    if peer_is_new() {
        compare_in_container(plugin("vlan", json!({"vlanId": 100, "ipam": ipv4()})));
        compare(json!({"type": "dummy", "ipam": dual()}));
    }
}

#[test]
fn host_device() {
    for keys in [
        json!({"device": "m0", "ipam": dual()}),
        json!({"device": "m0"}),
        json!({"hwaddr": site::MAC, "ipam": ipv4(), "dns": {"nameservers": ["10.1.0.1"]}}),
    ] {
        let config = merge(json!({"type": "host-device"}), &keys);
        let expected = expected(&config);
        let case = Case::new(config)
            .at(site::uplink)
            .versions(TWO)
            .expect(&expected);
        // A device without a driver ends with the namespace.
        case.without_gc().expect(&[&RECORDS, &ALIAS_LEFT]).run();
    }
}

#[test]
fn loopback_and_tap() {
    let config = json!({"type": "loopback"});
    let case = Case::new(config).at(site::loopback).versions(TWO);
    case.expect(&[&EMPTY_DNS, &LOOPBACK_FORM]).run();
    // Upstream has tap since release 1.4.
    let taps = [
        json!({"ipam": {}}),
        json!({"multiQueue": true, "mtu": 1400, "mac": "02:00:00:00:00:07", "owner": 0, "ipam": ipv4()}),
    ];
    for keys in taps.iter().filter(|_| peer_is_new()) {
        compare(merge(json!({"type": "tap"}), keys));
    }
}
