//! Without IPAM the interface is up and has no addresses.

use crate::common::{MACVLAN, has_flag};
use serde_json::json;
use testkit::{Node, VERSIONS};

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

#[test]
fn every_version() {
    let network = MACVLAN.network();
    for version in VERSIONS {
        let container = network.container("c1");
        let config = MACVLAN.layer2(json!({"cniVersion": version}));
        let before = network.snapshot();
        let run = MACVLAN.plugin().add(&container, &config);
        if version < "0.3.0" {
            run.expect_error(999)
                .mentions("cannot convert: no valid IP addresses");
            before.assert_same(&network.snapshot());
        } else {
            let run = run.expect_ok();
            let mtu = run.json()["interfaces"][0]["mtu"].clone();
            assert_eq!(mtu.is_null(), version != "1.1.0", "{version}");
            if version >= "0.4.0" {
                let check = MACVLAN.plugin().check(&container, &run.with_prev());
                check.expect_ok();
            }
            MACVLAN.plugin().del(&container, &config).expect_ok();
        }
        container.delete();
    }
}

/// The interface is created up, also where its name is taken on the host.
#[test]
fn the_host_has_a_link_of_the_name() {
    let network = MACVLAN.network_on("eth0");
    let container = network.container("c1");
    let config = MACVLAN.layer2(json!({"master": "eth0"}));
    MACVLAN.plugin().add(&container, &config).expect_ok();
    assert!(has_flag(&container, "eth0", "UP"));
    assert_eq!(network.link_names(), ["eth0", "lo"]);
}
