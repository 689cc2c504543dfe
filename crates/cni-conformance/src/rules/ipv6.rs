//! IPv6: addresses that can be used when ADD returns.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};

use serde_json::{Value, json};
use testkit::{Node, merge};

use super::support::{
    applies_if, attach_with, cidr, del, dual_stack, host_end, ip, ip_in, ipam_type, ips, is_intact,
    reaches,
};
use crate::rig::{Attached, Rig};
use crate::rule::{Only, Rule, must, runtime, should};
use crate::subject::Class;

const MAIN: &[Only] = &[
    Only::Since("0.3.0"),
    Only::Classes(&[Class::Main]),
    Only::Except(&["loopback"]),
];
const ROUTED: &[Only] = &[
    Only::Since("0.3.0"),
    Only::Plugins(&["bridge", "ptp", "flannel"]),
];
const PAIRS: &[Only] = &[Only::Since("0.3.0"), Only::Plugins(&["bridge", "ptp"])];
const NODE: &str = "kubelet, reference plugins";

pub(crate) const RULES: &[Rule] = &[
    runtime(
        "ipv6.not-tentative",
        NODE,
        "IPv6 addresses are not tentative when ADD returns",
        not_tentative,
    )
    .only(MAIN),
    runtime(
        "ipv6.bind",
        NODE,
        "A server can bind to the IPv6 address when ADD returns",
        bind,
    )
    .only(MAIN),
    must(
        "ipv6.result",
        "spec 5: Success",
        "The result has an address of each family, in the order of the IPAM plugin",
        in_result,
    )
    .only(MAIN),
    runtime(
        "ipv6.gateway",
        NODE,
        "The IPv6 gateway answers when ADD returns",
        gateway,
    )
    .only(MAIN),
    must(
        "ipv6.default-route",
        "spec 5: Success",
        "The IPv6 default route is in the container",
        default_route,
    )
    .only(MAIN),
    runtime(
        "ipv6.link-local",
        "RFC 4291, 2.8",
        "The interface has a link-local address",
        link_local,
    )
    .only(MAIN),
    runtime(
        "ipv6.switched-off",
        NODE,
        "ADD enables IPv6 on the interface of a container that has it switched off",
        switched_off,
    )
    .only(MAIN),
    should(
        "ipv6.survives-down",
        "reference plugins",
        "IPv6 addresses stay when the interface is set down and up again",
        survives_down,
    )
    .only(MAIN),
    runtime(
        "ipv6.without-ipv4",
        NODE,
        "A network with IPv6 addresses only works",
        without_ipv4,
    )
    .only(MAIN),
    runtime(
        "ipv6.forwarding",
        "reference plugins",
        "The host forwards IPv6 packets when it is the gateway",
        forwarding,
    )
    .only(ROUTED),
    runtime(
        "ipv6.router-advertisements",
        "CVE-2020-10749",
        "The host ignores router advertisements from containers",
        router_advertisements,
    )
    .only(PAIRS),
    runtime(
        "ipv6.neighbour-container",
        NODE,
        "Containers reach each other by IPv6",
        neighbour,
    )
    .only(&[
        Only::Since("0.3.0"),
        Only::Classes(&[Class::Main]),
        Only::Two,
    ]),
];

/// The network beyond the host has an IPv6 address, too.
pub(super) fn prepare(rig: &Rig) {
    let names = rig.host.link_names();
    let beyond = ["down5", "down0", "far0"];
    if let Some(name) = beyond
        .iter()
        .find(|name| names.iter().any(|own| own == *name))
    {
        rig.host
            .ip(&format!("addr add fd00:7::1/64 dev {name} nodad"));
        rig.host
            .ip(&format!("addr add fe80::1/64 dev {name} nodad"));
    }
}

/// An attachment with addresses of both families.
fn attached(rig: &Rig, id: &str) -> Attached {
    let attached = attach_with(rig, id, &dual_stack(rig));
    ip(&attached, ':');
    attached
}

fn not_tentative(rig: &Rig) {
    prepare(rig);
    let attached = attached(rig, "c1");
    let name = &rig.subject.if_name;
    for state in ["tentative", "dadfailed"] {
        let show = [
            "ip", "-6", "addr", "show", "dev", name, state, "scope", "global",
        ];
        let addresses = attached.container().command(&show);
        assert!(
            addresses.trim().is_empty(),
            "{state} when ADD has returned\n{addresses}"
        );
    }
}

