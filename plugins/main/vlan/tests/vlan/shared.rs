//! Test cases that vlan shares with other plugins of one interface.

use crate::common::VLAN;
use serde_json::json;
use testkit::Node;

#[test]
fn every_version() {
    let dns = json!({"nameservers": ["10.1.0.53"], "search": ["example.org"]});
    VLAN.every_version(&VLAN.network(), &VLAN.dual(json!({"dns": dns})));
}

/// Unlike macvlan and ipvlan, it does not announce its addresses.
#[test]
fn addresses_and_routes_of_both_families() {
    VLAN.addresses_and_routes_of_both_families(false);
}

#[test]
fn mtu_up_to_the_masters() {
    VLAN.mtu_up_to_the_masters(&[]);
}

#[test]
fn link_options() {
    let protocol = ("/linkinfo/info_data/protocol", json!("802.1Q"));
    VLAN.link_options(&json!({}), &[protocol]);
}

/// A VLAN of a master exists once, so there is one container.
#[test]
fn the_host_has_a_link_of_the_name() {
    VLAN.host_has_a_link_of_the_name(1);
}

#[test]
fn the_master_in_the_container() {
    VLAN.the_master_in_the_container();
}

#[test]
fn check_names_each_drift() {
    VLAN.drift_is_named("link set eth0 address 02:00:00:00:00:0b => vlan: Interface eth0 Mac ");
}

#[test]
fn check_of_lease_and_previous_result() {
    VLAN.lease_and_previous_result_are_checked();
}

#[test]
fn check_of_the_master() {
    VLAN.the_master_is_checked();
}

#[test]
fn check_of_pods_of_upstream() {
    VLAN.pods_of_upstream_pass(&json!({}));
}

#[test]
fn interop() {
    let mut configs = Vec::new();
    for version in ["0.4.0", "1.0.0"] {
        configs.push(VLAN.dual(json!({"cniVersion": version, "mtu": 1400})));
        configs.push(VLAN.dual(json!({"cniVersion": version, "vlanId": 0})));
    }
    VLAN.either_way_round(&configs);
}

#[test]
fn each_request_fails_without_a_trace() {
    // The link, two addresses, up, two routes.
    let config = VLAN.dual(json!({"mtu": 1400}));
    assert_eq!(VLAN.each_request_fails(&config), 6);
    VLAN.each_request_fails_elsewhere(&[VLAN.ipv4(json!({}))]);
}

/// Unlike other plugins, vlan does not pass on the code of IPAM's error.
#[test]
fn ipam_fails() {
    VLAN.ipam_fails(999);
}

#[test]
fn status() {
    VLAN.status(
        r#"
        {"master": "gone"} => 50: failed to lookup master "gone": Link not found
        {"mtu": 9000} => 50: invalid MTU 9000, must be [0, master MTU(1500)]
        {"vlanId": 5000} => invalid VLAN ID 5000
        {"ipam": null} => no plugin name provided
        "#,
    );
}

#[test]
fn del_from_anywhere() {
    VLAN.del_from_anywhere(&[
        json!({"vlanId": 7777}),
        json!({"vlanId": "x"}),
        json!({"mtu": 9000}),
        json!({"master": "gone"}),
        json!({"master": null}),
        json!({"prevResult": "nonsense"}),
    ]);
}

#[test]
fn gc_releases_what_nobody_holds() {
    VLAN.gc_releases_what_nobody_holds();
}

#[test]
fn bad_input_is_refused() {
    let table = r#"
        {"master": ""} => "master" field is required. It specifies the host interface name
        {"master": null} => "master" field is required
        {"master": "gone"} => failed to lookup master "gone": Link not found
        {"vlanId": -1} => invalid VLAN ID -1 (must be between 0 and 4095 inclusive)
        {"vlanId": 4095} => the largest VLAN ID is 4094
        {"vlanId": 70000} => invalid VLAN ID 70000 (must be between
        {"vlanId": "5"} => failed to load netconf: vlanId: expected an integer, got string
        {"mtu": 1501} => invalid MTU 1501, must be [0, master MTU(1500)]
        {"mtu": -1} => invalid MTU -1, must be [0, master MTU(1500)]
        {"linkInContainer": "yes"} => failed to load netconf: linkInContainer: expected
        {"ipam": null} => no plugin name provided
        {"ipam": {"type": null}} => no plugin name provided
        {"ipam": "x"} => failed to load netconf: ipam: expected
        {"prevResult": []} => failed to load netconf: prevResult: expected an object
        "#;
    VLAN.refuses(&VLAN.bare_network(), &VLAN.dual(json!({})), table);
}

#[test]
fn messages_are_upstreams() {
    VLAN.messages_are_upstreams(
        r#"
        {"vlanId": 4095} => invalid VLAN ID 4095 (must be between 0 and 4095 inclusive)
        {"ipam": {"type": ""}} => no plugin name provided
        "#,
    );
}

#[test]
fn masters_and_vlans_that_the_kernel_refuses() {
    let network = VLAN.network();
    // The kernel has one link for each VLAN of a master.
    network.ip("link add m0.5 link m0 type vlan id 5");
    let table = r#"
        {"master": "lo"} => failed to create vlan: operation not supported
        {} => failed to create vlan: file exists
        {} => VLAN device already exists
        "#;
    VLAN.refuses(&network, &VLAN.ipv4(json!({})), table);
}

#[test]
fn an_interface_that_exists() {
    VLAN.an_interface_that_exists(&[VLAN.ipv4(json!({"vlanId": 6}))]);
}

#[test]
fn examples_of_the_page_work() {
    const PAGE: &str = include_str!("../../../../../Documentation/plugins/vlan.md");
    VLAN.examples_work(PAGE, 3);
}
