//! Masters and addresses.

use crate::common::IPVLAN;
use serde_json::json;
use testkit::{Node, ScriptedIpam};

#[test]
fn the_default_route_determines_the_master() {
    let network = IPVLAN.network();
    network.ip("link add m1 up type veth peer name p1");
    network.ip("route add unreachable default metric 1");
    network.ip("route add default dev m1 metric 20");
    network.ip("route add default dev m0 metric 10");
    let container = network.container("c1");
    let config = IPVLAN.ipv4(json!({"master": null}));
    let run = IPVLAN.plugin().add(&container, &config).expect_ok();
    let check = IPVLAN.plugin().check(&container, &run.with_prev());
    check.expect_ok();
    container.ping("10.1.0.1");
}

#[test]
fn the_default_route_of_the_container_determines_the_master() {
    let network = IPVLAN.network();
    let container = network.container("c1");
    network.ip("link set m0 netns c1 name up0");
    container.ip("link set up0 up");
    container.ip("route add default dev up0");
    let config = IPVLAN.ipv4(json!({"master": null, "linkInContainer": true}));
    IPVLAN.plugin().add(&container, &config).expect_ok();
    assert_eq!(container.link_attribute("eth0", "/link"), "up0");
}

/// An ipvlan as master: the kernel creates the new link on the same lower link.
#[test]
fn an_ipvlan_can_be_the_master() {
    let network = IPVLAN.network();
    network.ip("link add ipv0 up link m0 type ipvlan mode l2");
    let container = network.container("c1");
    let config = IPVLAN.ipv4(json!({"master": "ipv0"}));
    let run = IPVLAN.plugin().add(&container, &config).expect_ok();
    let check = IPVLAN.plugin().check(&container, &run.with_prev());
    check.expect_ok();
    container.ping("10.1.0.1");
}

/// The kernel refuses an address that another ipvlan of the master has.
#[test]
fn an_address_that_is_taken() {
    let network = IPVLAN.network();
    let (first, second) = (network.container("c1"), network.container("c2"));
    let answer = json!({"cniVersion": "1.1.0", "ips": [{"address": "10.1.0.9/24"}]});
    let ipam = ScriptedIpam::answering(&network, &answer);
    let config = IPVLAN.layer2(json!({"ipam": {"type": "scripted"}}));
    let add = |container| {
        let call = ipam.command(&IPVLAN.plugin(), "ADD").container(container);
        call.config(&config).run()
    };
    add(&first).expect_ok();
    add(&second)
        .expect_error(999)
        .mentions("failed to add IP addr 10.1.0.9/24 to \"eth0\": address already in use");
    assert_eq!(second.link_names(), ["lo"]);
    first.ping("10.1.0.1");
}
