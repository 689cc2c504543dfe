//! Routes of the container in the kernel.

use crate::common::{assert_restored, bridge, call, dual, ipv4, scripted, used_host};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, ScriptedIpam, state};

/// A dual-stack network with these routes.
fn with_routes(routes: Value, extra: Value) -> Value {
    let mut config = dual(extra);
    config["ipam"]["routes"] = routes;
    config
}

fn table(container: &Container, family: &str, table: &str) -> Vec<String> {
    let routes = container.ip(&format!("-d {family} route show table {table}"));
    let lines = routes.lines().filter(|line| !line.contains("proto kernel"));
    lines.map(|line| line.trim().to_owned()).collect()
}

#[test]
fn every_attribute_is_applied() {
    let host = Host::new();
    let container = host.container("c1");
    let routes = json!([
        {"dst": "10.50.0.0/16", "mtu": 1300, "advmss": 1200, "priority": 50},
        {"dst": "10.51.0.0/16", "gw": "10.1.0.9", "table": 100},
        {"dst": "10.52.0.0/16", "scope": 253},
        {"dst": "fd00:50::/32", "mtu": 1300, "advmss": 1200, "priority": 50},
        {"dst": "fd00:51::/32", "gw": "fd00:1::9", "table": 100},
        {"dst": "fd00:52::/32", "scope": 253},
    ]);
    let config = with_routes(routes, json!({"isGateway": true}));
    let run = bridge().add(&container, &config).expect_ok();
    assert_eq!(
        table(&container, "-4", "main"),
        [
            "unicast 10.50.0.0/16 via 10.1.0.1 dev eth0 proto boot scope global metric 50 mtu 1300 advmss 1200",
            "unicast 10.52.0.0/16 dev eth0 proto boot scope link",
        ]
    );
    assert_eq!(
        table(&container, "-4", "100"),
        ["unicast 10.51.0.0/16 via 10.1.0.9 dev eth0 proto boot scope global"]
    );
    let ipv6 = table(&container, "-6", "main");
    for expected in [
        "unicast fd00:50::/32 via fd00:1::1 dev eth0 proto boot scope global metric 50 mtu 1300 advmss 1200 pref medium",
        "unicast fd00:52::/32 dev eth0 proto boot scope global metric 1024 pref medium",
    ] {
        assert!(
            ipv6.iter().any(|line| line == expected),
            "{expected:?} is not in {ipv6:#?}"
        );
    }
    assert_eq!(
        table(&container, "-6", "100"),
        [
            "unicast fd00:51::/32 via fd00:1::9 dev eth0 proto boot scope global metric 1024 pref medium"
        ]
    );
    bridge().check(&container, &run.with_prev()).expect_ok();
    // The result has them as they are configured.
    let result = run.json();
    assert_eq!(
        result["routes"][0],
        json!({"dst": "10.50.0.0/16", "mtu": 1300, "advmss": 1200, "priority": 50})
    );
}

#[test]
fn no_second_default_route_beside_one_without_a_gateway() {
    let host = Host::new();
    let container = host.container("c1");
    let routes = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
    let config = with_routes(routes.clone(), json!({"isDefaultGateway": true}));
    let run = bridge().add(&container, &config).expect_ok();
    assert_eq!(container.routes("-4"), ["default via 10.1.0.1 dev eth0"]);
    assert_eq!(
        container.routes("-6"),
        ["default via fd00:1::1 dev eth0 metric 1024 pref medium"]
    );
    assert_eq!(run.json()["routes"], routes);
    bridge().check(&container, &run.with_prev()).expect_ok();
}

#[test]
fn no_second_default_route_beside_one_with_another_gateway() {
    let host = Host::new();
    let container = host.container("c1");
    let routes = json!([{"dst": "0.0.0.0/0", "gw": "10.1.0.254"}]);
    bridge()
        .add(
            &container,
            &with_routes(routes, json!({"isDefaultGateway": true})),
        )
        .expect_ok();
    assert_eq!(container.routes("-4"), ["default via 10.1.0.254 dev eth0"]);
    assert_eq!(
        container.routes("-6"),
        ["default via fd00:1::1 dev eth0 metric 1024 pref medium"]
    );
}

