//! CHECK of interface and IPAM plugins: it notices drift, and nothing else.

use std::path::Path;

use serde_json::json;
use testkit::{Node, Plugin};

use super::support::{
    applies_if, attach_with, call, cidr, dual_stack, fails_since, host_end, ip, ip_in, ipam_type,
    passes,
};
use crate::demand;
use crate::rig::{Attached, Rig};
use crate::rule::{Only, Rule, must, should};
use crate::subject::Class;

const SPEC: &str = "spec 2: CHECK";
const ALL: &[Only] = &[Only::Since("0.4.0")];
const MAIN: &[Only] = &[Only::Since("0.4.0"), Only::Classes(&[Class::Main])];
const MTU: &[Only] = &[
    Only::Since("0.4.0"),
    Only::Plugins(&["bridge", "ptp", "macvlan", "ipvlan", "vlan"]),
];

pub(crate) const RULES: &[Rule] = &[
    must(
        "check.healthy",
        SPEC,
        "CHECK of an attachment that is as ADD left it succeeds",
        healthy,
    )
    .only(ALL),
    must(
        "check.repeated",
        SPEC,
        "CHECK succeeds any number of times",
        repeated,
    )
    .only(ALL),
    should(
        "check.changes-nothing",
        SPEC,
        "CHECK changes neither host nor container",
        changes_nothing,
    )
    .only(ALL),
    must(
        "check.interface-deleted",
        SPEC,
        "CHECK fails if the interface was deleted",
        interface_deleted,
    )
    .only(MAIN),
    must(
        "check.interface-renamed",
        SPEC,
        "CHECK fails if the interface has another name",
        interface_renamed,
    )
    .only(MAIN),
    should(
        "check.interface-down",
        SPEC,
        "CHECK fails if the interface is down",
        interface_down,
    )
    .only(MAIN),
    should(
        "check.mac-changed",
        SPEC,
        "CHECK fails if the hardware address is not that of prevResult",
        mac_changed,
    )
    .only(MAIN),
    should(
        "check.mtu-changed",
        SPEC,
        "CHECK fails if the MTU is not the configured one",
        mtu_changed,
    )
    .only(MTU),
    must(
        "check.ipv4-address-removed",
        SPEC,
        "CHECK fails if an IPv4 address of prevResult is missing",
        address4,
    )
    .only(MAIN),
    must(
        "check.ipv6-address-removed",
        SPEC,
        "CHECK fails if an IPv6 address of prevResult is missing",
        address6,
    )
    .only(MAIN),
    must(
        "check.prefix-changed",
        SPEC,
        "CHECK fails if an address has another prefix length",
        prefix_changed,
    )
    .only(MAIN),
    must(
        "check.route-removed",
        SPEC,
        "CHECK fails if a route of prevResult is missing",
        route_removed,
    )
    .only(MAIN),
    must(
        "check.route-gateway-changed",
        SPEC,
        "CHECK fails if a route of prevResult has another gateway",
        route_changed,
    )
    .only(MAIN),
    must(
        "check.extra-address",
        SPEC,
        "CHECK accepts addresses that others added",
        extra_address,
    )
    .only(MAIN),
    must(
        "check.extra-route",
        SPEC,
        "CHECK accepts routes that others added",
        extra_route,
    )
    .only(MAIN),
    must(
        "check.extra-interface",
        SPEC,
        "CHECK accepts interfaces that others added",
        extra_interface,
    )
    .only(MAIN),
    must(
        "check.other-sandbox",
        SPEC,
        "CHECK fails if prevResult has the interface in another namespace",
        other_sandbox,
    )
    .only(MAIN),
    must(
        "check.other-interface",
        SPEC,
        "CHECK fails for an interface of the container that was never added",
        other_interface,
    )
    .only(MAIN),
    should(
        "check.other-container",
        "spec 2: CHECK",
        "CHECK fails for a container that was never added",
        other_container,
    )
    .only(&[Only::Since("0.4.0"), Only::Plugins(&["host-local"])]),
    should(
        "check.reservation-released",
        "spec 2: CHECK",
        "CHECK fails if the IPAM plugin has released the addresses",
        reservation_released,
    )
    .only(MAIN),
    should(
        "check.host-link-down",
        "spec 2: CHECK",
        "CHECK fails if the host's end of the veth pair is down",
        host_link_down,
    )
    .only(&[Only::Since("0.4.0"), Only::Plugins(&["bridge", "ptp"])]),
    should(
        "check.host-link-detached",
        "spec 2: CHECK",
        "CHECK fails if the veth pair is no port of the bridge",
        host_link_detached,
    )
    .only(&[Only::Since("0.4.0"), Only::Plugins(&["bridge"])]),
];

