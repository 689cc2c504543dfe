//! VLAN IDs and masters.

use crate::common::VLAN;
use serde_json::json;
use std::net::IpAddr;
use std::time::Duration;
use testkit::{Container, Node, merge, wire};

const ID: &str = "/linkinfo/info_data/id";

/// How long an answer may take; one that is not there by then was dropped.
const SILENCE: Duration = Duration::from_millis(400);

fn reaches(container: &Container, address: [u8; 4]) -> bool {
    container.can_reach(IpAddr::from(address), SILENCE)
}

#[test]
fn vlans_are_separate_networks() {
    let network = VLAN.network();
    let add = |name: &str, id: u16| {
        let container = network.container(name);
        let config = VLAN.ipv4(json!({"vlanId": id}));
        VLAN.plugin().add(&container, &config).expect_ok();
        container
    };
    let (five, six) = (add("five", 5), add("six", 6));
    five.ping("10.1.0.1");
    six.ip("addr add 10.6.0.10/24 dev eth0");
    six.ping("10.6.0.1");
    assert!(!reaches(&five, [10, 1, 0, 11]));
    assert!(!reaches(&six, [10, 1, 0, 10]));
}

/// A VLAN is one network across two masters if the networks of the masters are connected.
#[test]
fn one_vlan_of_two_masters() {
    let network = VLAN.network();
    let router = network.router();
    let other = wire(&network, "m1", "other", &[]);
    router.ip("link add up0 type veth peer name up0 netns other");
    for switch in [router, &other] {
        switch.ip("link add br0 up type bridge");
        switch.ip("link set eth0 master br0");
        switch.ip("link set up0 up master br0");
    }
    let add = |name, extra| {
        let container = network.container(name);
        VLAN.plugin().add(&container, &VLAN.ipv4(extra)).expect_ok();
        container
    };
    let a = add("a", json!({"vlanId": 7}));
    let _b = add("b", json!({"vlanId": 7, "master": "m1"}));
    let _c = add("c", json!({"vlanId": 8, "master": "m1"}));
    a.ping("10.1.0.11");
    assert!(!reaches(&a, [10, 1, 0, 12]));
}

#[test]
fn smallest_and_largest_ids() {
    let network = VLAN.network();
    for (extra, id) in [
        (json!({"vlanId": 1}), 1),
        (json!({"vlanId": 4094}), 4094),
        (json!({"vlanId": 0}), 0),
        (json!({"vlanId": null}), 0),
    ] {
        let container = network.container("c1");
        let run = VLAN.plugin().add(&container, &VLAN.ipv4(extra)).expect_ok();
        assert_eq!(container.link_attribute("eth0", ID), id);
        for verb in ["CHECK", "DEL"] {
            let call = VLAN.plugin().command(verb).container(&container);
            call.config(&run.with_prev()).run().expect_ok();
        }
        container.delete();
    }
}

#[test]
fn id_0_is_for_priority_tagged_frames() {
    let network = VLAN.network();
    let router = network.router();
    router.ip("link add prio up link eth0 type vlan id 0");
    router.ip("addr add 10.1.0.3/24 dev prio");
    let container = network.container("c1");
    let config = VLAN.ipv4(json!({"vlanId": 0}));
    VLAN.plugin().add(&container, &config).expect_ok();
    router.ip("route add 10.1.0.10/32 dev prio");
    container.ping("10.1.0.3");
}

#[test]
fn check_compares_the_id() {
    let attached = VLAN.attached(&json!({}));
    let container = &attached.container;
    attached.fails(
        &json!({"vlanId": 6}),
        "Error: Interface eth0 has VLAN ID 5, configured is 6",
    );
    attached.fails(&json!({"ipam": null}), "no plugin name provided");
    let mac = container.link_attribute("eth0", "/address");
    container.ip("link del eth0");
    attached.network.ip(&format!(
        "link add temporary link m0 address {} netns c1 type vlan id 7",
        mac.as_str().unwrap()
    ));
    container.ip("link set temporary name eth0 up");
    attached.fails(
        &json!({}),
        "Error: Interface eth0 has VLAN ID 7, configured is 5",
    );
}

/// Unlike with macvlan and ipvlan, the VLAN that is the master is the lower link.
#[test]
fn a_vlan_can_be_the_master() {
    let network = VLAN.network();
    network.ip("link add m0.9 up link m0 type vlan id 9");
    let container = network.container("c1");
    let config = VLAN.ipv4(json!({"master": "m0.9"}));
    let run = VLAN.plugin().add(&container, &config).expect_ok();
    let check = |config| VLAN.plugin().check(&container, &config);
    check(run.with_prev()).expect_ok();
    check(merge(run.with_prev(), &json!({"master": "m0"})))
        .expect_error(999)
        .mentions("Interface eth0 is not on master \"m0\"");
}
