//! IPv6 duplicate address detection.

use crate::common::{assert_restored, bridge, dual, give_address, ipv6, state, used_host};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{Container, Host, Node};

fn address_flags(container: &Container) -> Value {
    let links = container.ip_json(&["-6", "addr", "show", "dev", "eth0", "scope", "global"]);
    links[0]["addr_info"][0].clone()
}

#[test]
fn off_unless_asked_for() {
    let host = Host::new();
    let container = host.container("c1");
    bridge().add(&container, &ipv6(json!({}))).expect_ok();
    let flags = address_flags(&container);
    assert_eq!(flags["nodad"], true, "{flags}");
    assert_eq!(flags["tentative"], Value::Null);
}

#[test]
fn add_waits_for_its_end() {
    let host = Host::new();
    let container = host.container("c1");
    let config = dual(json!({"enabledad": true, "isDefaultGateway": true}));
    let run = bridge().add(&container, &config).expect_ok();
    let flags = address_flags(&container);
    assert_eq!(
        (&flags["nodad"], &flags["tentative"]),
        (&Value::Null, &Value::Null),
        "{flags}"
    );
    assert_eq!(container.sysctl("net/ipv6/conf/eth0/accept_dad"), "1");
    assert_eq!(container.sysctl("net/ipv6/conf/eth0/enhanced_dad"), "1");
    // One question, one second for an answer.
    assert!(run.elapsed >= Duration::from_secs(1), "{:?}", run.elapsed);
    let target = "fd00:1::1".parse().unwrap();
    assert!(container.can_reach(target, Duration::from_millis(300)));
    bridge().check(&container, &run.with_prev()).expect_ok();
}

#[test]
fn ipv4_alone_does_not_wait() {
    let host = Host::new();
    let container = host.container("c1");
    let config = crate::common::ipv4(json!({"enabledad": true}));
    let run = bridge().add(&container, &config).expect_ok();
    assert!(run.elapsed < Duration::from_secs(1), "{:?}", run.elapsed);
}

#[test]
fn a_taken_address_fails_add_and_leaves_nothing() {
    let config = ipv6(json!({"enabledad": true}));
    let host = used_host(&config);
    // Somebody on the link has the address that host-local is going to hand out.
    host.command(&["ip", "link", "add", "cni0", "type", "bridge"]);
    host.command(&["ip", "link", "set", "cni0", "up"]);
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
fn without_it_the_same_address_goes_unnoticed() {
    let config = ipv6(json!({}));
    let host = Host::new();
    host.command(&["ip", "link", "add", "cni0", "type", "bridge"]);
    host.command(&["ip", "link", "set", "cni0", "up"]);
    give_address(&host, "fd00:1::2/64", "cni0");
    bridge().add(&host.container("c1"), &config).expect_ok();
}
