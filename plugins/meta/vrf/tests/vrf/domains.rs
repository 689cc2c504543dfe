//! ADD: the VRF, and the interface with its addresses and routes.

use crate::common::{add, assert_same, attached, config, del, state, table, vrf};
use serde_json::json;
use testkit::{Container, Node, run_all};

#[track_caller]
fn table_of(container: &Container, name: &str) -> u64 {
    let link = container.link(name).expect("the VRF");
    link["linkinfo"]["info_data"]["table"].as_u64().unwrap()
}

#[test]
fn addresses_and_routes_are_kept() {
    let (host, container) = attached();
    let before = state(&host, &container);
    let main = table(&container, "main");
    let other = table(&container, "77");
    let addresses = container.addresses("eth0");
    let config = add(&container, json!({}));
    assert_eq!(container.link("eth0").unwrap()["master"], "blue");
    let made = container.link("blue").unwrap();
    assert!(made["flags"].as_array().unwrap().contains(&json!("UP")));
    assert_eq!(table_of(&container, "blue"), 1);
    assert_eq!(table(&container, "1"), main);
    assert_eq!(table(&container, "main"), [""; 0]);
    assert_eq!(table(&container, "77"), other);
    assert_eq!(container.addresses("eth0"), addresses);
    let permanent = container.ip("neigh show nud permanent dev eth0");
    assert!(
        permanent.contains("10.1.0.9") && permanent.contains("fd00:1::9"),
        "{permanent}"
    );
    // Packets are routed in the VRF only.
    let from = |device: &str, to: &str| {
        let argv = ["ping", "-n", "-c", "1", "-W", "2", "-I", device, to];
        container.try_command(&argv).is_ok()
    };
    for far in ["10.1.0.1", "fd00:1::1", "10.8.0.1", "fd00:8::1"] {
        assert!(from("blue", far), "{far}");
        assert!(container.try_ping(far).is_err(), "{far}");
        assert!(
            host.router
                .try_ping(if far.contains(':') {
                    "fd00:1::5"
                } else {
                    "10.1.0.5"
                })
                .is_ok()
        );
    }
    vrf().check(&container, &config).expect_ok();
    for _ in 0..2 {
        del(&container, &config);
        assert_same(&before, &state(&host, &container));
    }
    assert!(container.try_ping("10.8.0.1").is_ok() && container.try_ping("fd00:8::1").is_ok());
}

