//! Rules, tables and the main table after ADD.

use crate::common::{
    add, assert_same, attached, call, config, del, ip, prev, rules, sbr, state, table,
};
use serde_json::{Value, json};
use testkit::{Container, Host};

/// DEL, which must restore everything.
#[track_caller]
fn assert_del_restores(
    host: &Host,
    container: &Container,
    config: &Value,
    before: &crate::routes::State,
) {
    for _ in 0..2 {
        del(container, config);
    }
    assert_same(before, &state(host, container));
}

type State = (
    testkit::Snapshot,
    std::collections::BTreeMap<String, String>,
    String,
);

#[test]
fn a_table_for_each_address() {
    let (host, container) = attached();
    let before = state(&host, &container);
    let config = add(&container, json!({}));
    assert_eq!(
        rules(&container),
        [
            "32765: from 10.2.0.5 lookup 100",
            "32765: from fd00:2::5 lookup 101"
        ]
    );
    assert_eq!(
        table(&container, "100"),
        [
            "10.2.0.0/24 dev net1 proto kernel scope link src 10.2.0.5",
            "default via 10.2.0.1 dev net1",
        ]
    );
    // The default route of the address, and that of the main table with another metric.
    assert_eq!(
        table(&container, "101"),
        [
            "default via fd00:2::1 dev net1 metric 1024",
            "default via fd00:2::1 dev net1 metric 98",
            "fd00:2::/64 dev net1 proto kernel metric 256",
        ]
    );
    assert_eq!(
        table(&container, "main"),
        [
            "10.1.0.0/24 dev eth0 proto kernel scope link src 10.1.0.5",
            "default via 10.1.0.1 dev eth0",
            "default via fd00:1::1 dev eth0 metric 99",
            "fd00:1::/64 dev eth0 proto kernel metric 256",
        ]
    );
    call(&sbr(), "CHECK", &container, &config).expect_ok();
    assert_del_restores(&host, &container, &config, &before);
}

#[test]
fn source_hints() {
    let (host, container) = attached();
    ip(&container, "addr add 10.2.0.6/24 dev net1");
    ip(&container, "route add 10.60.0.0/16 via 10.2.0.1");
    ip(&container, "route add 10.61.0.0/16 dev net1 scope link");
    let before = state(&host, &container);
    let mut prev = prev("1.1.0");
    let second = json!({"address": "10.2.0.6/24", "interface": 1});
    prev["ips"].as_array_mut().unwrap().push(second);
    let config = add(
        &container,
        json!({"addSourceHints": true, "prevResult": prev}),
    );
    let main: Vec<String> = table(&container, "main");
    let of_net1: Vec<&String> = main.iter().filter(|line| line.contains("net1")).collect();
    assert_eq!(
        of_net1,
        [
            "10.2.0.0/24 dev net1 scope link src 10.2.0.5",
            "10.61.0.0/16 dev net1 scope link",
            "fd00:2::/64 dev net1 src fd00:2::5 metric 1024",
        ]
    );
    assert!(
        rules(&container).contains(&"32764: from 10.2.0.6 lookup 102".to_owned()),
        "{:?}",
        rules(&container)
    );
    assert_eq!(
        table(&container, "102"),
        [
            "10.2.0.0/24 dev net1 proto kernel scope link src 10.2.0.5",
            "10.60.0.0/16 via 10.2.0.1 dev net1",
            "10.61.0.0/16 dev net1 scope link",
            "default via 10.2.0.1 dev net1",
        ]
    );
    call(&sbr(), "CHECK", &container, &config).expect_ok();
    // A repeated ADD.
    add(
        &container,
        json!({"addSourceHints": true, "prevResult": config["prevResult"]}),
    );
    call(&sbr(), "CHECK", &container, &config).expect_ok();
    assert_del_restores(&host, &container, &config, &before);
}

#[test]
fn a_configured_table() {
    for number in [7, 254, 4_000_000_000_u32] {
        let (host, container) = attached();
        let before = state(&host, &container);
        let main = table(&container, "main");
        let config = add(&container, json!({"table": number}));
        let name = if number == 254 {
            "main".to_owned()
        } else {
            number.to_string()
        };
        assert_eq!(
            rules(&container),
            [
                format!("32765: from 10.2.0.5 lookup {name}"),
                format!("32765: from fd00:2::5 lookup {name}")
            ]
        );
        assert_eq!(table(&container, "main"), main);
        call(&sbr(), "CHECK", &container, &config).expect_ok();
        // A repeated ADD.
        add(&container, json!({"table": number}));
        assert_eq!(rules(&container).len(), 2);
        assert_del_restores(&host, &container, &config, &before);
    }
}

