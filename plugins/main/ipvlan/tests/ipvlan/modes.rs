//! Connectivity in each mode.

use crate::common::IPVLAN;
use serde_json::json;
use std::net::IpAddr;
use std::time::Duration;
use testkit::{Container, Host, Node};

const MODE: &str = "/linkinfo/info_data/mode";

fn add(host: &Host, name: &str, mode: &str) -> Container {
    let container = host.container(name);
    let run = IPVLAN
        .plugin()
        .add(&container, &IPVLAN.ipv4(json!({"mode": mode})))
        .expect_ok();
    IPVLAN
        .plugin()
        .check(&container, &run.with_prev())
        .expect_ok();
    container
}

#[test]
fn l2_is_a_switch() {
    for mode in ["", "l2"] {
        let network = IPVLAN.network();
        let (a, b) = (add(&network, "a", mode), add(&network, "b", mode));
        assert_eq!(a.link_attribute("eth0", MODE), "l2");
        a.ping("10.1.0.11");
        b.ping("10.1.0.10");
        a.ping("10.1.0.1");
        // Neighbours are resolved by ARP.
        let neighbours = network.router().ip("neigh show 10.1.0.10");
        let mac = network.link_attribute("m0", "/address");
        assert!(neighbours.contains(mac.as_str().unwrap()), "{neighbours}");
    }
}

/// The router reaches the containers through the host.
fn route_by_the_host(host: &Host, router: &Container) {
    host.ip("addr add 10.9.0.2/24 dev m0");
    router.ip("addr flush dev eth0");
    router.ip("addr add 10.9.0.1/24 dev eth0");
    router.ip("route add 10.1.0.0/24 via 10.9.0.2");
}

#[test]
fn l3_and_l3s_are_routers() {
    for mode in ["l3", "l3s"] {
        let network = IPVLAN.network();
        route_by_the_host(&network, network.router());
        let (a, b) = (add(&network, "a", mode), add(&network, "b", mode));
        assert_eq!(a.link_attribute("eth0", MODE), mode);
        a.ping("10.1.0.11");
        for container in [&a, &b] {
            container.ip("route add default dev eth0");
            container.ping("10.9.0.1");
        }
        network.router().ping("10.1.0.10");
        // The kernel neither sends nor answers ARP requests there.
        assert!(
            a.link_attribute("eth0", "/flags")
                .as_array()
                .unwrap()
                .contains(&json!("NOARP"))
        );
    }
}

/// The host does not receive frames that its own master sends.
#[test]
fn no_mode_reaches_the_host() {
    for mode in ["l2", "l3"] {
        let network = IPVLAN.network();
        network.ip("addr add 10.1.0.5/24 dev m0");
        let a = add(&network, "a", mode);
        let silence = Duration::from_millis(400);
        assert!(!a.can_reach(IpAddr::from([10, 1, 0, 5]), silence), "{mode}");
    }
}

/// In this mode neither duplicate address detection nor neighbour discovery works.
#[test]
fn ipv6_in_l3() {
    let network = IPVLAN.network();
    let (a, b) = (network.container("a"), network.container("b"));
    let config = IPVLAN.dual(json!({"mode": "l3"}));
    let run = IPVLAN.plugin().add(&a, &config).expect_ok();
    IPVLAN.plugin().check(&a, &run.with_prev()).expect_ok();
    IPVLAN.plugin().add(&b, &config).expect_ok();
    a.ping("fd00:1::11");
}