/// Addresses with duplicate address detection, which the kernel does not keep by default.
#[test]
fn addresses_with_duplicate_address_detection() {
    let (host, container) = attached();
    for command in [
        "addr add fd00:1::6/64 dev eth0",
        "addr add fd00:2::6/64 dev eth0 noprefixroute",
    ] {
        container.ip(command);
    }
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while container.ip("addr show tentative").contains("fd00") {
        assert!(std::time::Instant::now() < end);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let src = "-6 route add fd00:70::/64 via fd00:1::1 src fd00:1::6";
    container.ip(src);
    assert_eq!(
        container.sysctl("net/ipv6/conf/eth0/keep_addr_on_down"),
        "0"
    );
    let before = state(&host, &container);
    let config = add(&container, json!({}));
    assert!(!container.ip("addr show dev eth0").contains("tentative"));
    assert!(
        table(&container, "1")
            .iter()
            .any(|line| line.contains("fd00:70::/64"))
    );
    vrf().check(&container, &config).expect_ok();
    del(&container, &config);
    assert_same(&before, &state(&host, &container));
}

#[test]
fn a_free_table() {
    let (host, container) = attached();
    for command in [
        "link add other type vrf table 1",
        "rule add from 10.77.0.0/16 lookup 2",
        "-6 rule add fwmark 7 lookup 3",
        "route add blackhole 10.50.0.0/16 table 4",
        "-6 route add unreachable fd00:50::/64 table 6",
    ] {
        container.ip(command);
    }
    let before = state(&host, &container);
    let config = add(&container, json!({}));
    assert_eq!(table_of(&container, "blue"), 5);
    del(&container, &config);
    assert_same(&before, &state(&host, &container));
}

/// The kernel's tables are not used, even if all smaller numbers are.
#[test]
fn reserved_tables_are_passed_over() {
    let (_host, container) = attached();
    let routes: Vec<String> = (1..=252)
        .map(|number| format!("route add blackhole 10.50.0.0/16 table {number}"))
        .collect();
    container.ip_batch(&routes.iter().map(String::as_str).collect::<Vec<_>>());
    add(&container, json!({}));
    assert_eq!(table_of(&container, "blue"), 256);
}

#[test]
fn a_configured_table() {
    for number in [77, 1000, 4_000_000_000_u32] {
        let (host, container) = attached();
        let before = state(&host, &container);
        let config = add(&container, json!({"table": number}));
        assert_eq!(table_of(&container, "blue"), u64::from(number));
        assert!(
            table(&container, &number.to_string())
                .contains(&"default via 10.1.0.1 dev eth0".to_owned())
        );
        vrf().check(&container, &config).expect_ok();
        del(&container, &config);
        let after = state(&host, &container);
        if number == 77 {
            // Routes that were in the table before cannot be distinguished from those of ADD.
            assert_eq!(before.1, after.1);
        } else {
            assert_same(&before, &after);
        }
    }
}

/// Several interfaces in one VRF, which is deleted with the last.
#[test]
fn two_interfaces() {
    let (host, container) = attached();
    container.ip("link add net1 up type veth peer name net1p");
    container.ip("link set net1p up");
    container.ip("addr add 10.2.0.5/24 dev net1");
    container.ip("route add 10.70.0.0/16 via 10.2.0.1");
    let before = state(&host, &container);
    let second = config(json!({"prevResult": {
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "net1", "sandbox": "/run/netns/c1"}],
        "ips": [{"address": "10.2.0.5/24", "interface": 0}],
    }}));
    let call = |verb: &str| {
        let call = vrf().command(verb).container(&container).ifname("net1");
        call.config(&second).run().expect_ok()
    };
    let first = add(&container, json!({}));
    call("ADD");
    call("CHECK");
    vrf().check(&container, &first).expect_ok();
    assert!(table(&container, "1").contains(&"10.70.0.0/16 via 10.2.0.1 dev net1".to_owned()));
    del(&container, &first);
    assert!(container.link("blue").is_some());
    call("CHECK");
    call("DEL");
    assert_same(&before, &state(&host, &container));
}

/// A VRF that existed before is not deleted.
#[test]
fn an_existing_vrf() {
    for up in [" up", ""] {
        let (host, container) = attached();
        container.ip(&format!("link add blue{up} type vrf table 9"));
        let before = state(&host, &container);
        for extra in [json!({}), json!({"table": 9})] {
            let config = add(&container, extra);
            assert_eq!(table_of(&container, "blue"), 9);
            del(&container, &config);
            assert_same(&before, &state(&host, &container));
        }
    }
}

#[test]
fn repeated_adds() {
    let (host, container) = attached();
    let before = state(&host, &container);
    let config = add(&container, json!({}));
    let once = state(&host, &container);
    add(&container, json!({}));
    assert_same(&once, &state(&host, &container));
    del(&container, &config);
    assert_same(&before, &state(&host, &container));
}

/// The kernel has deleted its routes, and adds the connected ones when it comes up.
#[test]
fn an_interface_that_is_down() {
    let (_host, container) = attached();
    let addresses = container.addresses("eth0");
    container.set_sysctl("net/ipv6/conf/eth0/keep_addr_on_down", "1");
    container.ip("link set eth0 down");
    let config = config(json!({}));
    vrf().add(&container, &config).expect_ok();
    assert_eq!(container.link("eth0").unwrap()["master"], "blue");
    del(&container, &config);
    assert_eq!(container.link("blue"), None);
    container.ip("link set eth0 up");
    assert_eq!(container.addresses("eth0"), addresses);
    container.ping("10.1.0.1");
}

/// Concurrent ADDs neither use the same table nor conflict over the same VRF.
#[test]
fn concurrent_adds() {
    let (_host, container) = attached();
    let mut calls = Vec::new();
    for number in 1..=4 {
        container.ip(&format!(
            "link add net{number} up type veth peer name peer{number}"
        ));
        let name = format!("vrf{}", number % 2);
        let call = vrf()
            .command("ADD")
            .container(&container)
            .ifname(&format!("net{number}"));
        calls.push(call.config(&config(json!({"vrfname": name}))));
    }
    for run in run_all(calls) {
        run.expect_ok();
    }
    assert_ne!(table_of(&container, "vrf0"), table_of(&container, "vrf1"));
    assert_eq!(container.link("net3").unwrap()["master"], "vrf1");
}