fn healthy(rig: &Rig) {
    passes(rig, &rig.attach("c1"));
}

fn repeated(rig: &Rig) {
    let attached = rig.attach("c1");
    for _ in 0..3 {
        passes(rig, &attached);
    }
}

fn changes_nothing(rig: &Rig) {
    let attached = rig.attach("c1");
    let sysctls = attached.container().sysctls();
    rig.unchanged(|| passes(rig, &attached));
    assert_eq!(
        sysctls,
        attached.container().sysctls(),
        "sysctls of the container"
    );
}

/// The kernel has made lo and its addresses.
fn not_loopback(rig: &Rig) {
    applies_if(rig.subject.if_name != "lo", "lo exists in every namespace");
}

/// An attachment whose interface was created by ADD.
fn created(rig: &Rig) -> Attached {
    not_loopback(rig);
    rig.attach("c1")
}

fn interface_deleted(rig: &Rig) {
    let attached = created(rig);
    ip_in(rig, &attached, "link del IF");
    fails_since(rig, &attached, "the interface was deleted");
}

fn interface_renamed(rig: &Rig) {
    let attached = created(rig);
    ip_in(rig, &attached, "link set IF down");
    ip_in(rig, &attached, "link set IF name other0 up");
    fails_since(rig, &attached, "the interface was renamed");
}

fn interface_down(rig: &Rig) {
    let attached = rig.attach("c1");
    ip_in(rig, &attached, "link set IF down");
    fails_since(rig, &attached, "the interface is down");
}

fn mac_changed(rig: &Rig) {
    let attached = created(rig);
    let mut links = attached.result["interfaces"]
        .as_array()
        .into_iter()
        .flatten();
    let recorded = links.any(|link| link["sandbox"].is_string() && link["mac"].is_string());
    applies_if(recorded, "the result has no hardware address");
    let change = [
        "ip",
        "link",
        "set",
        &rig.subject.if_name,
        "address",
        "02:00:00:00:00:77",
    ];
    let changed = attached.container().try_command(&change);
    applies_if(
        changed.is_ok(),
        "the kernel does not change the address of such a link",
    );
    fails_since(rig, &attached, "the hardware address has changed");
}

fn mtu_changed(rig: &Rig) {
    let attached = attach_with(rig, "c1", &json!({"mtu": 1400}));
    ip_in(rig, &attached, "link set IF mtu 1300");
    fails_since(rig, &attached, "the MTU is 1300, not 1400");
}

fn address4(rig: &Rig) {
    address_removed(rig, '.');
}

fn address6(rig: &Rig) {
    address_removed(rig, ':');
}

fn address_removed(rig: &Rig, mark: char) {
    not_loopback(rig);
    let attached = attach_with(rig, "c1", &dual_stack(rig));
    let address = cidr(&attached, mark);
    ip_in(rig, &attached, &format!("addr del {address} dev IF"));
    fails_since(rig, &attached, "an address is missing");
}

fn prefix_changed(rig: &Rig) {
    let attached = created(rig);
    let address = cidr(&attached, '.');
    let ip = ip(&attached, '.');
    ip_in(rig, &attached, &format!("addr del {address} dev IF"));
    ip_in(rig, &attached, &format!("addr add {ip}/30 dev IF"));
    fails_since(rig, &attached, "the address has the prefix length 30");
}

