//! Test cases that ipvlan shares with other plugins of one interface.

use crate::common::IPVLAN;
use serde_json::json;
use testkit::Node;

#[test]
fn every_version() {
    let dns = json!({"nameservers": ["10.1.0.53"], "search": ["example.org"]});
    IPVLAN.every_version(&IPVLAN.network(), &IPVLAN.dual(json!({"dns": dns})));
}

#[test]
fn addresses_and_routes_of_both_families() {
    IPVLAN.addresses_and_routes_of_both_families(true);
}

/// Unlike macvlan and vlan, a negative MTU means none.
#[test]
fn mtu_up_to_the_masters() {
    IPVLAN.mtu_up_to_the_masters(&[(json!(-1), 1500)]);
}

#[test]
fn link_options() {
    IPVLAN.link_options(&json!({}), &[]);
}

#[test]
fn the_host_has_a_link_of_the_name() {
    IPVLAN.host_has_a_link_of_the_name(4);
}

#[test]
fn the_master_in_the_container() {
    IPVLAN.the_master_in_the_container();
}

#[test]
fn check_names_each_drift() {
    IPVLAN.drift_is_named(
        r#"
        link set eth0 type ipvlan mode l3 => Container IPVlan mode l3 does not match expected value: l2
        link del eth0; link add eth0 address 02:00:00:00:00:0a up type dummy => Error: Container interface eth0 not of type ipvlan
        "#,
    );
}

#[test]
fn check_of_lease_and_previous_result() {
    IPVLAN.lease_and_previous_result_are_checked();
}

#[test]
fn check_of_the_master() {
    IPVLAN.the_master_is_checked();
    let attached = IPVLAN.attached(&json!({}));
    attached.fails(
        &json!({"mode": "l3"}),
        "Container IPVlan mode l2 does not match expected value: l3",
    );
    // Which link was the master at the time of ADD is not recorded.
    attached.passes(&json!({"master": null}));
    let mac = attached.network.link_attribute("m0", "/address");
    attached.network.ip("link set m0 address 02:00:00:00:00:0b");
    let words = format!(
        "Interface eth0 Mac {} doesn't match container Mac: 02:00:00:00:00:0b",
        mac.as_str().unwrap()
    );
    attached.fails(&json!({}), &words);
}

#[test]
fn check_of_pods_of_upstream() {
    IPVLAN.pods_of_upstream_pass(&json!({}));
}

#[test]
fn interop() {
    let chained = json!({
        "cniVersion": "1.0.0", "interfaces": [{"name": "m0"}],
        "ips": [{"address": "10.1.0.20/24", "gateway": "10.1.0.1"}], "routes": [{"dst": "0.0.0.0/0"}],
    });
    IPVLAN.either_way_round(&[
        IPVLAN.dual(json!({"cniVersion": "0.4.0", "mtu": 1400})),
        IPVLAN.dual(json!({"cniVersion": "1.0.0", "mode": "l3"})),
        IPVLAN.dual(json!({"cniVersion": "1.0.0", "mode": "l3s"})),
        IPVLAN.layer2(json!({"cniVersion": "1.0.0", "prevResult": chained})),
    ]);
    IPVLAN.side_by_side();
}

#[test]
fn each_request_fails_without_a_trace() {
    // The link, two addresses, up, two routes.
    let config = IPVLAN.dual(json!({"mtu": 1400, "mode": "l3"}));
    assert_eq!(IPVLAN.each_request_fails(&config), 6);
    IPVLAN.each_request_fails_elsewhere(&[IPVLAN.ipv4(json!({}))]);
}

#[test]
fn ipam_fails() {
    IPVLAN.ipam_fails(11);
}

#[test]
fn status() {
    IPVLAN.status(
        r#"
        {"master": "gone"} => 50: failed to lookup master "gone": Link not found
        {"master": "v0"} => 50: master "v0" is a port of a bridge
        {"master": "lo"} => 50: master "lo" is the loopback interface
        {"mtu": 9000} => 50: invalid MTU 9000, must be [0, master MTU(1500)]
        {"mode": "x"} => unknown ipvlan mode
        "#,
    );
    // The plugin before this one names the master.
    let config = IPVLAN.layer2(json!({"master": null}));
    IPVLAN.plugin().status(&config).expect_ok();
}

#[test]
fn del_from_anywhere() {
    IPVLAN.del_from_anywhere(&[
        json!({"mode": "nonsense"}),
        json!({"mtu": []}),
        json!({"master": "gone"}),
        // Neither a default route nor a single interface before.
        json!({"master": null}),
        json!({"master": null, "prevResult": {"interfaces": [{"name": "a"}, {"name": "b"}]}}),
        json!({"prevResult": "nonsense"}),
    ]);
}

#[test]
fn gc_releases_what_nobody_holds() {
    IPVLAN.gc_releases_what_nobody_holds();
}

#[test]
fn bad_input_is_refused() {
    let table = r#"
        {"master": "gone"} => failed to lookup master "gone": Link not found
        {"master": null} => no default route interface found
        {"master": 7} => failed to load netconf: master: expected a string, got number
        {"mode": "l4"} => unknown ipvlan mode: "l4"
        {"mode": "L2"} => unknown ipvlan mode: "L2"
        {"mtu": 1501} => invalid MTU 1501, must be [0, master MTU(1500)]
        {"mtu": "x"} => failed to load netconf: mtu: expected an integer or "auto", got "x"
        {"linkInContainer": 1} => failed to load netconf: linkInContainer: expected
        {"ipam": "x"} => failed to load netconf: ipam: expected
        {"ipam": {"type": null}} => no plugin name provided
        "#;
    IPVLAN.refuses(&IPVLAN.bare_network(), &IPVLAN.dual(json!({})), table);
}

#[test]
fn messages_are_upstreams() {
    IPVLAN.messages_are_upstreams(
        r#"
        {"mode": "vepa"} => unknown ipvlan mode: "vepa"
        {"master": ""} => no default route interface found
        {"ipam": {"type": ""}} => no plugin name provided
        "#,
    );
}

#[test]
fn masters_that_the_kernel_refuses() {
    let network = IPVLAN.network();
    network.ip("link add mv0 link m0 type macvlan");
    let table = r#"
        {"master": "m0"} => failed to create ipvlan: device or resource busy
        {"master": "lo"} => failed to create ipvlan: invalid argument
        "#;
    IPVLAN.refuses(&network, &IPVLAN.dual(json!({})), table);
}

#[test]
fn an_interface_that_exists() {
    IPVLAN.an_interface_that_exists(&[IPVLAN.dual(json!({}))]);
}

#[test]
fn examples_of_the_page_work() {
    const PAGE: &str = include_str!("../../../../../Documentation/plugins/ipvlan.md");
    IPVLAN.examples_work(PAGE, 4);
}
