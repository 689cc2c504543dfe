//! Bad input is refused before anything is changed.

use crate::common::{dual, fixed, host_end, ipv4, ptp, reaches, with_ipam};
use serde_json::{Value, json};
use testkit::{Host, Node, leases};

/// ADD of `config` fails and changes nothing.
#[track_caller]
fn refused(config: &Value, code: u64, words: &str) {
    let host = Host::new();
    let container = host.container("c1");
    let before = host.snapshot();
    ptp()
        .add(&container, config)
        .expect_error(code)
        .mentions(words);
    before.assert_same(&host.snapshot());
    assert_eq!(leases("net"), [""; 0]);
}

#[test]
fn wrong_types() {
    for (key, value) in [
        ("mtu", json!("1500")),
        ("mtu", json!(1500.5)),
        ("ipMasq", json!("true")),
        ("ipMasq", json!({"exclude": "10.0.0.0/8"})),
        ("ipMasqBackend", json!(true)),
        ("dns", json!([])),
        ("dns", json!({"nameservers": "10.0.0.1"})),
        ("ipam", json!("host-local")),
        ("ipam", json!({"type": 7})),
        ("prevResult", json!([])),
        ("txQueueLen", json!(-1)),
    ] {
        refused(&ipv4(json!({key: value})), 999, "failed to load netconf: ");
    }
}

#[test]
fn an_mtu_out_of_range() {
    refused(
        &ipv4(json!({"mtu": 4294967296_u64})),
        7,
        "mtu 4294967296 is out of range",
    );
}

#[test]
fn addresses_that_cannot_be_connected() {
    let static_ip = |address: Value| {
        let ipam = json!({"type": "static", "addresses": [address]});
        with_ipam(ipam, json!({}))
    };
    for (config, words) in [
        (
            static_ip(json!({"address": "10.1.0.2/24"})),
            "address 10.1.0.2/24 has no gateway",
        ),
        (
            fixed(&[("10.1.0.2/24", "fd00::1")], json!([])),
            "address 10.1.0.2/24 has the gateway fd00::1, which is of another family",
        ),
        (
            fixed(&[("10.1.0.2/24", "10.1.0.2")], json!([])),
            "address 10.1.0.2/24 is its own gateway",
        ),
    ] {
        refused(&config, 7, words);
    }
    refused(
        &with_ipam(json!({"type": "static"}), json!({})),
        999,
        "IPAM plugin returned missing IP config",
    );
}

#[test]
fn an_interface_that_exists() {
    let host = Host::new();
    let container = host.container("c1");
    let config = dual(json!({}));
    ptp().add(&container, &config).expect_ok();
    let before = host.snapshot();
    ptp()
        .add(&container, &config)
        .expect_error(999)
        .mentions("\"eth0\" already exists");
    before.assert_same(&host.snapshot());
    reaches(&container, "10.1.0.1");
}

#[test]
fn an_address_that_another_container_has() {
    let host = Host::new();
    let (c1, c2) = (host.container("c1"), host.container("c2"));
    let config = fixed(&[("10.1.0.2/24", "10.1.0.1")], json!([]));
    let run = ptp().add(&c1, &config).expect_ok();
    let before = host.snapshot();
    ptp()
        .add(&c2, &config)
        .expect_error(999)
        .mentions("failed to add route on host: 10.1.0.2/32 has a route on the host already");
    before.assert_same(&host.snapshot());
    assert!(host.link(&host_end(&run)).is_some());
    reaches(&c1, "10.1.0.1");
}

#[test]
fn the_hosts_own_namespace() {
    let host = Host::new();
    let before = host.snapshot();
    ptp()
        .command("ADD")
        .id("c1")
        .netns("/proc/self/ns/net")
        .ifname("eth0")
        .config(&dual(json!({})))
        .run()
        .expect_error(8);
    before.assert_same(&host.snapshot());
}
