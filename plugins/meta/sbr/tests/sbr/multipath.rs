//! A second interface with a default route of the same metric as the first one's. The
//! kernel turns two such IPv6 routes into the next hops of a single multipath route.

use crate::common::{add, assert_same, attached, call, config, del, ip, sbr, state, table};
use serde_json::{Value, json};
use testkit::{Container, Plugin};

const ETH0_DEFAULT: &str = "default via fd00:1::1 dev eth0 metric 1024";

/// Replaces the IPv6 default routes of both interfaces with a multipath route.
fn set_default(container: &Container, hops: &[&str]) {
    for name in ["eth0", "net1"] {
        ip(container, &format!("-6 route del default dev {name}"));
    }
    let hops: String = hops.iter().map(|hop| format!(" nexthop {hop}")).collect();
    ip(container, &format!("-6 route add default{hops}"));
}

/// The IPv6 default routes of a table with their next hops, sorted.
fn defaults(container: &Container, number: &str) -> Vec<String> {
    let text = ip(container, &format!("-6 route show default table {number}"));
    let lines = text.replace(" pref medium", "");
    let mut lines: Vec<String> = lines.lines().map(|line| line.trim().to_owned()).collect();
    lines.sort();
    lines
}

/// The next hops on the interface move to its table; the others stay in the main table.
#[test]
fn next_hops_of_one_route_are_separated() {
    for (hops, table_101) in [
        (
            &["via fd00:1::1 dev eth0", "via fd00:2::1 dev net1"][..],
            "default via fd00:2::1 dev net1 metric 1024",
        ),
        (
            &["via fd00:2::1 dev net1", "via fd00:1::1 dev eth0"],
            "default via fd00:2::1 dev net1 metric 1024",
        ),
        (
            &[
                "via fd00:2::1 dev net1 weight 2",
                "via fd00:1::1 dev eth0",
                "via fd00:2::2 dev net1 weight 3",
            ],
            "nexthop via fd00:2::2 dev net1 weight 3",
        ),
        (
            &["via fd00:1::1 dev eth0", "via fe80::1 dev net1"],
            "default via fe80::1 dev net1 metric 1024",
        ),
    ] {
        for extra in [json!({}), json!({"addSourceHints": true})] {
            let (host, container) = attached();
            set_default(&container, hops);
            let before = state(&host, &container);
            let main = defaults(&container, "main");
            let config = add(&container, extra);
            assert_eq!(defaults(&container, "main"), [ETH0_DEFAULT]);
            let own = defaults(&container, "101");
            assert!(own.contains(&table_101.to_owned()), "{own:?}");
            assert!(!own.concat().contains("eth0"), "{own:?}");
            call(&sbr(), "CHECK", &container, &config).expect_ok();
            for _ in 0..2 {
                del(&container, &config);
            }
            assert_eq!(defaults(&container, "main"), main);
            // A restored next hop is the last one.
            if hops[0].contains("eth0") {
                assert_same(&before, &state(&host, &container));
            }
        }
    }
}

/// CHECK expects the next hop in its table.
#[test]
fn check_misses_the_next_hop() {
    let (_host, container) = attached();
    set_default(
        &container,
        &["via fd00:1::1 dev eth0", "via fd00:2::2 dev net1"],
    );
    let config = add(&container, json!({}));
    ip(
        &container,
        "-6 route replace default via fd00:2::3 dev net1 table 101",
    );
    call(&sbr(), "CHECK", &container, &config)
        .expect_error(999)
        .mentions("Failed to find route ::/0 via fd00:2::2 in table 101");
}

/// A failing ADD and a repeated one.
#[test]
fn add_can_fail_and_be_repeated() {
    let (host, container) = attached();
    set_default(
        &container,
        &["via fd00:1::1 dev eth0", "via fd00:2::1 dev net1"],
    );
    let before = state(&host, &container);
    let command = || {
        let command = sbr().command("ADD").container(&container);
        command.ifname("net1").config(&config(json!({})))
    };
    assert_ne!(testkit::fail_each_request(&host, command), 0);
    assert_same(&before, &state(&host, &container));
    add(&container, json!({}));
    let once = state(&host, &container);
    let config = add(&container, json!({}));
    assert_same(&once, &state(&host, &container));
    del(&container, &config);
    assert_same(&before, &state(&host, &container));
}

/// The second network of a pod, created by the interface plugins.
#[test]
fn second_network_of_a_pod() {
    for extra in [
        json!({"type": "macvlan", "master": "v0"}),
        json!({"type": "bridge", "bridge": "br9"}),
        json!({"type": "ptp"}),
    ] {
        second_network(&extra);
    }
}

#[test]
fn second_network_of_a_pod_by_ipvlan() {
    testkit::needs(&["ipvlan"]);
    second_network(&json!({"type": "ipvlan", "master": "v0"}));
}

fn second_network(extra: &Value) {
    let (host, container) = attached();
    for family in ["-4", "-6"] {
        ip(&container, &format!("{family} route flush dev net1"));
    }
    ip(&container, "route replace default via 10.1.0.1");
    ip(&container, "-6 route del default");
    ip(&container, "-6 route add default via fd00:1::1 dev eth0");
    let main = table(&container, "main");
    for command in [
        "link add v0 type veth peer name v1",
        "link set v0 up",
        "link set v1 up",
    ] {
        ip(&*host, command);
    }
    let network = testkit::merge(
        json!({
            "cniVersion": "1.0.0",
            "name": "second",
            "ipam": {
                "type": "static",
                "addresses": [
                    {"address": "172.26.0.5/24", "gateway": "172.26.0.1"},
                    {"address": "2001:db8:5::5/64", "gateway": "2001:db8:5::1"},
                ],
                "routes": [
                    {"dst": "0.0.0.0/0", "gw": "172.26.0.1"},
                    {"dst": "::/0", "gw": "2001:db8:5::1"},
                ],
            },
        }),
        extra,
    );
    let kind = Plugin::new(extra["type"].as_str().unwrap());
    let run = |plugin: &Plugin, verb: &str, config: &Value| {
        let command = plugin.command(verb).container(&container).ifname("net2");
        command.config(config).run().expect_ok()
    };
    let first = run(&kind, "ADD", &network);
    let both = table(&container, "main");
    let sbr_config = json!({
        "cniVersion": "1.0.0", "name": "second", "type": "sbr", "prevResult": first.json(),
    });
    run(&sbr(), "ADD", &sbr_config);
    assert_eq!(table(&container, "main"), main, "{extra}");
    for (number, gateway) in [("100", "172.26.0.1"), ("101", "2001:db8:5::1")] {
        let own = table(&container, number);
        let line = format!("default via {gateway} dev net2");
        assert!(own.iter().any(|route| route.starts_with(&line)), "{own:?}");
    }
    run(&sbr(), "CHECK", &sbr_config);
    run(&kind, "CHECK", &first.with_prev());
    run(&sbr(), "DEL", &sbr_config);
    assert_eq!(table(&container, "main"), both, "{extra}");
    run(&kind, "DEL", &first.with_prev());
    assert_eq!(table(&container, "main"), main, "{extra}");
}
