//! Connectivity in each mode.

use crate::common::{MACVLAN, has_flag};
use serde_json::json;
use std::net::IpAddr;
use std::time::Duration;
use testkit::{Container, Host, Node};

/// How long an answer may take; one that is not there by then was dropped.
const SILENCE: Duration = Duration::from_millis(400);

/// Two containers on one master, in `mode`.
fn pair(host: &Host, mode: &str) -> (Container, Container) {
    let add = |name| {
        let container = host.container(name);
        let run = MACVLAN
            .plugin()
            .add(&container, &MACVLAN.ipv4(json!({"mode": mode})))
            .expect_ok();
        MACVLAN
            .plugin()
            .check(&container, &run.with_prev())
            .expect_ok();
        container
    };
    let pair = (add("a"), add("b"));
    let mode = match mode {
        "" => "bridge",
        mode => mode,
    };
    let actual = pair.0.link_attribute("eth0", "/linkinfo/info_data/mode");
    assert_eq!(actual, mode);
    pair
}

/// Whether `a` reaches the second container.
fn reaches(a: &Container) -> bool {
    let address = IpAddr::from([10, 1, 0, 11]);
    a.can_reach(address, SILENCE)
}

/// Turns the router into a switch that sends frames back through the port they came from.
fn reflect(router: &Container) {
    router.ip("addr flush dev eth0");
    router.ip("link add br0 up type bridge");
    router.ip("link set eth0 master br0");
    router.command(&["bridge", "link", "set", "dev", "eth0", "hairpin", "on"]);
    router.ip("addr add 10.1.0.1/24 dev br0");
}

#[test]
fn bridge_connects_directly() {
    for mode in ["", "bridge"] {
        let network = MACVLAN.network();
        let (a, b) = pair(&network, mode);
        a.ping("10.1.0.11");
        b.ping("10.1.0.10");
        a.ping("10.1.0.1");
    }
}

#[test]
fn private_connects_no_containers() {
    let network = MACVLAN.network();
    let (a, _b) = pair(&network, "private");
    a.ping("10.1.0.1");
    assert!(!reaches(&a));
    // A switch in hairpin mode does not connect them either.
    reflect(network.router());
    a.ping("10.1.0.1");
    assert!(!reaches(&a));
}

#[test]
fn vepa_connects_through_the_switch() {
    let network = MACVLAN.network();
    let (a, _b) = pair(&network, "vepa");
    a.ping("10.1.0.1");
    assert!(!reaches(&a));
    reflect(network.router());
    a.ping("10.1.0.11");
}

#[test]
fn no_mode_reaches_the_host() {
    for mode in ["bridge", "private", "vepa"] {
        let network = MACVLAN.network();
        network.ip("addr add 10.1.0.11/24 dev m0");
        let container = network.container("a");
        MACVLAN
            .plugin()
            .add(&container, &MACVLAN.ipv4(json!({"mode": mode})))
            .expect_ok();
        container.ping("10.1.0.1");
        assert!(!reaches(&container), "{mode}");
    }
}

#[test]
fn passthru_takes_the_master_exclusively() {
    let network = MACVLAN.network();
    let container = network.container("c1");
    let config = MACVLAN.ipv4(json!({"mode": "passthru"}));
    let run = MACVLAN.plugin().add(&container, &config).expect_ok();
    MACVLAN
        .plugin()
        .check(&container, &run.with_prev())
        .expect_ok();
    // It has the hardware address of the master, which is promiscuous.
    let mac = network.link_attribute("m0", "/address");
    assert_eq!(run.json()["interfaces"][0]["mac"], mac);
    assert_eq!(container.link_attribute("eth0", "/address"), mac);
    assert_eq!(network.link_attribute("m0", "/promiscuity"), 1);
    container.ping("10.1.0.1");
    network.router().ping("10.1.0.10");
    // The master accepts one interface only.
    let other = network.container("c2");
    let before = network.snapshot();
    for mode in ["passthru", "bridge"] {
        let config = MACVLAN.layer2(json!({"mode": mode}));
        MACVLAN
            .plugin()
            .add(&other, &config)
            .expect_error(999)
            .mentions("failed to create macvlan: invalid argument");
    }
    before.assert_same(&network.snapshot());
    MACVLAN.plugin().del(&container, &config).expect_ok();
    assert_eq!(network.link_attribute("m0", "/promiscuity"), 0);
    assert!(!has_flag(&network.host, "m0", "PROMISC"));
    MACVLAN.plugin().add(&other, &config).expect_ok();
}

/// The kernel ignores the requested address.
#[test]
fn passthru_has_the_masters_mac() {
    let network = MACVLAN.network();
    let container = network.container("c1");
    let config = MACVLAN.layer2(json!({"mode": "passthru", "mac": "02:00:00:00:00:0a"}));
    let run = MACVLAN.plugin().add(&container, &config).expect_ok();
    let mac = network.link_attribute("m0", "/address");
    assert_eq!(run.json()["interfaces"][0]["mac"], mac);
    MACVLAN
        .plugin()
        .check(&container, &run.with_prev())
        .expect_ok();
}
