//! Addresses, routes and neighbours, compared with `ip -j`.
#![allow(clippy::unwrap_used)]

use std::net::IpAddr;

use rtnl::*;
use serde_json::json as value;
use testkit::namespace::{in_namespace, json, run};

// From if_addr.h and rtnetlink.h.
const IFA_F_NODAD: u32 = 0x02;
const RTPROT_STATIC: u8 = 4;
const RTN_BLACKHOLE: u8 = 6;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Creates a veth pair `v0` and `v1`, both up. Returns the index of `v0`.
fn pair(handle: &Handle) -> u32 {
    run("ip link add v0 type veth peer name v1");
    run("ip link set v0 up");
    run("ip link set v1 up");
    handle.link_by_name("v0").unwrap().index
}

fn ip_addresses(link: &str) -> Vec<serde_json::Value> {
    let list = json(&format!("ip -j -d addr show dev {link}"));
    list[0]["addr_info"].as_array().unwrap().clone()
}

#[test]
fn addresses_are_added_and_deleted() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        let index = pair(&handle);
        let specs = [
            AddressSpec::new(ip("10.1.2.3"), 24),
            AddressSpec::new(ip("10.9.0.0"), 31),
            AddressSpec::new(ip("10.8.0.1"), 32),
            AddressSpec {
                broadcast: Broadcast::None,
                scope: Scope::LINK,
                ..AddressSpec::new(ip("10.7.0.1"), 16)
            },
            AddressSpec {
                peer: Some(ip("10.6.0.2")),
                ..AddressSpec::new(ip("10.6.0.1"), 32)
            },
            AddressSpec {
                nodad: true,
                ..AddressSpec::new(ip("2001:db8::1"), 64)
            },
        ];
        for spec in &specs {
            handle.request(Request::add_address(index, spec)).unwrap();
        }
        let seen = ip_addresses("v0");
        let find = |local: &str| seen.iter().find(|a| a["local"] == local).unwrap();
        assert_eq!(find("10.1.2.3")["broadcast"], "10.1.2.255");
        assert_eq!(find("10.1.2.3")["prefixlen"], 24);
        assert_eq!(find("10.1.2.3")["scope"], "global");
        assert_eq!(find("10.9.0.0")["broadcast"], value!(null));
        assert_eq!(find("10.8.0.1")["broadcast"], value!(null));
        assert_eq!(find("10.7.0.1")["broadcast"], value!(null));
        assert_eq!(find("10.7.0.1")["scope"], "link");
        assert_eq!(find("10.6.0.1")["address"], "10.6.0.2");
        assert_eq!(find("2001:db8::1")["nodad"], true);

        let v4 = handle.addresses(index, Some(Family::V4)).unwrap();
        let listed: Vec<String> = v4
            .iter()
            .map(|a| format!("{}/{}", a.addr, a.prefix))
            .collect();
        let vlans_by_iproute2: Vec<String> = seen
            .iter()
            .filter(|a| a["family"] == "inet")
            .map(|a| format!("{}/{}", a["local"].as_str().unwrap(), a["prefixlen"]))
            .collect();
        assert_eq!(listed, vlans_by_iproute2);
        let v4_of = |addr: &str| v4.iter().find(|a| a.addr == ip(addr)).unwrap();
        assert_eq!(v4_of("10.1.2.3").broadcast, Some(ip("10.1.2.255")));
        assert_eq!(v4_of("10.1.2.3").label, "v0");
        assert!(v4_of("10.1.2.3").is_permanent());
        assert_eq!(v4_of("10.6.0.1").peer, Some(ip("10.6.0.2")));
        assert_eq!(v4_of("10.7.0.1").scope, Scope::LINK);
        let v6 = handle.addresses(index, Some(Family::V6)).unwrap();
        let ours = v6.iter().find(|a| a.addr == ip("2001:db8::1")).unwrap();
        assert!(ours.flags & IFA_F_NODAD != 0 && !ours.is_tentative());
        let all = handle.addresses(index, None).unwrap();
        assert_eq!(all.len(), v4.len() + v6.len());
        assert!(all[..v4.len()].iter().all(|a| a.addr.is_ipv4()));
        assert_eq!(handle.addresses(4711, None).unwrap(), []);
        // Addresses of other links are not included.
        run("ip addr add 10.99.0.1/24 dev v1");
        assert_eq!(
            handle.addresses(index, Some(Family::V4)).unwrap().len(),
            v4.len()
        );

        let error = handle
            .request(Request::add_address(index, &specs[0]))
            .err()
            .unwrap();
        assert!(error.is_exists(), "{error}");
        for spec in &specs[..4] {
            handle
                .request(Request::del_address(index, spec.addr, spec.prefix))
                .unwrap();
        }
        let error = handle
            .request(Request::del_address(index, ip("10.1.2.3"), 24))
            .err()
            .unwrap();
        assert!(error.is_not_found());
        assert!(
            error
                .to_string()
                .starts_with("cannot assign requested address"),
            "{error}"
        );
        handle
            .request(Request::del_address(index, ip("2001:db8::1"), 64))
            .unwrap();
        let error = handle
            .request(Request::del_address(index, ip("2001:db8::1"), 64))
            .err()
            .unwrap();
        assert!(error.is_not_found(), "{error}");
        let left: Vec<IpAddr> = handle
            .addresses(index, Some(Family::V4))
            .unwrap()
            .iter()
            .map(|a| a.addr)
            .collect();
        assert_eq!(left, [ip("10.6.0.1")]);
    });
}

