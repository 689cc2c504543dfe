//! Behind another plugin: its interface is the master, its addresses are taken over.

use crate::common::{attribute, bare, host, ipv4, ipvlan};
use serde_json::{Value, json};
use testkit::{Node, fail_each_request};

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
fn master_and_addresses_of_the_one_before() {
    let (host, router) = host();
    let container = host.container("c1");
    let config = bare(json!({"master": null, "prevResult": previous()}));
    let run = ipvlan().add(&container, &config).expect_ok();
    assert_eq!(
        run.json(),
        json!({
            "cniVersion": "1.1.0",
            "interfaces": [{
                "name": "eth0", "mac": attribute(&host, "m0", "/address"), "mtu": 1500,
                "sandbox": "/run/netns/c1",
            }],
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
    router.ping("10.1.0.20");
    ipvlan().check(&container, &run.with_prev()).expect_ok();
    for _ in 0..2 {
        ipvlan().del(&container, &run.with_prev()).expect_ok();
        assert_eq!(container.link_names(), ["lo"]);
    }
}

#[test]
fn addresses_of_the_one_before_on_a_named_master() {
    let (host, _router) = host();
    let container = host.container("c1");
    let mut previous = previous();
    previous["interfaces"] = json!([{"name": "a"}, {"name": "b"}]);
    let config = bare(json!({"prevResult": previous}));
    let run = ipvlan().add(&container, &config).expect_ok();
    ipvlan().check(&container, &run.with_prev()).expect_ok();
    container.ping("10.1.0.1");
}

#[test]
fn master_of_the_one_before_and_addresses_of_ipam() {
    let (host, _router) = host();
    let container = host.container("c1");
    let config = ipv4(json!({"master": "", "prevResult": previous()}));
    ipvlan().add(&container, &config).expect_ok();
    assert_eq!(container.addresses("eth0"), ["10.1.0.10/24"]);
}

#[test]
fn in_older_versions() {
    let (host, _router) = host();
    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        let container = host.container("c1");
        let mut previous = previous();
        previous["cniVersion"] = version.into();
        if version < "1" {
            previous["ips"][0]["version"] = "4".into();
            previous["ips"][1]["version"] = "6".into();
        }
        let config = bare(json!({"cniVersion": version, "master": null, "prevResult": previous}));
        ipvlan().add(&container, &config).expect_ok();
        assert_eq!(
            container.addresses("eth0"),
            ["10.1.0.20/24", "fd00:1::20/64"]
        );
        ipvlan().del(&container, &config).expect_ok();
        container.delete();
    }
}

#[test]
fn refusals() {
    let (host, _router) = host();
    let container = host.container("c1");
    let before = host.snapshot();
    let chained = "chained master failure. PrevResult lacks a single named interface";
    for (extra, words) in [
        (
            json!({"master": null, "prevResult": {"interfaces": []}}),
            chained,
        ),
        (
            json!({"master": null, "prevResult": {"interfaces": [{"name": ""}]}}),
            chained,
        ),
        (
            json!({"master": null, "prevResult": {"interfaces": [{"name": "a"}, {"name": "b"}]}}),
            chained,
        ),
        (
            json!({"master": null, "prevResult": {"interfaces": [{"name": "gone"}], "ips": [{"address": "10.1.0.9/24"}]}}),
            "failed to lookup master \"gone\": Link not found",
        ),
        (
            json!({"prevResult": {"interfaces": [{"name": "m0"}]}}),
            "no plugin name provided",
        ),
        (json!({}), "no plugin name provided"),
        (
            json!({"prevResult": {"cniVersion": "0.2.0"}}),
            "could not parse prevResult",
        ),
        (
            json!({"prevResult": {"ips": 7}}),
            "could not parse prevResult: ips",
        ),
        (
            json!({"prevResult": 7}),
            "failed to load netconf: prevResult: expected an object",
        ),
    ] {
        ipvlan()
            .add(&container, &bare(extra))
            .expect_error(999)
            .mentions(words);
    }
    before.assert_same(&host.snapshot());
}

#[test]
fn failures_leave_nothing() {
    let (host, _router) = host();
    let container = host.container("c1");
    let config = bare(json!({"master": null, "prevResult": previous()}));
    let add = || {
        ipvlan()
            .command("ADD")
            .container(&container)
            .config(&config)
    };
    // The link, two addresses, up, one route.
    assert_eq!(fail_each_request(&host, add), 5);
}
