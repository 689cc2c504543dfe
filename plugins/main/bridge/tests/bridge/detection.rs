//! IPv6 duplicate address detection.

use crate::common::{assert_restored, bridge, dual, give_address, ipv4, ipv6, used_host};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{Container, Host, Node, state};

/// The IPv6 address of the container as `ip` prints it, flags included.
fn address(container: &Container) -> Value {
    let links = container.ip_json(&["-6", "addr", "show", "dev", "eth0", "scope", "global"]);
    links[0]["addr_info"][0].clone()
}

#[test]
fn detection_is_off_by_default() {
    let host = Host::new();
    let container = host.container("c1");
    bridge().add(&container, &ipv6(json!({}))).expect_ok();
    let address = address(&container);
    assert_eq!(address["nodad"], true, "{address}");
    assert_eq!(address["tentative"], Value::Null);
}

#[test]
fn add_waits_for_detection_to_complete() {
    let host = Host::new();
    let container = host.container("c1");
    let config = dual(json!({"enabledad": true, "isDefaultGateway": true}));
    let run = bridge().add(&container, &config).expect_ok();
    let address = address(&container);
    assert_eq!(
        (&address["nodad"], &address["tentative"]),
        (&Value::Null, &Value::Null),
        "{address}"
    );
    assert_eq!(container.sysctl("net/ipv6/conf/eth0/accept_dad"), "1");
    assert_eq!(container.sysctl("net/ipv6/conf/eth0/enhanced_dad"), "1");
    // One neighbour solicitation, and one second for an answer.
    assert!(run.elapsed >= Duration::from_secs(1), "{:?}", run.elapsed);
    let target = "fd00:1::1".parse().unwrap();
    assert!(container.can_reach(target, Duration::from_millis(300)));
    bridge().check(&container, &run.with_prev()).expect_ok();
}

#[test]
fn add_does_not_wait_without_ipv6() {
    let host = Host::new();
    let container = host.container("c1");
    let config = ipv4(json!({"enabledad": true}));
    let run = bridge().add(&container, &config).expect_ok();
    assert!(run.elapsed < Duration::from_secs(1), "{:?}", run.elapsed);
}

#[test]
fn add_of_a_duplicate_address_fails_and_leaves_nothing() {
    let config = ipv6(json!({"enabledad": true}));
    let host = used_host(&config);
    // The host has the address that host-local hands out next.
    host.ip("link add cni0 up type bridge");
    give_address(&host, "fd00:1::3/64", "cni0");
    let container = host.container("c1");
    let before = state(&host);
    bridge()
        .add(&container, &config)
        .expect_error(999)
        .mentions("link eth0 has address fd00:1::3 in DADFAILED state");
    assert_restored(&host, &before, "after the failure");
    // The next address is free.
    bridge().add(&container, &config).expect_ok();
    assert_eq!(container.addresses("eth0"), ["fd00:1::4/64"]);
}

#[test]
fn without_detection_a_duplicate_address_is_accepted() {
    let config = ipv6(json!({}));
    let host = Host::new();
    host.ip("link add cni0 up type bridge");
    give_address(&host, "fd00:1::2/64", "cni0");
    bridge().add(&host.container("c1"), &config).expect_ok();
}