/// An attachment with a route to 198.51.100.0/24 through the gateway of the IPv4 address.
fn with_route(rig: &Rig) -> Attached {
    ipam_type(rig);
    let mut ipam = rig.config()["ipam"].clone();
    ipam["routes"] = json!([{"dst": "198.51.100.0/24", "gw": "10.7.0.1"}]);
    attach_with(rig, "c1", &json!({"ipam": ipam}))
}

fn route_removed(rig: &Rig) {
    let attached = with_route(rig);
    passes(rig, &attached);
    ip_in(rig, &attached, "route del 198.51.100.0/24");
    fails_since(rig, &attached, "a route is missing");
}

fn route_changed(rig: &Rig) {
    let attached = with_route(rig);
    let own = ip(&attached, '.');
    // Any address of the subnet but the gateway.
    let other = own
        .rsplit_once('.')
        .map_or(String::new(), |(net, _)| format!("{net}.250"));
    ip_in(
        rig,
        &attached,
        &format!("route replace 198.51.100.0/24 via {other} dev IF onlink"),
    );
    fails_since(rig, &attached, "a route has another gateway");
}

fn extra_address(rig: &Rig) {
    let attached = rig.attach("c1");
    ip_in(rig, &attached, "addr add 203.0.113.7/24 dev IF");
    ip_in(rig, &attached, "addr add 2001:db8:77::7/64 dev IF nodad");
    passes(rig, &attached);
}

fn extra_route(rig: &Rig) {
    let attached = rig.attach("c1");
    ip_in(rig, &attached, "route add 203.0.113.0/24 dev IF");
    ip_in(rig, &attached, "route add 203.0.113.0/25 dev IF table 77");
    passes(rig, &attached);
}

fn extra_interface(rig: &Rig) {
    let attached = rig.attach("c1");
    ip_in(rig, &attached, "link add other0 type bridge");
    rig.host.ip("link add other1 type bridge");
    passes(rig, &attached);
}

fn other_sandbox(rig: &Rig) {
    let attached = created(rig);
    let mut prev = attached.result.clone();
    let links = prev["interfaces"].as_array_mut().into_iter().flatten();
    for link in links.filter(|link| link["sandbox"].is_string()) {
        link["sandbox"] = json!("/run/netns/other");
    }
    let mut config = attached.with_prev();
    config["prevResult"] = prev;
    demand::error(rig.check(attached.container(), &config));
}

fn other_interface(rig: &Rig) {
    let attached = created(rig);
    let call = call(rig, "CHECK", &attached).ifname("other0");
    demand::error(call.run());
}

fn other_container(rig: &Rig) {
    let attached = rig.attach("c1");
    demand::error(call(rig, "CHECK", &attached).id("c2").run());
    passes(rig, &attached);
}

fn reservation_released(rig: &Rig) {
    let attached = rig.attach("c1");
    let dir = rig.plugin.program().parent().unwrap_or(Path::new("/"));
    let del = Plugin::in_dir(dir, ipam_type(rig)).command("DEL");
    let del = del
        .container(attached.container())
        .ifname(&rig.subject.if_name);
    del.config(&attached.with_prev()).run().expect_ok();
    fails_since(rig, &attached, "the addresses are released");
}

fn host_link_down(rig: &Rig) {
    let attached = rig.attach("c1");
    rig.host.ip(&format!(
        "link set {} down",
        host_end(rig, attached.container())
    ));
    fails_since(rig, &attached, "the host's end is down");
}

fn host_link_detached(rig: &Rig) {
    let attached = rig.attach("c1");
    rig.host.ip(&format!(
        "link set {} nomaster",
        host_end(rig, attached.container())
    ));
    fails_since(rig, &attached, "the host's end is not on the bridge");
}