#[test]
fn routes_are_added_and_deleted() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        let index = pair(&handle);
        run("ip addr add 10.0.0.1/24 dev v0");
        run("ip -6 addr add 2001:db8::1/64 dev v0 nodad");
        let add = |spec: &RouteSpec, exclusivity| {
            handle
                .request(Request::add_route(spec, exclusivity))
                .map(|_| ())
        };
        let default = RouteSpec {
            gateway: Some(ip("10.0.0.254")),
            oif: Some(index),
            ..RouteSpec::new(ip("0.0.0.0"), 0)
        };
        add(&default, Exclusivity::Exclusive).unwrap();
        let error = add(&default, Exclusivity::Exclusive).unwrap_err();
        assert!(error.is_exists());
        // An identical route is an error even without EXCL; one with another gateway is not.
        assert!(add(&default, Exclusivity::Shared).unwrap_err().is_exists());
        let second = RouteSpec {
            gateway: Some(ip("10.0.0.253")),
            ..default.clone()
        };
        add(&second, Exclusivity::Shared).unwrap();
        assert_eq!(json("ip -j route show default").len(), 2);
        assert_eq!(json("ip -j route show default")[0]["gateway"], "10.0.0.253");

        let full = RouteSpec {
            gateway: Some(ip("192.0.2.1")),
            oif: Some(index),
            table: 1000,
            priority: Some(77),
            src: Some(ip("10.0.0.1")),
            mtu: Some(1300),
            advmss: Some(1200),
            onlink: true,
            protocol: Some(RTPROT_STATIC),
            ..RouteSpec::new(ip("198.51.100.0"), 24)
        };
        add(&full, Exclusivity::Exclusive).unwrap();
        let seen = &json("ip -j -d route show table 1000")[0];
        assert_eq!(seen["dst"], "198.51.100.0/24");
        assert_eq!(seen["gateway"], "192.0.2.1");
        assert_eq!(seen["metric"], 77);
        assert_eq!(seen["prefsrc"], "10.0.0.1");
        assert_eq!(seen["protocol"], "static");
        assert_eq!(seen["flags"], value!(["onlink"]));
        assert_eq!(seen["metrics"][0]["mtu"], 1300);
        assert_eq!(seen["metrics"][0]["advmss"], 1200);
        let filter = RouteFilter {
            table: Some(1000),
            ..RouteFilter::default()
        };
        let listed = handle.routes(&filter).unwrap();
        assert_eq!(listed.len(), 1);
        let route = &listed[0];
        assert_eq!((route.dst, route.prefix), (full.dst, 24));
        assert_eq!(route.gateway, full.gateway);
        assert_eq!((route.table, route.priority), (1000, 77));
        assert_eq!((route.mtu, route.advmss), (Some(1300), Some(1200)));
        assert_eq!((route.src, route.oif), (full.src, Some(index)));
        assert_eq!(route.protocol, RTPROT_STATIC);
        handle.request(Request::del_route(&full)).unwrap();
        assert!(
            handle
                .request(Request::del_route(&full))
                .err()
                .unwrap()
                .is_not_found()
        );
        assert_eq!(handle.routes(&filter).unwrap(), []);

        let direct = RouteSpec {
            oif: Some(index),
            scope: Some(Scope::LINK),
            ..RouteSpec::new(ip("203.0.113.7"), 32)
        };
        add(&direct, Exclusivity::Exclusive).unwrap();
        assert_eq!(json("ip -j -d route show 203.0.113.7")[0]["scope"], "link");
        // Scope and protocol are not set and match any value.
        let loosely = RouteSpec::new(ip("203.0.113.7"), 32);
        handle.request(Request::del_route(&loosely)).unwrap();

        let error = add(&RouteSpec::new(ip("10.5.0.1"), 24), Exclusivity::Exclusive).unwrap_err();
        assert!(error.to_string().starts_with("invalid argument"), "{error}");
        let unreachable = RouteSpec {
            gateway: Some(ip("192.0.2.9")),
            ..RouteSpec::new(ip("198.18.0.0"), 15)
        };
        let error = add(&unreachable, Exclusivity::Exclusive).unwrap_err();
        assert!(
            error.to_string().starts_with("network is unreachable"),
            "{error}"
        );
        assert!(error.to_string().contains("gateway"), "{error}");
    });
}

