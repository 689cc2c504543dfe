//! Test cases that macvlan shares with other plugins of one interface.

use crate::common::MACVLAN;
use serde_json::json;
use testkit::{Node, dual_stack, reused_addresses_are_reachable};

#[test]
fn every_version() {
    let dns = json!({"nameservers": ["10.1.0.53"], "search": ["example.org"]});
    MACVLAN.every_version(&MACVLAN.network(), &MACVLAN.dual(json!({"dns": dns})));
}

#[test]
fn every_version_without_ipam() {
    MACVLAN.every_version_without_ipam();
}

#[test]
fn precedence_of_the_hardware_address() {
    MACVLAN.precedence_of_the_hardware_address();
}

#[test]
fn malformed_arguments_are_refused() {
    MACVLAN.malformed_arguments_are_refused();
}

#[test]
fn addresses_and_routes_of_both_families() {
    MACVLAN.addresses_and_routes_of_both_families(true);
}

/// Its neighbours have cached the hardware address of the container that had the addresses before.
#[test]
fn reused_addresses_are_reachable_at_once() {
    let network = MACVLAN.network();
    let ipam = json!({"type": "static", "addresses": [
        {"address": "10.1.0.10/24"}, {"address": "fd00:1::10/64"},
    ]});
    reused_addresses_are_reachable(
        &network,
        network.router(),
        &MACVLAN.plugin(),
        &MACVLAN.layer2(json!({"ipam": ipam})),
        &["10.1.0.10", "fd00:1::10"],
    );
}

#[test]
fn mtu_up_to_the_masters() {
    MACVLAN.mtu_up_to_the_masters(&[]);
}

#[test]
fn link_options() {
    let queue = ("/linkinfo/info_data/bcqueuelen", json!(250));
    MACVLAN.link_options(&json!({"bcqueuelen": 250}), &[queue]);
}

#[test]
fn the_host_has_a_link_of_the_name() {
    MACVLAN.host_has_a_link_of_the_name(8);
}

#[test]
fn the_master_in_the_container() {
    MACVLAN.the_master_in_the_container();
}

#[test]
fn check_names_each_drift() {
    MACVLAN.drift_is_named(
        r#"
        link set eth0 address 02:00:00:00:00:0b => interface eth0 Mac
        link set eth0 type macvlan mode private => container macvlan mode private does not match expected value: bridge
        {"bcqueuelen": 200} link set eth0 type macvlan bcqueuelen 300 => interface eth0 has a broadcast queue of 300 packets, bcqueuelen is 200
        {"gsoMaxSize": 30000} link set eth0 gso_max_size 40000 => interface eth0 has 40000 where gsoMaxSize is 30000
        "#,
    );
}

#[test]
fn check_of_lease_and_previous_result() {
    MACVLAN.lease_and_previous_result_are_checked();
}

#[test]
fn check_of_the_master() {
    MACVLAN.the_master_is_checked();
}

/// Upstream's older releases ignore the length of the broadcast queue.
#[test]
fn check_of_pods_of_upstream() {
    MACVLAN.pods_of_upstream_pass(&json!({"bcqueuelen": 200}));
}

#[test]
fn interop() {
    let mac = json!({"mac": "02:00:00:00:00:0b"});
    let mut configs = Vec::new();
    for version in ["0.4.0", "1.0.0"] {
        let with = |keys| testkit::merge(json!({"cniVersion": version}), &keys);
        configs.push(MACVLAN.dual(with(json!({"mtu": 1400, "runtimeConfig": mac}))));
        configs.push(MACVLAN.dual(with(json!({"mode": "passthru"}))));
        configs.push(MACVLAN.layer2(with(json!({"mode": "vepa", "runtimeConfig": mac}))));
    }
    MACVLAN.either_way_round(&configs);
    MACVLAN.side_by_side();
}

#[test]
fn each_request_fails_without_a_trace() {
    let mut config = MACVLAN.dual(json!({
        "mtu": 1400, "bcqueuelen": 100, "mac": "02:00:00:00:00:0a",
    }));
    config["ipam"]["routes"] = json!([
        {"dst": "0.0.0.0/0"}, {"dst": "10.51.0.0/16", "table": 100}, {"dst": "fd00:50::/32"},
    ]);
    // The link, two addresses, up, three routes.
    assert_eq!(MACVLAN.each_request_fails(&config), 7);
    let layer2 = MACVLAN.layer2(json!({}));
    assert_eq!(MACVLAN.each_request_fails(&layer2), 1);
    let passthru = MACVLAN.ipv4(json!({"mode": "passthru"}));
    assert_eq!(MACVLAN.each_request_fails(&passthru), 3);
    MACVLAN.each_request_fails_elsewhere(&[MACVLAN.ipv4(json!({})), layer2]);
}

