//! The modes, told apart by packets.

use crate::common::{attribute, dual, host, ipv4, ipvlan};
use serde_json::json;
use std::net::IpAddr;
use std::time::Duration;
use testkit::{Container, Host, Node};

const MODE: &str = "/linkinfo/info_data/mode";

fn add(host: &Host, name: &str, mode: &str) -> Container {
    let container = host.container(name);
    let run = ipvlan()
        .add(&container, &ipv4(json!({"mode": mode})))
        .expect_ok();
    ipvlan().check(&container, &run.with_prev()).expect_ok();
    container
}

#[test]
fn l2_is_a_switch() {
    for mode in ["", "l2"] {
        let (host, router) = host();
        let (a, b) = (add(&host, "a", mode), add(&host, "b", mode));
        assert_eq!(attribute(&a, "eth0", MODE), "l2");
        a.ping("10.1.0.11");
        b.ping("10.1.0.10");
        a.ping("10.1.0.1");
        // Neighbours are found by asking for them.
        let neighbours = router.command(&["ip", "neigh", "show", "10.1.0.10"]);
        let mac = attribute(&host, "m0", "/address");
        assert!(neighbours.contains(mac.as_str().unwrap()), "{neighbours}");
    }
}

/// Beyond the master, the host's routing leads to the container.
fn route_by_the_host(host: &Host, router: &Container) {
    host.command(&["ip", "addr", "add", "10.9.0.2/24", "dev", "m0"]);
    router.command(&["ip", "addr", "flush", "dev", "eth0"]);
    router.command(&["ip", "addr", "add", "10.9.0.1/24", "dev", "eth0"]);
    router.command(&["ip", "route", "add", "10.1.0.0/24", "via", "10.9.0.2"]);
}

#[test]
fn l3_and_l3s_are_routers() {
    for mode in ["l3", "l3s"] {
        let (host, router) = host();
        route_by_the_host(&host, &router);
        let (a, b) = (add(&host, "a", mode), add(&host, "b", mode));
        assert_eq!(attribute(&a, "eth0", MODE), mode);
        a.ping("10.1.0.11");
        for container in [&a, &b] {
            container.command(&["ip", "route", "add", "default", "dev", "eth0"]);
            container.ping("10.9.0.1");
        }
        router.ping("10.1.0.10");
        // Nobody answers questions for neighbours.
        assert!(
            attribute(&a, "eth0", "/flags")
                .as_array()
                .unwrap()
                .contains(&json!("NOARP"))
        );
    }
}

/// The host does not listen to what its own master sends.
#[test]
fn no_mode_reaches_the_host() {
    for mode in ["l2", "l3"] {
        let (host, _router) = host();
        host.command(&["ip", "addr", "add", "10.1.0.5/24", "dev", "m0"]);
        let a = add(&host, "a", mode);
        let silence = Duration::from_millis(400);
        assert!(!a.can_reach(IpAddr::from([10, 1, 0, 5]), silence), "{mode}");
    }
}

/// There is nobody to ask for duplicates, nor for neighbours.
#[test]
fn ipv6_in_l3() {
    let (host, _router) = host();
    let (a, b) = (host.container("a"), host.container("b"));
    let config = dual(json!({"mode": "l3"}));
    let run = ipvlan().add(&a, &config).expect_ok();
    ipvlan().check(&a, &run.with_prev()).expect_ok();
    ipvlan().add(&b, &config).expect_ok();
    a.ping("fd00:1::11");
}
