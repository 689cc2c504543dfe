//! Chained ipvlan: master and addresses from prevResult.

use crate::common::IPVLAN;
use serde_json::{Value, json};
use testkit::Node;

/// The result of a plugin that provides the link `m0` and addresses.
fn previous() -> Value {
    json!({
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "m0"}],
        "ips": [
            {"address": "10.1.0.20/24", "gateway": "10.1.0.1", "interface": 0},
            {"address": "fd00:1::20/64"},
        ],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dns": {"nameservers": ["192.0.2.1"]},
    })
}

#[test]
fn master_and_addresses_of_prev_result() {
    let network = IPVLAN.network();
    let container = network.container("c1");
    let config = IPVLAN.layer2(json!({"master": null, "prevResult": previous()}));
    let run = IPVLAN.plugin().add(&container, &config).expect_ok();
    let mac = network.link_attribute("m0", "/address");
    assert_eq!(
        run.json(),
        json!({
            "cniVersion": "1.1.0",
            "interfaces": [
                {"name": "eth0", "mac": mac, "mtu": 1500, "sandbox": "/run/netns/c1"},
            ],
            "ips": [
                {"address": "10.1.0.20/24", "gateway": "10.1.0.1", "interface": 0},
                {"address": "fd00:1::20/64", "interface": 0},
            ],
            "routes": [{"dst": "0.0.0.0/0"}],
        })
    );
    assert_eq!(
        container.addresses("eth0"),
        ["10.1.0.20/24", "fd00:1::20/64"]
    );
    assert_eq!(container.routes("-4"), ["default via 10.1.0.1 dev eth0"]);
    network.router().ping("10.1.0.20");
    let check = IPVLAN.plugin().check(&container, &run.with_prev());
    check.expect_ok();
    for _ in 0..2 {
        IPVLAN
            .plugin()
            .del(&container, &run.with_prev())
            .expect_ok();
        assert_eq!(container.link_names(), ["lo"]);
    }
}

#[test]
fn addresses_of_prev_result_and_a_configured_master() {
    let network = IPVLAN.network();
    let container = network.container("c1");
    let mut previous = previous();
    previous["interfaces"] = json!([{"name": "a"}, {"name": "b"}]);
    let config = IPVLAN.layer2(json!({"prevResult": previous}));
    let run = IPVLAN.plugin().add(&container, &config).expect_ok();
    let check = IPVLAN.plugin().check(&container, &run.with_prev());
    check.expect_ok();
    container.ping("10.1.0.1");
}

#[test]
fn master_of_prev_result_and_addresses_of_ipam() {
    let network = IPVLAN.network();
    let container = network.container("c1");
    let config = IPVLAN.ipv4(json!({"master": "", "prevResult": previous()}));
    IPVLAN.plugin().add(&container, &config).expect_ok();
    assert_eq!(container.addresses("eth0"), ["10.1.0.10/24"]);
}

#[test]
fn prev_result_of_older_versions() {
    let network = IPVLAN.network();
    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        let container = network.container("c1");
        let mut previous = previous();
        previous["cniVersion"] = version.into();
        if version < "1" {
            previous["ips"][0]["version"] = "4".into();
            previous["ips"][1]["version"] = "6".into();
        }
        let config = json!({"cniVersion": version, "master": null, "prevResult": previous});
        let config = IPVLAN.layer2(config);
        IPVLAN.plugin().add(&container, &config).expect_ok();
        assert_eq!(
            container.addresses("eth0"),
            ["10.1.0.20/24", "fd00:1::20/64"]
        );
        IPVLAN.plugin().del(&container, &config).expect_ok();
        container.delete();
    }
}

#[test]
fn unusable_prev_results_are_refused() {
    let table = r#"
        {"master": null, "prevResult": {"interfaces": []}} => chained master failure. PrevResult lacks a single named interface
        {"master": null, "prevResult": {"interfaces": [{"name": ""}]}} => chained master failure. PrevResult lacks a single named interface
        {"master": null, "prevResult": {"interfaces": [{"name": "a"}, {"name": "b"}]}} => chained master failure
        {"master": null, "prevResult": {"interfaces": [{"name": "gone"}], "ips": [{"address": "10.1.0.9/24"}]}} => failed to lookup master "gone": Link not found
        {"prevResult": {"interfaces": [{"name": "m0"}]}} => no plugin name provided
        {} => no plugin name provided
        {"prevResult": {"cniVersion": "0.2.0"}} => could not parse prevResult
        {"prevResult": {"ips": 7}} => could not parse prevResult: ips
        {"prevResult": 7} => failed to load netconf: prevResult: expected an object
        "#;
    IPVLAN.refuses(&IPVLAN.bare_network(), &IPVLAN.layer2(json!({})), table);
}

#[test]
fn each_request_fails_without_a_trace() {
    let config = IPVLAN.layer2(json!({"master": null, "prevResult": previous()}));
    // The link, two addresses, up, one route.
    assert_eq!(IPVLAN.each_request_fails(&config), 5);
}