#[test]
fn a_default_route_in_another_table_does_not_count() {
    let host = Host::new();
    let container = host.container("c1");
    let routes = json!([{"dst": "0.0.0.0/0", "table": 100}, {"dst": "::/0", "table": 254}]);
    bridge()
        .add(
            &container,
            &with_routes(routes, json!({"isDefaultGateway": true})),
        )
        .expect_ok();
    assert_eq!(container.routes("-4"), ["default via 10.1.0.1 dev eth0"]);
    let other = table(&container, "-4", "100");
    assert_eq!(
        other,
        ["unicast default via 10.1.0.1 dev eth0 proto boot scope global"]
    );
    assert_eq!(
        container.routes("-6"),
        ["default via fd00:1::1 dev eth0 metric 1024 pref medium"]
    );
}

#[test]
fn the_same_route_twice_is_one_route() {
    let host = Host::new();
    let container = host.container("c1");
    let routes = json!([
        {"dst": "10.50.0.0/16"}, {"dst": "10.50.0.0/16"},
        {"dst": "fd00:50::/32"}, {"dst": "fd00:50::/32"},
    ]);
    let run = bridge()
        .add(&container, &with_routes(routes, json!({})))
        .expect_ok();
    assert_eq!(
        container.routes("-4"),
        ["10.50.0.0/16 via 10.1.0.1 dev eth0"]
    );
    let expected = ["fd00:50::/32 via fd00:1::1 dev eth0 metric 1024 pref medium"];
    assert_eq!(container.routes("-6"), expected);
    bridge().check(&container, &run.with_prev()).expect_ok();
}

#[test]
fn host_bits_of_a_destination_are_ignored() {
    let host = Host::new();
    let container = host.container("c1");
    let routes = json!([{"dst": "10.50.1.2/16"}, {"dst": "10.60.0.1/32"}]);
    let run = bridge()
        .add(&container, &with_routes(routes, json!({})))
        .expect_ok();
    let expected = [
        "10.50.0.0/16 via 10.1.0.1 dev eth0",
        "10.60.0.1 via 10.1.0.1 dev eth0",
    ];
    assert_eq!(container.routes("-4"), expected);
    bridge().check(&container, &run.with_prev()).expect_ok();
}

#[test]
fn a_family_without_gateway_has_routes_on_the_link() {
    let host = Host::new();
    let container = host.container("c1");
    let result = json!({
        "cniVersion": "1.1.0",
        "ips": [{"address": "10.3.0.9/24"}, {"address": "fd00:3::9/64"}],
        "routes": [
            {"dst": "10.50.0.0/16"}, {"dst": "10.51.0.0/16", "gw": "0.0.0.0"},
            {"dst": "fd00:50::/32", "gw": "::"},
        ],
    });
    let ipam = ScriptedIpam::answering(&host, &result);
    let run = call(&ipam, "ADD", &container, &scripted(json!({}))).expect_ok();
    assert_eq!(
        container.routes("-4"),
        ["10.50.0.0/16 dev eth0", "10.51.0.0/16 dev eth0"]
    );
    assert_eq!(
        container.routes("-6"),
        ["fd00:50::/32 dev eth0 metric 1024 pref medium"]
    );
    call(&ipam, "CHECK", &container, &run.with_prev()).expect_ok();
}

#[test]
fn a_route_that_is_refused_is_named_and_add_undone() {
    for (route, problem) in [
        (
            json!({"dst": "10.50.0.0/16", "gw": "192.0.2.1"}),
            "failed to add route '{10.50.0.0 ffff0000} via 192.0.2.1 dev eth0 metric 0 (Scope: universe, Table: 254)': network is unreachable",
        ),
        (
            json!({"dst": "10.50.0.0/16", "table": -1}),
            "table -1 is out of range",
        ),
        (
            json!({"dst": "10.50.0.0/16", "scope": 256}),
            "scope 256 is out of range",
        ),
        (
            json!({"dst": "10.50.0.0/16", "mtu": 4294967296u64}),
            "mtu 4294967296 is out of range",
        ),
        (
            json!({"dst": "10.50.0.0/16", "gw": "fd00:1::9"}),
            "failed to add route",
        ),
    ] {
        let mut config = ipv4(json!({"isGateway": true}));
        let host = used_host(&config);
        let container = host.container("c1");
        let before = state(&host);
        config["ipam"]["routes"] = json!([route]);
        bridge()
            .add(&container, &config)
            .expect_error(999)
            .mentions(problem);
        assert_restored(&host, &before, "after the failure");
    }
}
