//! Keys of the configuration, and masters.

use crate::common::MACVLAN;
use serde_json::json;
use testkit::{Node, ScriptedIpam, merge};

#[test]
fn dns_is_the_configured_one_or_none() {
    let network = MACVLAN.network();
    let ipam = ScriptedIpam::answering(
        &network,
        &json!({
            "cniVersion": "1.1.0", "ips": [{"address": "10.1.0.9/24", "interface": 7}],
            "interfaces": [{"name": "other"}], "dns": {"nameservers": ["192.0.2.1"]},
        }),
    );
    let container = network.container("c1");
    let config = MACVLAN.layer2(json!({"ipam": {"type": "scripted"}}));
    let call = ipam.command(&MACVLAN.plugin(), "ADD").container(&container);
    let result = call.config(&config).run().expect_ok().json();
    assert!(result["dns"].is_null(), "{result}");
    // Interfaces that IPAM reports are discarded.
    assert_eq!(result["interfaces"].as_array().map(Vec::len), Some(1));
    assert_eq!(result["ips"][0]["interface"], 0);
}

#[test]
fn mtu_of_the_default_route() {
    let network = MACVLAN.network();
    let add = |name: &str| {
        let container = network.container(name);
        let config = MACVLAN.layer2(json!({"mtu": "auto"}));
        let run = MACVLAN.plugin().add(&container, &config).expect_ok();
        MACVLAN
            .plugin()
            .check(&container, &run.with_prev())
            .expect_ok();
        run.json()["interfaces"][0]["mtu"].clone()
    };
    // No route allows less than the master.
    assert_eq!(add("c1"), 1500);
    network.ip("addr add 10.1.0.5/24 dev m0");
    network.ip("route add 10.9.0.0/16 via 10.1.0.1 mtu 1200");
    network.ip("route add default via 10.1.0.1 mtu 1300");
    assert_eq!(add("c2"), 1300);
    network.ip("-6 route add default dev m0 mtu 1280");
    assert_eq!(add("c3"), 1280);
}

/// Without a configured MTU the interface follows its master.
#[test]
fn check_ignores_an_mtu_that_is_not_configured() {
    let attached = MACVLAN.attached(&json!({}));
    attached.network.ip("link set m0 mtu 1400");
    assert_eq!(attached.container.link_attribute("eth0", "/mtu"), 1400);
    attached.passes(&json!({}));
    // The default route may have another link since.
    attached.passes(&json!({"master": null}));
}

#[test]
fn several_interfaces_of_one_container() {
    let network = MACVLAN.network();
    let container = network.container("c1");
    let call = |verb, name, config: &serde_json::Value| {
        let call = MACVLAN.plugin().command(verb).container(&container);
        call.ifname(name).config(config).run().expect_ok()
    };
    let config = MACVLAN.ipv4(json!({}));
    let runs = ["eth0", "net1"].map(|name| (name, call("ADD", name, &config)));
    for (name, run) in runs {
        call("CHECK", name, &run.with_prev());
    }
    assert_eq!(container.addresses("net1"), ["10.1.0.11/24"]);
}

/// A macvlan as master: the kernel creates the new link on the same lower link.
#[test]
fn a_macvlan_can_be_the_master() {
    let network = MACVLAN.network();
    network.ip("link add mv0 up link m0 type macvlan mode bridge");
    let container = network.container("c1");
    let config = MACVLAN.ipv4(json!({"master": "mv0"}));
    let run = MACVLAN.plugin().add(&container, &config).expect_ok();
    MACVLAN
        .plugin()
        .check(&container, &run.with_prev())
        .expect_ok();
    container.ping("10.1.0.1");
}

#[test]
fn prev_result_is_not_part_of_the_result() {
    let network = MACVLAN.network();
    let container = network.container("c1");
    let before = json!({
        "cniVersion": "1.1.0", "interfaces": [{"name": "first"}],
        "ips": [{"address": "10.9.0.9/24", "interface": 0}],
    });
    let config = merge(MACVLAN.ipv4(json!({})), &json!({"prevResult": before}));
    let run = MACVLAN.plugin().add(&container, &config).expect_ok();
    assert_eq!(run.json()["interfaces"].as_array().map(Vec::len), Some(1));
    assert_eq!(run.json()["ips"].as_array().map(Vec::len), Some(1));
}

#[test]
fn keys_match_in_any_case_and_null_is_absent() {
    let network = MACVLAN.network();
    let container = network.container("c1");
    // The last spelling counts.
    let text = r#"{"cniVersion": "1.1.0", "name": "net", "type": "macvlan", "master": "x",
                   "MASTER": "m0", "mtu": null, "mode": null, "bcqueuelen": null, "mac": null}"#;
    let call = MACVLAN.plugin().command("ADD").container(&container);
    call.stdin(text).run().expect_ok();
}