#[test]
fn ipv6_routes_and_replacing() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        let index = pair(&handle);
        run("ip -6 addr add 2001:db8::1/64 dev v0 nodad");
        let mut spec = RouteSpec {
            gateway: Some(ip("2001:db8::2")),
            oif: Some(index),
            ..RouteSpec::new(ip("::"), 0)
        };
        let filter = RouteFilter {
            family: Some(Family::V6),
            table: Some(RT_TABLE_MAIN),
            dst: Some((ip("::"), 0)),
            ..RouteFilter::default()
        };
        handle
            .request(Request::add_route(&spec, Exclusivity::Exclusive))
            .unwrap();
        let routes = handle.routes(&filter).unwrap();
        assert_eq!(
            (routes[0].priority, routes[0].protocol),
            (1024, RTPROT_BOOT)
        );
        spec.gateway = Some(ip("2001:db8::3"));
        handle
            .request(Request::add_route(&spec, Exclusivity::Replace))
            .unwrap();
        let seen = json("ip -6 -j route show default");
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0]["gateway"], "2001:db8::3");
        // A second route to the destination becomes a next hop of the first.
        spec.gateway = Some(ip("2001:db8::4"));
        handle
            .request(Request::add_route(&spec, Exclusivity::Shared))
            .unwrap();
        let routes = handle.routes(&filter).unwrap();
        assert_eq!(routes.len(), 1);
        let gateways: Vec<_> = routes[0].hops.iter().map(|hop| hop.gateway).collect();
        assert_eq!(gateways, [Some(ip("2001:db8::3")), Some(ip("2001:db8::4"))]);
        assert_eq!((routes[0].gateway, routes[0].oif), (None, None));
        assert!(routes[0].uses_link(index) && routes[0].is_default());
    });
}

