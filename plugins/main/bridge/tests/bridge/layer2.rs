//! Attachments without addresses.

use crate::common::{bridge, has_flag, ipv4, layer2};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{Host, Node};

#[test]
fn every_way_to_configure_no_ipam() {
    for ipam in [
        json!({}),
        json!({"type": ""}),
        json!({"type": null}),
        Value::Null,
    ] {
        let host = Host::new();
        let container = host.container("c1");
        let config = layer2(json!({"ipam": ipam, "isGateway": true}));
        let run = bridge().add(&container, &config).expect_ok();
        assert_eq!(run.json()["ips"], Value::Null);
        assert!(has_flag(&container, "eth0", "UP"));
        assert_eq!(container.link_attribute("eth0", "/operstate"), "UP");
        assert_eq!(container.addresses("eth0"), [""; 0]);
        assert_eq!(host.addresses("cni0"), [""; 0]);
        bridge().check(&container, &run.with_prev()).expect_ok();
        bridge().status(&config).expect_ok();
        bridge().gc(&config).expect_ok();
        bridge().del(&container, &run.with_prev()).expect_ok();
        assert_eq!(container.link_names(), ["lo"]);
    }
}

#[test]
fn frames_pass_at_once() {
    let host = Host::new();
    let (c1, c2) = (host.container("c1"), host.container("c2"));
    bridge().add(&c1, &layer2(json!({}))).expect_ok();
    bridge().add(&c2, &layer2(json!({}))).expect_ok();
    for (container, address) in [(&c1, "10.7.0.1/24"), (&c2, "10.7.0.2/24")] {
        container.ip(&format!("addr add {address} dev eth0"));
    }
    c1.ping("10.7.0.2");
}

#[test]
fn the_interface_of_the_container_can_be_left_down() {
    let host = Host::new();
    let container = host.container("c1");
    let config = layer2(json!({"disableContainerInterface": true}));
    let run = bridge().add(&container, &config).expect_ok();
    assert!(
        run.elapsed < Duration::from_secs(1),
        "it waited for a carrier: {:?}",
        run.elapsed
    );
    assert!(!has_flag(&container, "eth0", "UP"));
    bridge().check(&container, &run.with_prev()).expect_ok();
    bridge().del(&container, &config).expect_ok();

    let with_ipam = ipv4(json!({"disableContainerInterface": true}));
    let before = host.snapshot();
    bridge()
        .add(&container, &with_ipam)
        .expect_error(999)
        .mentions("cannot use IPAM when DisableContainerInterface flag is set");
    before.assert_same(&host.snapshot());
}
