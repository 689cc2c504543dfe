//! Policy rules, and routes moved between tables, compared with `ip -j`.
#![allow(clippy::unwrap_used)]

use std::net::IpAddr;

use rtnl::*;
use testkit::namespace::{in_namespace, json, run};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn rules_are_added_and_deleted() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        let fresh = handle.rules(&RuleFilter::default()).unwrap();
        assert_eq!(fresh.len(), 5);
        let specs = [
            RuleSpec::from_address(ip("10.0.0.5"), 100),
            RuleSpec::from_address(ip("fd00::5"), 70_000),
            RuleSpec {
                src: Some((ip("10.1.0.0"), 16)),
                dst: Some((ip("10.2.0.0"), 24)),
                priority: Some(77),
                ..RuleSpec::from_address(ip("10.1.0.0"), 255)
            },
            RuleSpec {
                src: None,
                priority: Some(78),
                ..RuleSpec::from_address(ip("fd00::"), 256)
            },
        ];
        for spec in &specs {
            handle.request(Request::add_rule(spec)).unwrap();
        }
        let seen = json("ip -j -d rule");
        let of = |table: &str| seen.iter().find(|r| r["table"] == table).unwrap();
        assert_eq!(of("100")["src"], "10.0.0.5");
        assert_eq!(of("100")["priority"], 32765);
        let by_priority = seen.iter().find(|r| r["priority"] == 77).unwrap();
        assert_eq!(by_priority["src"], "10.1.0.0");
        assert_eq!(by_priority["srclen"], 16);
        assert_eq!(by_priority["dst"], "10.2.0.0");
        assert_eq!(by_priority["dstlen"], 24);
        let seen = json("ip -j -d -6 rule");
        let of = |table: &str| seen.iter().find(|r| r["table"] == table).unwrap();
        assert_eq!(of("70000")["src"], "fd00::5");
        assert_eq!(of("256")["src"], "all");

        let listed = handle.rules(&RuleFilter::default()).unwrap();
        assert_eq!(listed.len(), 9);
        for spec in &specs {
            let rule = listed.iter().find(|r| r.table == Some(spec.table)).unwrap();
            let found = listed.iter().filter_map(Rule::spec).find(|found| {
                (found.src, found.dst, found.table) == (spec.src, spec.dst, spec.table)
            });
            assert!(found.is_some(), "{rule:?}");
        }
        let only = |filter: RuleFilter| handle.rules(&filter).unwrap().len();
        let none = RuleFilter::default;
        let v4 = Some(Family::V4);
        assert_eq!(
            only(RuleFilter {
                family: v4,
                ..none()
            }),
            5
        );
        let src = Some((ip("fd00::5"), 128));
        assert_eq!(only(RuleFilter { src, ..none() }), 1);
        let table = Some(100);
        assert_eq!(only(RuleFilter { table, ..none() }), 1);
        let priority = Some(77);
        assert_eq!(only(RuleFilter { priority, ..none() }), 1);

        let again = handle.request(Request::add_rule(&specs[2])).err().unwrap();
        assert!(again.is_exists(), "{again}");
        for spec in &specs {
            handle.request(Request::del_rule(spec)).unwrap();
            let again = handle.request(Request::del_rule(spec)).err().unwrap();
            assert!(again.is_not_found(), "{again}");
        }
        assert_eq!(handle.rules(&none()).unwrap(), fresh);
    });
}

/// Rules with selectors that `Rule` does not decode are marked.
#[test]
fn rules_with_other_selectors() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        for (rule, plain) in [
            ("from 10.0.0.5 lookup 100", true),
            ("to 10.0.0.5 lookup 100 protocol 9", true),
            ("from 10.0.0.5 fwmark 5 lookup 100", false),
            ("from 10.0.0.5 iif lo lookup 100", false),
            ("from 10.0.0.5 oif lo lookup 100", false),
            ("not from 10.0.0.5 lookup 100", false),
            ("from 10.0.0.5 tos 8 lookup 100", false),
            ("from 10.0.0.5 ipproto tcp lookup 100", false),
            ("from 10.0.0.5 dport 53 lookup 100", false),
            ("from 10.0.0.5 lookup 100 suppress_prefixlength 0", false),
            ("from 10.0.0.5 uidrange 1-5 lookup 100", false),
            ("from 10.0.0.5 unreachable", false),
        ] {
            run(&format!("ip rule add pref 50 {rule}"));
            let priority = Some(50);
            let listed = handle.rules(&RuleFilter {
                priority,
                ..RuleFilter::default()
            });
            let listed = listed.unwrap();
            assert_eq!(listed.len(), 1, "{rule}");
            assert_eq!(listed[0].spec().is_some(), plain, "{rule}: {listed:?}");
            run("ip rule del pref 50");
        }
    });
}

/// `ip route` of a table, without the table's name.
fn routes(table: &str) -> Vec<String> {
    let mut all = Vec::new();
    for family in ["-4", "-6"] {
        let text = run(&format!("ip -d {family} route show table {table}"));
        let lines = text.replace(&format!("table {table} "), "");
        let lines = lines
            .lines()
            .map(|line| line.trim().replace(" linkdown", "").replace(" dead", ""));
        all.extend(lines.filter(|line| !line.contains("fe80") && !line.contains("ff00")));
    }
    all
}