#[test]
fn route_filters_agree_with_ip() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        let index = pair(&handle);
        run("ip addr add 10.0.0.1/24 dev v0");
        run("ip addr add 10.0.1.1/24 dev v1");
        run("ip route add 10.2.0.0/16 via 10.0.0.2");
        run("ip route add 10.3.0.0/16 nexthop via 10.0.0.2 weight 3 nexthop via 10.0.1.2");
        run("ip route add 10.4.0.0/16 via inet6 fe80::1 dev v0");
        run("ip route add blackhole 10.5.0.0/16 table 300");
        let v4 = |filter: RouteFilter| {
            let filter = RouteFilter {
                family: Some(Family::V4),
                ..filter
            };
            handle.routes(&filter).unwrap()
        };
        let main = RouteFilter {
            table: Some(RT_TABLE_MAIN),
            ..RouteFilter::default()
        };
        assert_eq!(v4(main.clone()).len(), json("ip -j route show").len());
        let all = v4(RouteFilter::default());
        assert_eq!(
            all.len(),
            json("ip -j route show table all")
                .iter()
                .filter(|r| { !r["dst"].as_str().unwrap().contains(':') })
                .count()
        );
        let by_link = v4(RouteFilter {
            oif: Some(index),
            ..main.clone()
        });
        let mut seen: Vec<String> = by_link
            .iter()
            .map(|r| format!("{}/{}", r.dst, r.prefix))
            .collect();
        seen.sort();
        assert_eq!(
            seen,
            ["10.0.0.0/24", "10.2.0.0/16", "10.3.0.0/16", "10.4.0.0/16"]
        );
        let multipath = by_link.iter().find(|r| r.dst == ip("10.3.0.0")).unwrap();
        let hops: Vec<_> = multipath
            .hops
            .iter()
            .map(|h| (h.gateway, h.weight))
            .collect();
        assert_eq!(hops, [(Some(ip("10.0.0.2")), 3), (Some(ip("10.0.1.2")), 1)]);
        let mixed = by_link.iter().find(|r| r.dst == ip("10.4.0.0")).unwrap();
        assert_eq!(mixed.gateway, Some(ip("fe80::1")));
        let black = v4(RouteFilter {
            table: Some(300),
            ..RouteFilter::default()
        });
        assert_eq!((black.len(), black[0].kind), (1, RTN_BLACKHOLE));
        for filter in [
            RouteFilter {
                table: Some(4242),
                ..RouteFilter::default()
            },
            RouteFilter {
                oif: Some(4242),
                ..RouteFilter::default()
            },
        ] {
            assert_eq!(handle.routes(&filter).unwrap(), []);
        }
        let one = v4(RouteFilter {
            dst: Some((ip("10.2.0.0"), 16)),
            ..main
        });
        assert_eq!(one.len(), 1);
        assert!(
            all.iter()
                .any(|r| r.table == RT_TABLE_LOCAL && r.protocol == RTPROT_KERNEL)
        );
    });
}

#[test]
fn neighbours_are_added() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        let index = pair(&handle);
        let mac = [2, 0, 0, 0, 0, 7];
        for addr in ["10.0.0.7", "2001:db8::7"] {
            handle
                .request(Request::set_neighbour(index, ip(addr), &mac))
                .unwrap();
            let seen = &json(&format!("ip -j neigh show {addr} dev v0"))[0];
            assert_eq!(seen["lladdr"], "02:00:00:00:00:07");
            assert_eq!(seen["state"], value!(["PERMANENT"]));
        }
        run("ip neigh add 10.0.0.8 lladdr 02:00:00:00:00:08 dev v1 nud permanent");
        let v4 = handle.neighbours(index, Some(Family::V4)).unwrap();
        assert_eq!(
            v4,
            [Neighbour {
                index,
                addr: ip("10.0.0.7"),
                mac: mac.to_vec(),
                state: NUD_PERMANENT
            }]
        );
        let permanent =
            |list: Vec<Neighbour>| list.iter().filter(|n| n.state == NUD_PERMANENT).count();
        assert_eq!(permanent(handle.neighbours(index, None).unwrap()), 2);
        assert_eq!(handle.neighbours(4711, None).unwrap(), []);
    });
}
