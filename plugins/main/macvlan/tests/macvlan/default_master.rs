//! Without `master`, the link of the default route is the master.

use crate::common::MACVLAN;
use serde_json::json;
use testkit::{Host, Node};

/// A host with veth links `m0` to `m2`, in networks of their own, and `routes`.
fn host(routes: &[&str]) -> Host {
    let host = Host::new();
    for n in 0..3 {
        host.ip(&format!("link add m{n} up type veth peer name p{n}"));
        host.ip(&format!("link set p{n} up"));
        host.ip(&format!("addr add 10.{n}.0.5/24 dev m{n}"));
        host.ip(&format!("addr add fd00:{n}::5/64 dev m{n} nodad"));
    }
    for route in routes {
        host.ip(route);
    }
    host
}

/// Returns the name of the master that ADD chooses without `master`.
#[track_caller]
fn master(host: &Host) -> String {
    let container = host.container("c1");
    let config = MACVLAN.layer2(json!({"master": null}));
    let plugin = MACVLAN.plugin();
    plugin.status(&config).expect_ok();
    let run = plugin.add(&container, &config).expect_ok();
    plugin.check(&container, &run.with_prev()).expect_ok();
    let index = container.link_attribute("eth0", "/link_index");
    let links = host.ip_json(&["link", "show"]);
    let link = links
        .as_array()
        .and_then(|links| links.iter().find(|l| l["ifindex"] == index));
    let name = link.and_then(|link| link["ifname"].as_str());
    let name = name.unwrap_or_else(|| panic!("no link {index} among {links}"));
    container.delete();
    name.to_owned()
}

#[test]
fn the_default_route_of_either_family() {
    assert_eq!(master(&host(&["route add default via 10.1.0.1"])), "m1");
    assert_eq!(master(&host(&["-6 route add default via fd00:2::1"])), "m2");
    // IPv4 has precedence.
    let both = [
        "-6 route add default via fd00:2::1 metric 1",
        "route add default via 10.1.0.1 metric 900",
    ];
    assert_eq!(master(&host(&both)), "m1");
}

#[test]
fn the_lowest_metric() {
    let routes = [
        "route add default via 10.0.0.1 metric 300",
        "route add default via 10.2.0.1 metric 100",
        "route add default via 10.1.0.1 metric 200",
    ];
    assert_eq!(master(&host(&routes)), "m2");
}

#[test]
fn the_first_usable_of_several_next_hops() {
    let route = ["route add default nexthop via 10.2.0.1 nexthop via 10.1.0.1"];
    let host = host(&route);
    assert_eq!(master(&host), "m2");
    host.ip("link set m2 down");
    assert_eq!(master(&host), "m1");
}

#[test]
fn next_hop_objects() {
    let routes = [
        "nexthop add id 1 via 10.2.0.1 dev m2",
        "nexthop add id 2 via 10.1.0.1 dev m1",
        "nexthop add id 3 group 2/1",
        "route add default nhid 3",
    ];
    assert_eq!(master(&host(&routes)), "m1");
}

#[test]
fn other_routes_are_ignored() {
    let routes = [
        "route add blackhole default metric 1",
        "route add unreachable default metric 2",
        "route add default via 10.0.0.1 table 100",
        "-6 route add default via fd00:0::1 table 100",
        "route add 0.0.0.0/1 via 10.2.0.1",
        "route add default via 10.1.0.1 metric 3",
    ];
    assert_eq!(master(&host(&routes)), "m1");
}

#[test]
fn a_default_route_without_gateway() {
    assert_eq!(master(&host(&["route add default dev m2"])), "m2");
}

#[test]
fn without_a_default_route_add_fails() {
    let host = host(&[
        "route add default via 10.0.0.1 table 100",
        "route add prohibit default",
    ]);
    let container = host.container("c1");
    let config = MACVLAN.layer2(json!({"master": ""}));
    let words = "no default route interface found";
    let plugin = MACVLAN.plugin();
    let add = plugin.add(&container, &config);
    add.expect_error(999).mentions(words);
    plugin.status(&config).expect_error(50).mentions(words);
    assert_eq!(container.link_names(), ["lo"]);
}

#[test]
fn the_default_route_of_the_container() {
    let network = MACVLAN.network();
    let container = network.container("c1");
    network.ip("link set m0 netns c1 name up0");
    container.ip("link set up0 up");
    container.ip("addr add 10.1.0.5/24 dev up0");
    container.ip("route add default via 10.1.0.1");
    let config = MACVLAN.layer2(json!({"master": null, "linkInContainer": true}));
    let plugin = MACVLAN.plugin();
    let run = plugin.add(&container, &config).expect_ok();
    assert_eq!(container.link_attribute("eth0", "/link"), "up0");
    plugin.check(&container, &run.with_prev()).expect_ok();
}