/// Tables with rules or routes of others are skipped.
#[test]
fn tables_in_use_are_skipped() {
    let (host, container) = attached();
    ip(&container, "route add 10.50.0.0/16 dev eth0 table 100");
    ip(&container, "rule add from 10.77.0.0/16 lookup 101");
    ip(&container, "-6 rule add fwmark 7 lookup 102");
    ip(&container, "-6 route add fd00:50::/64 dev net1 table 104");
    let before = state(&host, &container);
    let config = add(&container, json!({}));
    assert!(table(&container, "103").contains(&"default via 10.2.0.1 dev net1".to_owned()));
    assert!(
        table(&container, "105").contains(&"default via fd00:2::1 dev net1 metric 98".to_owned())
    );
    assert_eq!(table(&container, "104").len(), 1);
    assert_del_restores(&host, &container, &config, &before);
}

/// Routes keep all attributes when they are moved and restored.
#[test]
fn all_kinds_of_routes() {
    let (host, container) = attached();
    for route in [
        "10.60.0.0/16 via 10.2.0.1 metric 50 mtu 1300",
        "10.61.0.0/16 via 192.0.2.1 dev net1 onlink",
        "10.62.0.0/16 dev net1 src 10.2.0.5",
        "10.63.0.0/16 nexthop via 10.2.0.1 weight 2 nexthop via 10.2.0.2",
        "10.64.0.0/16 nexthop via 10.2.0.1 nexthop via 10.1.0.1",
        "10.65.0.0/16 dev net1 tos 8",
        "10.66.0.0/16 via inet6 fd00:2::1 dev net1",
    ] {
        ip(&container, &format!("route add {route}"));
    }
    for route in [
        "fd00:60::/64 via fd00:2::1 metric 7",
        "fd00:61::/64 via fe80::1 dev net1",
        "fd00:62::/64 nexthop via fd00:2::1 nexthop via fd00:2::2",
    ] {
        ip(&container, &format!("-6 route add {route}"));
    }
    let before = state(&host, &container);
    let config = add(&container, json!({}));
    let v4 = table(&container, "100");
    for line in [
        "10.60.0.0/16 via 10.2.0.1 dev net1 metric 50 mtu 1300",
        "10.61.0.0/16 via 192.0.2.1 dev net1 onlink",
        "10.62.0.0/16 dev net1 scope link src 10.2.0.5",
        "10.63.0.0/16",
        "nexthop via 10.2.0.1 dev net1 weight 2",
        "10.65.0.0/16 tos 0x08 dev net1 scope link",
        "10.66.0.0/16 via inet6 fd00:2::1 dev net1",
    ] {
        let found = v4
            .iter()
            .any(|l| l.replace("tos throughput", "tos 0x08") == line);
        assert!(found, "{line}\n{v4:#?}");
    }
    let v6 = table(&container, "101");
    for line in [
        "fd00:60::/64 via fd00:2::1 dev net1 metric 7",
        "fd00:61::/64 via fe80::1 dev net1 metric 1024",
        "nexthop via fd00:2::2 dev net1 weight 1",
    ] {
        assert!(v6.iter().any(|l| l == line), "{line}\n{v6:#?}");
    }
    let families = |lines: &[String], part: &str| lines.iter().any(|line| line.contains(part));
    assert!(!families(&v4, "fd00:60") && !families(&v6, "10.6"));
    // An IPv4 route with next hops on both interfaces stays.
    let main = table(&container, "main");
    assert!(families(&main, "10.64.0.0/16") && !families(&main, "10.63.0.0/16"));
    call(&sbr(), "CHECK", &container, &config).expect_ok();
    assert_del_restores(&host, &container, &config, &before);
}