fn bind(rig: &Rig) {
    prepare(rig);
    let attached = attached(rig, "c1");
    let address: Ipv6Addr = ip(&attached, ':').parse().expect("an address");
    let socket = attached
        .container()
        .enter(|| UdpSocket::bind(SocketAddr::new(address.into(), 0)));
    assert!(socket.is_ok(), "{address}: {socket:?}");
}

fn in_result(rig: &Rig) {
    let attached = attached(rig, "c1");
    let all = ips(&attached.result);
    let is_v6: Vec<bool> = all.iter().map(|ip| ip.contains(':')).collect();
    assert_eq!(is_v6, [false, true], "{all:?}");
}

/// The gateway of the IPv6 address in the result.
fn gateway_of(attached: &Attached) -> String {
    let mut all = attached.result["ips"].as_array().into_iter().flatten();
    let of_v6 = all.find_map(|ip| {
        ip["gateway"]
            .as_str()
            .filter(|gateway| gateway.contains(':'))
    });
    of_v6.map_or_else(
        || crate::worker::not_applicable("the result has no IPv6 gateway"),
        str::to_owned,
    )
}

fn gateway(rig: &Rig) {
    applies_if(
        !rig.subject.reaches.is_empty(),
        "its containers reach nothing",
    );
    prepare(rig);
    let attached = attached(rig, "c1");
    reaches(attached.container(), &gateway_of(&attached));
}

fn default_route(rig: &Rig) {
    let wanted = dual_stack(rig);
    applies_if(
        wanted["ipam"].is_object(),
        "the configuration has no ipam of host-local",
    );
    let attached = attached(rig, "c1");
    let routes = attached.container().routes("-6");
    assert!(
        routes.iter().any(|route| route.starts_with("default ")),
        "{routes:?}"
    );
}

fn link_local(rig: &Rig) {
    applies_if(
        !rig.subject.reaches.is_empty(),
        "its containers reach nothing",
    );
    let attached = attached(rig, "c1");
    let show = [
        "-6",
        "addr",
        "show",
        "dev",
        &rig.subject.if_name,
        "scope",
        "link",
    ];
    let list = attached.container().ip_json(&show);
    let local = list[0]["addr_info"]
        .as_array()
        .is_some_and(|list| !list.is_empty());
    assert!(local, "{list}");
}

fn switched_off(rig: &Rig) {
    let pod = rig.pod("c1");
    for scope in ["all", "default"] {
        pod.container
            .set_sysctl(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "1");
    }
    let config = merge(pod.config(rig), &dual_stack(rig));
    let attached = rig.attach_pod(pod, config);
    let address = cidr(&attached, ':');
    let own = attached.container().addresses(&rig.subject.if_name);
    assert!(own.contains(&address), "{address} is not in {own:?}");
}

fn survives_down(rig: &Rig) {
    let attached = attached(rig, "c1");
    let address = cidr(&attached, ':');
    ip_in(rig, &attached, "link set IF down");
    ip_in(rig, &attached, "link set IF up");
    let own = attached.container().addresses(&rig.subject.if_name);
    assert!(own.contains(&address), "{address} is not in {own:?}");
}

fn without_ipv4(rig: &Rig) {
    applies_if(
        ipam_type(rig) == "host-local",
        "the IPAM plugin is not host-local",
    );
    prepare(rig);
    let keys: Value =
        json!({"ipam": {"type": "host-local", "ranges": [[{"subnet": "fd00:7::/64"}]]}});
    let attached = attach_with(rig, "c1", &keys);
    assert_eq!(ips(&attached.result).len(), 1, "{}", attached.result);
    let address = cidr(&attached, ':');
    let own = attached.container().addresses(&rig.subject.if_name);
    assert_eq!(own, [address]);
    is_intact(rig, &attached);
    del(rig, &attached);
}

fn forwarding(rig: &Rig) {
    rig.host.set_sysctl("net/ipv6/conf/all/forwarding", "0");
    let _attached = attached(rig, "c1");
    assert_eq!(rig.host.sysctl("net/ipv6/conf/all/forwarding"), "1");
}

fn router_advertisements(rig: &Rig) {
    let attached = attached(rig, "c1");
    let end = host_end(rig, attached.container());
    assert_eq!(
        rig.host.sysctl(&format!("net/ipv6/conf/{end}/accept_ra")),
        "0",
        "accept_ra of {end}"
    );
}

fn neighbour(rig: &Rig) {
    applies_if(
        rig.subject.connects,
        "its containers do not reach each other",
    );
    prepare(rig);
    let (one, other) = (attached(rig, "c1"), attached(rig, "c2"));
    reaches(one.container(), &ip(&other, ':'));
    reaches(other.container(), &ip(&one, ':'));
}