#[test]
fn ipam_fails() {
    MACVLAN.ipam_fails(11);
}

#[test]
fn status() {
    MACVLAN.status(
        r#"
        {"master": "gone"} => 50: failed to lookup master "gone": Link not found
        {"master": "v0"} => 50: master "v0" is a port of a bridge
        {"master": "lo"} => 50: master "lo" is the loopback interface
        {"mtu": 9000} => 50: invalid MTU 9000, must be [0, master MTU(1500)]
        {"mode": "x"} => unknown macvlan mode
        "#,
    );
    // In the container the master may exist.
    let config = MACVLAN.layer2(json!({"master": "gone", "linkInContainer": true}));
    MACVLAN.plugin().status(&config).expect_ok();
}

#[test]
fn del_from_anywhere() {
    MACVLAN.del_from_anywhere(&[
        json!({"mode": "nonsense"}),
        json!({"mtu": "nonsense"}),
        json!({"master": "gone"}),
        json!({"master": null}),
        json!({"mac": "nonsense", "runtimeConfig": 7}),
        json!({"prevResult": "nonsense"}),
    ]);
}

#[test]
fn gc_releases_what_nobody_holds() {
    MACVLAN.gc_releases_what_nobody_holds();
}

#[test]
fn bad_input_is_refused() {
    let network = MACVLAN.bare_network();
    let values = r#"
        {"mode": "source"} => unknown macvlan mode: "source"
        {"mode": "Bridge"} => unknown macvlan mode: "Bridge"
        {"mtu": 1501} => invalid MTU 1501, must be [0, master MTU(1500)]
        {"mtu": -1} => invalid MTU -1, must be [0, master MTU(1500)]
        {"mtu": 5000000000} => invalid MTU 5000000000, must be
        {"master": "nosuch"} => failed to lookup master "nosuch": Link not found
        {"mac": "02:00:00"} => invalid args 02:00:00 for MAC addr: address 02:00:00: invalid MAC address
        {"runtimeConfig": {"mac": "x"}} => address x: invalid MAC address
        {"mac": "01:00:5e:00:00:01"} => it is a multicast address
        "#;
    MACVLAN.refuses(&network, &MACVLAN.dual(json!({})), values);
    let types = r#"
        {"master": 7} => failed to load netconf: master: expected a string, got number
        {"mode": true} => failed to load netconf: mode: expected a string, got bool
        {"mtu": "big"} => failed to load netconf: mtu: expected an integer or "auto", got "big"
        {"linkInContainer": 1} => failed to load netconf: linkInContainer: expected
        {"bcqueuelen": -1} => failed to load netconf: bcqueuelen: -1 is out of range
        {"numQueues": "2"} => failed to load netconf: numQueues: expected an integer, got string
        {"runtimeConfig": {"mac": []}} => failed to load netconf: runtimeConfig.mac: expected a string
        {"dns": "x"} => failed to load netconf: dns: expected
        {"ipam": "x"} => failed to load netconf: ipam: expected
        {"ipam": {"type": 7}} => failed to load netconf: ipam.type: expected a string
        {"prevResult": 7} => failed to load netconf: prevResult: expected an object
        "#;
    let layer2 = MACVLAN.layer2(json!({"ipam": {"type": null}}));
    MACVLAN.refuses(&network, &layer2, types);
}

#[test]
fn messages_are_upstreams() {
    MACVLAN.messages_are_upstreams(
        r#"
        {"mode": "l2"} => unknown macvlan mode: "l2"
        {"master": ""} => no default route interface found
        {"mac": "01:00:5e:00:00:01"} => invalid args 01:00:5e:00:00:01 for MAC addr: address 01:00:5e:00:00:01: invalid MAC address
        "#,
    );
}

#[test]
fn masters_that_the_kernel_refuses() {
    let network = MACVLAN.network();
    network.ip("link add br0 type bridge");
    network.ip("link add v0 type veth peer name v1");
    network.ip("link set v0 master br0");
    let table = r#"
        {"master": "v0"} => failed to create macvlan: device or resource busy
        {"master": "lo"} => failed to create macvlan: invalid argument
        "#;
    MACVLAN.refuses(&network, &MACVLAN.layer2(json!({})), table);
    // IPAM is not called before the link exists.
    MACVLAN.refuses(
        &network,
        &MACVLAN.dual(json!({"ipam": dual_stack()})),
        table,
    );
}

#[test]
fn an_interface_that_exists() {
    MACVLAN.an_interface_that_exists(&[MACVLAN.dual(json!({})), MACVLAN.layer2(json!({}))]);
}

#[test]
fn examples_of_the_page_work() {
    const PAGE: &str = include_str!("../../../../../Documentation/plugins/macvlan.md");
    MACVLAN.examples_work(PAGE, 4);
}
