//! The backup file.

use crate::common::{MAC, assert_same, attached, attribute, config, everything, ip, state, tuning};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use testkit::{Container, Host, Node, merge};

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
    let (_host, container) = with_two_interfaces();
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

/// A container with the interfaces `eth0` and `net1`.
fn with_two_interfaces() -> (Host, Container) {
    let (host, container) = attached();
    host.command(&[
        "ip", "link", "add", "outside2", "type", "veth", "peer", "name", "net1", "netns", "c1",
    ]);
    (host, container)
}

/// Calls the plugin for an interface of the container, with this value of a sysctl that
/// belongs to the whole namespace, and others.
#[track_caller]
fn call(container: &Container, verb: &str, name: &str, somaxconn: &str) {
    let sysctls = json!({
        "net.core.somaxconn": somaxconn, "net.ipv4.ip_forward": "1",
        "net.ipv4.conf.IFNAME.arp_filter": "1",
    });
    let call = tuning().command(verb).container(container).ifname(name);
    let config = config(json!({"sysctl": sysctls}));
    call.config(&config).run().expect_ok();
}

#[test]
fn the_last_of_two_interfaces_restores_what_both_have_set() {
    let (_host, container) = with_two_interfaces();
    let before = container.sysctls();
    for (of_eth0, of_net1, first, last, of_last) in [
        ("500", "500", "eth0", "net1", "500"),
        ("500", "500", "net1", "eth0", "500"),
        ("500", "600", "eth0", "net1", "600"),
        ("500", "600", "net1", "eth0", "500"),
    ] {
        call(&container, "ADD", "eth0", of_eth0);
        call(&container, "ADD", "net1", of_net1);
        // Runtimes repeat ADD.
        call(&container, "ADD", "net1", of_net1);
        call(&container, "DEL", first, "");
        call(&container, "CHECK", last, of_last);
        let arp_filter = format!("net/ipv4/conf/{first}/arp_filter");
        assert_eq!(container.sysctl(&arp_filter), "0");
        call(&container, "DEL", last, "");
        assert_eq!(container.sysctls(), before, "{first}, then {last}");
    }
}

/// The interface is gone, but DEL never came.
#[test]
fn a_record_without_its_interface_keeps_no_sysctl() {
    let (_host, container) = with_two_interfaces();
    let before = container.sysctl("net/core/somaxconn");
    call(&container, "ADD", "eth0", "500");
    call(&container, "ADD", "net1", "500");
    ip(&container, "link del eth0");
    call(&container, "DEL", "net1", "");
    assert_eq!(container.sysctl("net/core/somaxconn"), before);
    assert!(fs::exists(FILE).unwrap());
    call(&container, "DEL", "eth0", "");
    assert!(!fs::exists(FILE).unwrap());
}
