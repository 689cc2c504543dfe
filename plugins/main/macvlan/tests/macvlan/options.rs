//! Each key does what it says.

use crate::common::{attribute, dual, has_flag, host, host_with, ipv4, layer2, macvlan};
use serde_json::json;
use testkit::{Node, ScriptedIpam, merge, run_all};

#[test]
fn addresses_and_routes_of_both_families() {
    let (host, _router) = host();
    let container = host.container("c1");
    let mut config = dual(json!({"dns": {"nameservers": ["10.1.0.53"]}}));
    config["ipam"]["routes"] = json!([
        {"dst": "0.0.0.0/0"}, {"dst": "::/0"}, {"dst": "10.50.0.0/16", "mtu": 1300, "advmss": 1200},
    ]);
    let result = macvlan().add(&container, &config).expect_ok().json();
    assert_eq!(
        result,
        json!({
            "cniVersion": "1.1.0",
            "interfaces": [{
                "name": "eth0", "mac": attribute(&container, "eth0", "/address"), "mtu": 1500,
                "sandbox": "/run/netns/c1",
            }],
            "ips": [
                {"address": "10.1.0.10/24", "gateway": "10.1.0.1", "interface": 0},
                {"address": "fd00:1::10/64", "gateway": "fd00:1::1", "interface": 0},
            ],
            "routes": [
                {"dst": "0.0.0.0/0"}, {"dst": "::/0"},
                {"dst": "10.50.0.0/16", "mtu": 1300, "advmss": 1200},
            ],
            "dns": {"nameservers": ["10.1.0.53"]},
        })
    );
    assert_eq!(
        container.addresses("eth0"),
        ["10.1.0.10/24", "fd00:1::10/64"]
    );
    assert_eq!(
        container.routes("-4"),
        [
            "10.50.0.0/16 via 10.1.0.1 dev eth0 mtu 1300 advmss 1200",
            "default via 10.1.0.1 dev eth0",
        ]
    );
    container.ping("10.1.0.1");
    container.ping("fd00:1::1");
    assert_eq!(container.sysctl("net/ipv4/conf/eth0/arp_notify"), "1");
    assert_eq!(container.sysctl("net/ipv6/conf/eth0/ndisc_notify"), "1");
    // Nothing is left on the host.
    assert_eq!(host.link_names(), ["lo", "m0"]);
}

#[test]
fn name_service_is_the_configured_one_or_none() {
    let (host, _router) = host();
    let ipam = ScriptedIpam::answering(
        &host,
        &json!({
            "cniVersion": "1.1.0", "ips": [{"address": "10.1.0.9/24", "interface": 7}],
            "interfaces": [{"name": "other"}], "dns": {"nameservers": ["192.0.2.1"]},
        }),
    );
    let container = host.container("c1");
    let config = layer2(json!({"ipam": {"type": "scripted"}}));
    let run = ipam
        .command(&macvlan(), "ADD")
        .container(&container)
        .config(&config)
        .run();
    let result = run.expect_ok().json();
    assert!(result["dns"].is_null(), "{result}");
    // What IPAM says of interfaces is not heard.
    assert_eq!(result["interfaces"].as_array().unwrap().len(), 1);
    assert_eq!(result["ips"][0]["interface"], 0);
}

#[test]
fn without_ipam_the_link_is_up_and_bare() {
    let (host, router) = host();
    let container = host.container("c1");
    let result = macvlan()
        .add(&container, &layer2(json!({})))
        .expect_ok()
        .json();
    assert_eq!(result["interfaces"].as_array().unwrap().len(), 1);
    assert!(result["ips"].is_null());
    assert!(has_flag(&container, "eth0", "UP"));
    assert_eq!(container.addresses("eth0"), [""; 0]);
    container.command(&["ip", "addr", "add", "10.1.0.77/24", "dev", "eth0"]);
    router.ping("10.1.0.77");
}

#[test]
fn mtu_up_to_the_masters() {
    let (host, _router) = host();
    for (mtu, actual) in [(json!(1400), 1400), (json!(1500), 1500), (json!(0), 1500)] {
        let container = host.container("c1");
        let config = layer2(json!({"mtu": mtu}));
        let run = macvlan().add(&container, &config).expect_ok();
        assert_eq!(run.json()["interfaces"][0]["mtu"], actual);
        assert_eq!(attribute(&container, "eth0", "/mtu"), actual);
        macvlan().check(&container, &run.with_prev()).expect_ok();
        container.delete();
    }
}

#[test]
fn mtu_of_the_way_out() {
    let (host, _router) = host();
    let add = |name: &str| {
        let container = host.container(name);
        let run = macvlan()
            .add(&container, &layer2(json!({"mtu": "auto"})))
            .expect_ok();
        macvlan().check(&container, &run.with_prev()).expect_ok();
        run.json()["interfaces"][0]["mtu"].clone()
    };
    // No route says less than the master.
    assert_eq!(add("c1"), 1500);
    host.command(&["ip", "addr", "add", "10.1.0.5/24", "dev", "m0"]);
    host.command(&[
        "ip",
        "route",
        "add",
        "10.9.0.0/16",
        "via",
        "10.1.0.1",
        "mtu",
        "1200",
    ]);
    host.command(&[
        "ip", "route", "add", "default", "via", "10.1.0.1", "mtu", "1300",
    ]);
    assert_eq!(add("c2"), 1300);
    host.command(&[
        "ip", "-6", "route", "add", "default", "dev", "m0", "mtu", "1280",
    ]);
    assert_eq!(add("c3"), 1280);
}