#[test]
fn gateways_of_the_configuration() {
    let (host, container) = attached();
    for family in ["-4", "-6"] {
        ip(&container, &format!("{family} route del default dev net1"));
    }
    ip(&container, "addr add 10.3.0.5/24 dev net1");
    let before = state(&host, &container);
    let mut prev = prev("1.1.0");
    let second = json!({"address": "10.3.0.5/24", "gateway": "10.3.0.1", "interface": 1});
    prev["ips"].as_array_mut().unwrap().push(second);
    let config = add(
        &container,
        json!({"gateways": ["fe80::9", "10.2.0.9"], "prevResult": prev}),
    );
    let has = |number: &str, line: &str| table(&container, number).contains(&line.to_owned());
    assert!(has("100", "default via 10.2.0.9 dev net1"));
    assert!(has("101", "default via fe80::9 dev net1 metric 1024"));
    // The gateway is not in the network of this address.
    assert!(has("102", "default via 10.3.0.1 dev net1"));
    call(&sbr(), "CHECK", &container, &config).expect_ok();
    assert_del_restores(&host, &container, &config, &before);
}

/// Without gateways, no default routes are added.
#[test]
fn without_gateways() {
    let (host, container) = attached();
    for family in ["-4", "-6"] {
        ip(&container, &format!("{family} route del default dev net1"));
    }
    let before = state(&host, &container);
    let mut prev = prev("1.1.0");
    for number in [0, 1] {
        prev["ips"][number]["gateway"] = Value::Null;
    }
    let config = add(&container, json!({"prevResult": prev}));
    for number in ["100", "101"] {
        let routes = table(&container, number);
        assert!(
            routes.len() == 1 && !routes[0].contains("default"),
            "{routes:?}"
        );
    }
    call(&sbr(), "CHECK", &container, &config).expect_ok();
    assert_del_restores(&host, &container, &config, &before);
}

#[test]
fn link_local_routes_stay() {
    let (host, container) = attached();
    ip(&container, "addr add fe80::5/64 dev net1 nodad");
    let before = state(&host, &container);
    let config = add(&container, json!({}));
    assert!(ip(&container, "-6 route show dev net1").contains("fe80::/64"));
    assert!(!ip(&container, "-6 route show table 101").contains("fe80::/64"));
    assert_del_restores(&host, &container, &config, &before);
}

/// A runtime may repeat ADD.
#[test]
fn repeated_adds() {
    let (host, container) = attached();
    let before = state(&host, &container);
    let config = add(&container, json!({}));
    let once = state(&host, &container);
    add(&container, json!({}));
    assert_same(&once, &state(&host, &container));
    call(&sbr(), "CHECK", &container, &config).expect_ok();
    // Routes added since the first ADD are moved, too.
    ip(
        &container,
        "route add 10.60.0.0/16 via 10.2.0.1 dev net1 onlink",
    );
    add(&container, json!({}));
    assert!(
        table(&container, "100").contains(&"10.60.0.0/16 via 10.2.0.1 dev net1 onlink".to_owned())
    );
    ip(&container, "route del 10.60.0.0/16 table 100");
    call(&sbr(), "CHECK", &container, &config)
        .expect_error(999)
        .mentions("10.60.0.0/16");
    del(&container, &config);
    ip(&container, "route del 10.60.0.0/16");
    assert_same(&before, &state(&host, &container));
}

/// Both interfaces of a container, deleted in either order.
#[test]
fn two_interfaces() {
    for first in ["eth0", "net1"] {
        let (host, container) = attached();
        let before = state(&host, &container);
        let eth0 = config(json!({"prevResult": {
            "cniVersion": "1.1.0",
            "interfaces": [{"name": "eth0", "sandbox": "/run/netns/c1"}],
            "ips": [{"address": "10.1.0.5/24", "gateway": "10.1.0.1", "interface": 0}],
        }}));
        let command = |verb: &str, name: &str| {
            let config = if name == "eth0" {
                eth0.clone()
            } else {
                config(json!({}))
            };
            let call = sbr().command(verb).container(&container).ifname(name);
            call.config(&config).run().expect_ok()
        };
        let second = if first == "eth0" { "net1" } else { "eth0" };
        command("ADD", "net1");
        command("ADD", "eth0");
        assert_eq!(rules(&container).len(), 3);
        command("DEL", first);
        command("CHECK", second);
        command("DEL", second);
        let after = state(&host, &container);
        before.0.assert_same(&after.0);
        assert_eq!(before.1, after.1);
    }
}
