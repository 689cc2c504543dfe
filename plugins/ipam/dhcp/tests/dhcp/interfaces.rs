//! Leases of several interfaces, and over other interface plugins than `bridge`.

use crate::lan::{Daemon, LAN, Lan, QUICK, SERVER, config, eventually, plugin};
use serde_json::json;
use testkit::{Node, Plugin};

#[test]
fn interfaces_of_one_container_have_leases_of_their_own() {
    let lan = Lan::new();
    let _server = lan.dnsmasq("");
    let _daemon = Daemon::start(&[]);
    let container = lan.container("c1");
    lan.host.ip_batch(&[
        "link add second type veth peer name eth1 netns c1",
        &format!("link set second addrgenmode none master {LAN} up"),
    ]);
    container.ip("link set eth1 up");
    let add = |name: &str| {
        let call = plugin().command("ADD").ifname(name).container(&container);
        call.config(&config(&json!({}))).run().expect_ok().json()["ips"][0]["address"].clone()
    };
    assert_ne!(add("eth0"), add("eth1"));
    assert_eq!(lan.leases().len(), 2);
}

/// Leases over an interface plugin whose interfaces have the segment as their master.
#[track_caller]
fn leased_over(kind: &str, keys: &serde_json::Value, server_link: &str, names: &[&str]) {
    let lan = Lan::new();
    if server_link != "eth0" {
        lan.server.ip_batch(&[
            "addr flush dev eth0",
            &format!("link add link eth0 name {server_link} type vlan id 5"),
            &format!("link set {server_link} up"),
            &format!("addr add {SERVER}/24 dev {server_link}"),
        ]);
    }
    let _server = lan.dnsmasq(&format!("--interface={server_link}"));
    let _daemon = Daemon::start(QUICK);
    let containers: Vec<_> = names.iter().map(|name| lan.host.container(name)).collect();
    let conf = testkit::merge(
        json!({"cniVersion": "1.0.0", "name": "net", "type": kind, "master": LAN, "ipam": {"type": "dhcp"}}),
        keys,
    );
    let interface = Plugin::new(kind);
    let mut addresses: Vec<serde_json::Value> = Vec::new();
    for container in &containers {
        let run = interface.add(container, &conf).expect_ok();
        let address = run.json()["ips"][0]["address"].clone();
        assert!(!addresses.contains(&address), "{address} twice");
        addresses.push(address);
        assert_eq!(
            json!(container.addresses("eth0")),
            json!([addresses.last()])
        );
        interface.check(container, &run.with_prev()).expect_ok();
    }
    for container in &containers {
        interface.del(container, &conf).expect_ok();
    }
    eventually("the leases are released", || lan.leases().is_empty());
}

#[test]
fn macvlan_gets_leases() {
    leased_over("macvlan", &json!({}), "eth0", &["c1", "c2"]);
}

#[test]
fn ipvlan_gets_leases_although_its_interfaces_share_an_address() {
    testkit::needs(&["ipvlan"]);
    leased_over("ipvlan", &json!({}), "eth0", &["c1", "c2"]);
}

#[test]
fn vlan_gets_leases() {
    testkit::needs(&["vlan"]);
    // A master has one interface for each VLAN.
    leased_over("vlan", &json!({"vlanId": 5}), "eth0.5", &["c1"]);
}
