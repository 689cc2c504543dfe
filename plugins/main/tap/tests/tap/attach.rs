//! ADD: the result and the kernel's state.

use crate::common::{TAP, added, eth0, make_bridge};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{Host, Node, default_route};

#[test]
fn attributes_of_the_link() {
    let (_host, container, _) = added(&TAP.layer2(json!({})));
    let info = eth0(&container)["linkinfo"].clone();
    assert_eq!(info["info_kind"], "tun");
    let data = &info["info_data"];
    for (key, value) in [
        ("type", json!("tap")),
        ("pi", json!(false)),
        ("vnet_hdr", json!(false)),
        ("multi_queue", json!(false)),
        ("persist", json!(true)),
        ("user", json!(null)),
        ("group", json!(null)),
    ] {
        assert_eq!(data[key], value, "{key}: {data}");
    }
}

#[test]
fn queues_owner_and_group() {
    let key = |config: Value, key: &str| {
        let (_host, container, run) = added(&TAP.layer2(config));
        TAP.plugin().check(&container, &run.with_prev()).expect_ok();
        eth0(&container)["linkinfo"]["info_data"][key].clone()
    };
    assert_eq!(key(json!({"multiQueue": true}), "multi_queue"), true);
    // `ip` shows names where the system has them.
    assert_eq!(key(json!({"owner": 0}), "user"), "root");
    assert_eq!(key(json!({"owner": 54321}), "user"), 54321);
    assert_eq!(key(json!({"owner": 54321, "group": 0}), "group"), "root");
    assert_eq!(key(json!({"group": 54322}), "group"), 54322);
    assert_eq!(
        key(json!({"owner": null, "group": 54322}), "user"),
        json!(null)
    );
}

#[test]
fn mtu_and_mac_with_and_without_an_owner() {
    for extra in [json!({}), json!({"owner": 1, "group": 2})] {
        let mut config = TAP.layer2(extra);
        config["mtu"] = 1400.into();
        config["mac"] = "02:00:00:00:00:07".into();
        let (_host, container, run) = added(&config);
        let link = eth0(&container);
        assert_eq!(link["mtu"], 1400);
        assert_eq!(link["address"], "02:00:00:00:00:07");
        assert_eq!(run.json()["interfaces"][0]["mac"], "02:00:00:00:00:07");
        assert_eq!(run.json()["interfaces"][0]["mtu"], 1400);
        TAP.plugin().check(&container, &run.with_prev()).expect_ok();
    }
}

#[test]
fn a_bridge_in_the_container() {
    let host = Host::new();
    let container = host.container("c1");
    make_bridge(&container);
    let config = TAP.layer2(json!({"bridge": "br0"}));
    let run = TAP.plugin().add(&container, &config).expect_ok();
    assert_eq!(eth0(&container)["master"], "br0");
    TAP.plugin().check(&container, &run.with_prev()).expect_ok();
    TAP.plugin().del(&container, &config).expect_ok();
    assert_eq!(container.link_names(), ["br0", "lo"]);
}

#[test]
fn mtu_of_the_default_route() {
    let host = Host::new();
    let container = host.container("c1");
    make_bridge(&container);
    let config = TAP.layer2(json!({"mtu": "auto", "bridge": "br0"}));
    let mtu = || {
        TAP.plugin().add(&container, &config).expect_ok();
        let mtu = eth0(&container)["mtu"].clone();
        TAP.plugin().del(&container, &config).expect_ok();
        mtu
    };
    assert_eq!(mtu(), 1500);
    default_route(&host, 1380);
    assert_eq!(mtu(), 1380);
    container.ip("link set br0 mtu 1300");
    assert_eq!(mtu(), 1300);
}

#[test]
fn link_options() {
    let keys = json!({"txQueueLen": 500, "gsoMaxSize": 20000, "groMaxSize": 30000});
    let (_host, container, run) = added(&TAP.layer2(keys));
    let link = eth0(&container);
    assert_eq!(link["txqlen"], 500);
    assert_eq!(link["gso_max_size"], 20000);
    assert_eq!(link["gro_max_size"], 30000);
    TAP.plugin().check(&container, &run.with_prev()).expect_ok();
}

#[test]
fn addresses_and_routes_do_not_wait_for_a_carrier() {
    let (_host, container, run) = added(&TAP.dual(json!({})));
    assert!(run.elapsed < Duration::from_secs(2), "{:?}", run.elapsed);
    assert_eq!(
        container.addresses("eth0"),
        ["10.1.0.10/24", "fd00:1::10/64"]
    );
    let tentative = container.ip("addr show dev eth0 tentative");
    assert!(!tentative.contains("fd00:1::10"), "{tentative}");
    let routes = [container.routes("-4"), container.routes("-6")].concat();
    for route in [
        "default via 10.1.0.1 dev eth0",
        "default via fd00:1::1 dev eth0",
    ] {
        assert!(
            routes.iter().any(|r| r.starts_with(route)),
            "{route}: {routes:?}"
        );
    }
    assert_eq!(container.sysctl("net/ipv4/conf/eth0/arp_notify"), "1");
    TAP.plugin().check(&container, &run.with_prev()).expect_ok();
}

#[test]
fn the_helper_creates_the_same_tap() {
    // The helper differs from the plugin in its SELinux context only.
    let host = Host::new();
    let container = host.container("c1");
    let helper = TAP.plugin().program().to_str().unwrap().to_owned();
    let make =
        |name: &str| container.try_command(&[&helper, "--create-tap", name, "true", "54321", "-"]);
    make("tap0").unwrap();
    let data = container.link("tap0").unwrap()["linkinfo"]["info_data"].clone();
    assert_eq!(data["multi_queue"], true);
    assert_eq!(data["user"], 54321);
    assert_eq!(data["group"], Value::Null);
    assert_eq!(data["persist"], true);
    let taken = make("tap0").unwrap_err();
    assert!(
        taken.contains("TUNSETIFF: device or resource busy"),
        "{taken}"
    );
    assert!(make("lo").is_err());
    assert_eq!(container.link_names(), ["lo", "tap0"]);
}
