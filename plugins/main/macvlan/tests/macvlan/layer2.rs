//! Attachments without IPAM.

use crate::common::{MACVLAN, has_flag};
use serde_json::json;
use testkit::Node;

#[test]
fn the_interface_is_up_and_has_no_addresses() {
    let network = MACVLAN.network();
    let container = network.container("c1");
    let config = MACVLAN.layer2(json!({}));
    let run = MACVLAN.plugin().add(&container, &config).expect_ok();
    assert_eq!(run.json()["interfaces"].as_array().map(Vec::len), Some(1));
    assert!(run.json()["ips"].is_null());
    assert!(has_flag(&container, "eth0", "UP"));
    assert_eq!(container.addresses("eth0"), [""; 0]);
    let check = || MACVLAN.plugin().check(&container, &run.with_prev());
    check().expect_ok();
    container.ip("addr add 10.1.0.77/24 dev eth0");
    network.router().ping("10.1.0.77");
    check().expect_ok();
    container.ip("link set eth0 down");
    check().expect_error(999).mentions("interface eth0 is down");
}

/// The interface is created up, even if the host has a link of its name.
#[test]
fn the_host_has_a_link_of_the_name() {
    let network = MACVLAN.network_on("eth0");
    let container = network.container("c1");
    let config = MACVLAN.layer2(json!({"master": "eth0"}));
    MACVLAN.plugin().add(&container, &config).expect_ok();
    assert!(has_flag(&container, "eth0", "UP"));
    assert_eq!(network.link_names(), ["eth0", "lo"]);
}
