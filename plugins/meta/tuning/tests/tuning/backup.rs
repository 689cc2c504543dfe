//! The backup file.

use crate::common::{MAC, assert_same, attached, attribute, config, everything, ip, state, tuning};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use testkit::{Node, merge};

const FILE: &str = "/run/cni/tuning/c1_eth0.json";

#[test]
fn what_upstream_reads_comes_first() {
    let (_host, container) = attached();
    let config = config(merge(
        everything(),
        &json!({"promisc": false, "allmulti": null}),
    ));
    tuning().add(&container, &config).expect_ok();
    let text = fs::read_to_string(FILE).unwrap();
    let start = format!(
        "{{\n \"mac\": \"{MAC}\",\n \"mtu\": 1500,\n \"txQLen\": 1000,\n \"network\": \"net\",\n"
    );
    assert!(text.starts_with(&start), "{text}");
    let mode = |path: &str| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(FILE), mode("/run/cni/tuning")), (0o600, 0o700));
}

#[test]
fn a_configured_directory() {
    let (host, container) = attached();
    let dir = host.dir().join("a/b");
    let config = config(json!({"mtu": 1400, "dataDir": dir}));
    let run = tuning().add(&container, &config).expect_ok();
    assert!(dir.join("c1_eth0.json").exists());
    tuning().del(&container, &run.with_prev()).expect_ok();
    assert!(!dir.join("c1_eth0.json").exists());
    assert_eq!(attribute(&container, "mtu"), 1500);
}

/// A runtime may repeat ADD, with the same configuration or another one.
#[test]
fn repeated_adds() {
    let (host, container) = attached();
    let before = state(&host, &container);
    for extra in [
        json!({}),
        json!({}),
        json!({"mtu": 1300, "sysctl": {"net.core.somaxconn": "600"}}),
        json!({"mac": "02:00:00:00:00:0c", "txQLen": 5}),
    ] {
        let config = config(merge(everything(), &extra));
        let run = tuning().add(&container, &config).expect_ok();
        tuning().check(&container, &run.with_prev()).expect_ok();
    }
    tuning().del(&container, &config(json!({}))).expect_ok();
    assert_same(&before, &state(&host, &container));
}

/// The container was created again with the same name without DEL.
#[test]
fn a_backup_of_another_interface() {
    let (host, container) = attached();
    let dir = host.dir().join("kept");
    fs::create_dir(&dir).unwrap();
    let config = config(json!({"mtu": 1400, "mac": "02:00:00:00:00:0a", "dataDir": dir}));
    tuning().add(&container, &config).expect_ok();
    ip(
        &container,
        "link set eth0 mtu 1450 address 02:00:00:00:00:07",
    );
    tuning().add(&container, &config).expect_ok();
    tuning().del(&container, &config).expect_ok();
    assert_eq!(attribute(&container, "mtu"), 1450);
    assert_eq!(attribute(&container, "address"), "02:00:00:00:00:07");
}

/// Each interface of a container has its own backup.
#[test]
fn one_for_each_interface() {
    let (host, container) = attached();
    host.command(&[
        "ip", "link", "add", "outside2", "type", "veth", "peer", "name", "net1", "netns", "c1",
    ]);
    let config: Value = config(json!({"mtu": 1400}));
    for name in ["eth0", "net1"] {
        let call = tuning().command("ADD").container(&container).ifname(name);
        call.config(&config).run().expect_ok();
    }
    assert!(fs::exists("/run/cni/tuning/c1_net1.json").unwrap());
    tuning().del(&container, &config).expect_ok();
    assert_eq!(attribute(&container, "mtu"), 1500);
    assert_eq!(container.link("net1").unwrap()["mtu"], 1400);
}