#[test]
fn raw_routes_keep_all_attributes() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        for command in [
            "ip link add v0 type veth peer name v1",
            "ip link set v0 up",
            "ip link set v1 up",
            "ip addr add 10.0.0.5/24 dev v0",
            "ip addr add fd00::5/64 dev v0 nodad",
            "ip route add default via 10.0.0.1 src 10.0.0.5 metric 7 mtu 1400 advmss 1300 initcwnd 20",
            "ip route add 10.9.0.0/16 via 192.0.2.1 dev v0 onlink proto 99 realm 5",
            "ip route add 10.8.0.0/16 dev v0 scope link tos 4",
            "ip route add 10.7.0.0/16 nexthop via 10.0.0.2 weight 3 nexthop via 10.0.0.3 dev v0 onlink",
            "ip route add 10.6.0.0/16 via inet6 fd00::9 dev v0",
            "ip route add 10.4.0.0/16 dev v0 congctl reno rto_min 50ms",
            "ip -6 route add default via fd00::1 metric 9 mtu lock 1300",
            "ip -6 route add fd09::/64 via fd99::1 dev v0 onlink pref high",
            "ip -6 route add fd08::/64 nexthop via fd00::2 weight 2 nexthop via fd00::3",
            "ip -6 route add fd07::/64 dev v0 expires 500",
        ] {
            run(command);
        }
        let before = routes("main");
        assert!(before.len() > 12, "{before:?}");
        let index = handle.link_by_name("v0").unwrap().index;
        let of_table = |table| {
            let filter = RouteFilter {
                table: Some(table),
                oif: Some(index),
                ..RouteFilter::default()
            };
            let copies = handle.raw_routes(&filter).unwrap();
            let plain = handle.routes(&filter).unwrap();
            assert!(copies.iter().map(RawRoute::route).eq(&plain));
            copies
        };
        let mine = |copy: &RawRoute| {
            let dst = copy.route().dst.to_string();
            !dst.starts_with("fe80") && !dst.starts_with("ff00")
        };
        let mut copies = of_table(RT_TABLE_MAIN);
        copies.retain(mine);
        // Routes with a gateway are added last and deleted first, because the kernel looks up the gateway.
        copies.sort_by_key(|copy| copy.gateways().next().is_some());
        for copy in &copies {
            let bytes = copy.in_table(70_000);
            let copy = RawRoute::from_bytes(bytes.as_bytes()).unwrap();
            assert_eq!(copy, bytes);
            handle
                .request(Request::add_raw_route(&copy, Exclusivity::Exclusive))
                .unwrap();
        }
        let sorted = |mut lines: Vec<String>| {
            // The lifetime decreases.
            lines
                .iter_mut()
                .for_each(|line| *line = line.split(" expires").next().unwrap().to_owned());
            lines.sort();
            lines
        };
        assert_eq!(sorted(routes("70000")), sorted(before.clone()));
        assert!(run("ip -6 route show table 70000 fd07::/64").contains("expires"));
        for copy in copies.iter().rev() {
            handle.request(Request::del_raw_route(copy)).unwrap();
            let again = handle.request(Request::del_raw_route(copy)).err().unwrap();
            assert!(again.is_not_found(), "{again}");
        }
        assert_eq!(routes("main"), [""; 0]);
        for copy in of_table(70_000) {
            assert!(!copies.iter().any(|other| copy.same_entry(other)));
            let back = copy.in_table(RT_TABLE_MAIN);
            assert!(copies.iter().any(|other| back.same_entry(other)));
            // The gateway may be reachable only through the other table, which requires a rule.
            handle
                .request(Request::add_raw_route(&back, Exclusivity::Behind))
                .or_else(|_| {
                    run("ip rule add lookup 70000");
                    run("ip -6 rule add lookup 70000");
                    handle.request(Request::add_raw_route(&back, Exclusivity::Behind))
                })
                .unwrap();
        }
        assert_eq!(sorted(routes("main")), sorted(before));
    });
}

/// Routes with the same destination keep their order.
#[test]
fn ipv4_routes_are_inserted_before_or_after() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        for command in [
            "ip link add v0 type veth peer name v1",
            "ip link set v0 up",
            "ip link set v1 up",
            "ip addr add 10.0.0.5/24 dev v0",
            "ip addr add 10.1.0.5/24 dev v1",
            "ip route append default via 10.0.0.1",
            "ip route append default via 10.1.0.1",
        ] {
            run(command);
        }
        let before = routes("main");
        let filter = RouteFilter {
            dst: Some((ip("0.0.0.0"), 0)),
            table: Some(RT_TABLE_MAIN),
            ..RouteFilter::default()
        };
        let copies = handle.raw_routes(&filter).unwrap();
        for (copy, place) in copies
            .iter()
            .zip([Exclusivity::Shared, Exclusivity::Behind])
        {
            handle.request(Request::del_raw_route(copy)).unwrap();
            assert_ne!(routes("main"), before);
            handle.request(Request::add_raw_route(copy, place)).unwrap();
            assert_eq!(routes("main"), before);
        }
    });
}