#[test]
fn further_keys_of_the_link() {
    let (host, _router) = host();
    let container = host.container("c1");
    let config = ipv4(json!({
        "bcqueuelen": 250, "txQueueLen": 77, "numQueues": 3, "gsoMaxSize": 30000,
        "groMaxSize": 20000,
    }));
    let run = macvlan().add(&container, &config).expect_ok();
    for (pointer, value) in [
        ("/linkinfo/info_data/bcqueuelen", 250),
        ("/txqlen", 77),
        ("/num_tx_queues", 3),
        ("/gso_max_size", 30000),
        ("/gro_max_size", 20000),
    ] {
        assert_eq!(attribute(&container, "eth0", pointer), value, "{pointer}");
    }
    macvlan().check(&container, &run.with_prev()).expect_ok();
}

#[test]
fn the_mac_that_counts_most() {
    let (host, _router) = host();
    let config = ("mac", "02:00:00:00:00:0a");
    let args = "IgnoreUnknown=1;K8S_POD_NAME=x;MAC=02:00:00:00:00:0b";
    let runtime = json!({"mac": "02:00:00:00:00:0c"});
    for (extra, args, expected) in [
        (json!({config.0: config.1}), "", "02:00:00:00:00:0a"),
        (json!({config.0: config.1}), args, "02:00:00:00:00:0b"),
        (
            json!({config.0: config.1, "runtimeConfig": runtime}),
            args,
            "02:00:00:00:00:0c",
        ),
        // Empty is not given.
        (
            json!({config.0: config.1, "runtimeConfig": {"mac": ""}}),
            "MAC=",
            "02:00:00:00:00:0a",
        ),
        // The bridge plugin's place for it is not this one's.
        (
            json!({config.0: config.1, "args": {"cni": {"mac": "02:00:00:00:00:0d"}}}),
            "",
            "02:00:00:00:00:0a",
        ),
        (json!({"mac": "0200.0000.00AB"}), "", "02:00:00:00:00:ab"),
    ] {
        let container = host.container("c1");
        let call = macvlan().command("ADD").container(&container).args(args);
        let config = layer2(extra);
        let run = call.config(&config).run().expect_ok();
        assert_eq!(run.json()["interfaces"][0]["mac"], expected);
        assert_eq!(attribute(&container, "eth0", "/address"), expected);
        // A namespace takes a moment to die, and the address with it.
        macvlan().del(&container, &config).expect_ok();
        container.delete();
    }
}

/// The name of the container's interface is usually one that the host has, too.
#[test]
fn names_of_the_host_are_no_obstacle() {
    let (host, router) = host_with("eth0");
    let containers: Vec<_> = (0..8).map(|n| host.container(&format!("c{n}"))).collect();
    let config = ipv4(json!({"master": "eth0"}));
    let add = |c| macvlan().command("ADD").container(c).config(&config);
    for run in run_all(containers.iter().map(add)) {
        run.expect_ok();
    }
    for container in &containers {
        assert_eq!(container.link_names(), ["eth0", "lo"]);
    }
    router.ping("10.1.0.17");
    // And up from birth.
    let bare = host.container("bare");
    macvlan()
        .add(&bare, &layer2(json!({"master": "eth0"})))
        .expect_ok();
    assert!(has_flag(&bare, "eth0", "UP"));
    assert_eq!(host.link_names(), ["eth0", "lo"]);
}

#[test]
fn several_interfaces_of_one_container() {
    let (host, _router) = host();
    let container = host.container("c1");
    let add = |name| {
        let call = macvlan().command("ADD").container(&container).ifname(name);
        call.config(&ipv4(json!({}))).run().expect_ok()
    };
    let (first, second) = (add("eth0"), add("net1"));
    let check = |name, config| {
        let call = macvlan()
            .command("CHECK")
            .container(&container)
            .ifname(name);
        call.config(&config).run().expect_ok()
    };
    check("eth0", first.with_prev());
    check("net1", second.with_prev());
    assert_eq!(container.addresses("net1"), ["10.1.0.11/24"]);
}

/// A macvlan as master: the kernel puts the new link beside it.
#[test]
fn a_macvlan_can_be_the_master() {
    let (host, _router) = host();
    host.command(&[
        "ip", "link", "add", "mv0", "up", "link", "m0", "type", "macvlan", "mode", "bridge",
    ]);
    let container = host.container("c1");
    let run = macvlan()
        .add(&container, &ipv4(json!({"master": "mv0"})))
        .expect_ok();
    macvlan().check(&container, &run.with_prev()).expect_ok();
    container.ping("10.1.0.1");
}

/// What the configuration of another plugin of the chain says is not looked at.
#[test]
fn what_came_before_in_the_chain_is_not_repeated() {
    let (host, _router) = host();
    let container = host.container("c1");
    let before = json!({
        "cniVersion": "1.1.0", "interfaces": [{"name": "first"}],
        "ips": [{"address": "10.9.0.9/24", "interface": 0}],
    });
    let config = merge(ipv4(json!({})), &json!({"prevResult": before}));
    let result = macvlan().add(&container, &config).expect_ok().json();
    assert_eq!(result["interfaces"].as_array().unwrap().len(), 1);
    assert_eq!(result["ips"].as_array().unwrap().len(), 1);
}
