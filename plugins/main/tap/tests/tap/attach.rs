//! ADD: the result and the kernel's state.

use crate::common::{TAP, added, eth0, make_bridge};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{Host, Node, VERSIONS};

#[test]
fn every_version_without_ipam() {
    let host = Host::new();
    for version in VERSIONS {
        let container = host.container("c1");
        let config = TAP.layer2(json!({"cniVersion": version, "dns": {"domain": "x.example"}}));
        let before = host.snapshot();
        let run = TAP.plugin().add(&container, &config);
        if version < "0.3.0" {
            run.expect_error(999)
                .mentions("cannot convert: no valid IP addresses");
            before.assert_same(&host.snapshot());
            continue;
        }
        let run = run.expect_ok();
        let link = eth0(&container);
        let result = run.json();
        assert_eq!(result["interfaces"][0]["mac"], link["address"]);
        assert_eq!(result["interfaces"][0]["sandbox"], "/run/netns/c1");
        assert_eq!(result["dns"], json!({"domain": "x.example"}));
        let flags = link["flags"].as_array().unwrap();
        assert!(flags.contains(&"UP".into()), "{link}");
        if version >= "0.4.0" {
            TAP.plugin().check(&container, &run.with_prev()).expect_ok();
        }
        TAP.plugin().del(&container, &config).expect_ok();
        assert_eq!(container.link_names(), ["lo"]);
    }
}

#[test]
fn the_kind_of_link() {
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
fn precedence_of_the_hardware_address() {
    let mac = |config: Value, args: &str| {
        let host = Host::new();
        let container = host.container("c1");
        let call = TAP.plugin().command("ADD").container(&container);
        call.config(&TAP.layer2(config))
            .args(args)
            .run()
            .expect_ok();
        eth0(&container)["address"].as_str().unwrap().to_owned()
    };
    let all = json!({
        "mac": "02:00:00:00:00:01", "runtimeConfig": {"mac": "02-00-00-00-00-03"},
        "args": {"cni": {"mac": "02:00:00:00:00:04"}},
    });
    let written = json!({"mac": "0200.0000.0001", "args": {"cni": {"mac": "x"}}});
    let args = "IgnoreUnknown=1;K8S_POD_NAME=x;MAC=02:00:00:00:00:02";
    assert_eq!(mac(all, args), "02:00:00:00:00:03");
    assert_eq!(mac(written.clone(), args), "02:00:00:00:00:02");
    assert_eq!(mac(written.clone(), "MAC="), "02:00:00:00:00:01");
    assert_eq!(mac(written, ""), "02:00:00:00:00:01");
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
    for command in [
        "link add out mtu 1380 type veth peer name far",
        "addr add 192.0.2.1/24 dev out",
        "link set out up",
        "link set far up",
        "route add default via 192.0.2.2",
    ] {
        host.ip(command);
    }
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
fn addresses_and_routes_without_a_wait() {
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
fn the_helper_makes_the_same_tap() {
    // Except for its SELinux context, the helper does what the plugin does.
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
