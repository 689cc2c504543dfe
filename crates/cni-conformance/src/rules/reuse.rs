//! Addresses that another container gets at once.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Node, merge};

use super::ports::router;
use super::support::{applies_if, attach_with, cidr, del, ip, ipam_type, reaches, reaches_within};
use super::traffic::Server;
use crate::rig::{Attached, Rig};
use crate::rule::{Only, Rule, runtime};
use crate::subject::Class;

/// Without an announcement, the kernel keeps the old hardware address for 8 to 16 seconds.
const AT_ONCE: Duration = Duration::from_secs(5);
const NODE: &str = "kubelet, Podman";
const MAIN: &[Only] = &[
    Only::Since("0.3.0"),
    Only::Classes(&[Class::Main]),
    Only::Except(&["loopback", "ipvlan"]),
];
const PORTMAP: &[Only] = &[Only::Since("0.3.0"), Only::Plugins(&["portmap"])];
const FIREWALL: &[Only] = &[Only::Since("0.3.0"), Only::Plugins(&["firewall"])];

pub(crate) const RULES: &[Rule] = &[
    runtime(
        "reuse.from-network",
        NODE,
        "A neighbour reaches the next container with an address at once",
        from_network,
    )
    .only(MAIN),
    runtime(
        "reuse.from-network-ipv6",
        NODE,
        "A neighbour reaches the next container with an IPv6 address at once",
        from_network6,
    )
    .only(MAIN),
    runtime(
        "reuse.from-container",
        NODE,
        "Another container reaches the next container with an address at once",
        from_container,
    )
    .only(&[
        Only::Since("0.3.0"),
        Only::Plugins(&["bridge", "macvlan", "ptp"]),
    ]),
    runtime(
        "reuse.same-container",
        NODE,
        "A container can be attached again with the address that it had",
        same_container,
    )
    .only(MAIN),
    runtime(
        "reuse.port-mapping",
        NODE,
        "A port of the host leads to the next container that has it",
        port_mapping,
    )
    .only(PORTMAP),
    runtime(
        "reuse.late-del-of-mapping",
        NODE,
        "A late DEL of the old container closes no port of the new one with its address",
        late_del_of_mapping,
    )
    .only(PORTMAP),
    runtime(
        "reuse.late-del-of-rule",
        NODE,
        "A late DEL of the old container keeps the rules of the new one with its address",
        late_del_of_rule,
    )
    .only(FIREWALL),
];

/// The keys of ranges with one address each.
fn single(rig: &Rig, number: u8) -> Value {
    applies_if(
        ipam_type(rig) == "host-local",
        "the IPAM plugin is not host-local",
    );
    let range =
        |subnet: &str, ip: &str| json!([{"subnet": subnet, "rangeStart": ip, "rangeEnd": ip}]);
    let (v4, v6) = (format!("10.7.0.{number}"), format!("fd00:7::{number:x}"));
    json!({"ipam": {
        "type": "host-local", "ranges": [range("10.7.0.0/16", &v4), range("fd00:7::/64", &v6)],
    }})
}

/// Attaches a container, has `neighbour` learn its hardware address, deletes it, and attaches another one with the
/// address. The neighbour must reach it.
fn succeed(rig: &Rig, neighbour: &impl Node, mark: char) {
    let keys = single(rig, 9);
    let first = attach_with(rig, "first", &keys);
    let address = ip(&first, mark);
    reaches(neighbour, &address);
    // Within a second (`locktime`), the kernel does not replace a hardware address that it has learned.
    thread::sleep(Duration::from_millis(1100));
    del(rig, &first);
    let second = attach_with(rig, "second", &keys);
    assert_eq!(ip(&second, mark), address);
    reaches_within(neighbour, &address, AT_ONCE);
}

fn from_network(rig: &Rig) {
    applies_if(
        !rig.subject.reaches.is_empty(),
        "its containers reach nothing",
    );
    succeed(rig, &rig.host, '.');
}

fn from_network6(rig: &Rig) {
    applies_if(
        !rig.subject.reaches.is_empty(),
        "its containers reach nothing",
    );
    super::ipv6::prepare(rig);
    succeed(rig, &rig.host, ':');
}

fn from_container(rig: &Rig) {
    let neighbour = attach_with(rig, "neighbour", &single(rig, 8));
    succeed(rig, neighbour.container(), '.');
}

fn same_container(rig: &Rig) {
    let keys = single(rig, 9);
    let first = attach_with(rig, "c1", &keys);
    let (before, config) = (cidr(&first, '.'), first.config.clone());
    del(rig, &first);
    let again = rig.attach_pod(first.pod, config);
    assert_eq!(cidr(&again, '.'), before);
    let on_interface = again.container().addresses(&rig.subject.if_name);
    assert!(on_interface.contains(&before), "{on_interface:?}");
}

/// Attaches `id` with a mapping of port 8081, and gives it a server.
fn mapped(rig: &Rig, id: &str) -> (Attached, Server) {
    let keys = json!({"runtimeConfig": {"portMappings": [{"hostPort": 8081, "containerPort": 81, "protocol": "tcp"}]}});
    let attached = attach_with(rig, id, &keys);
    let server = Server::new(attached.container(), 81);
    (attached, server)
}

fn port_mapping(rig: &Rig) {
    let outside = router(rig);
    let (first, server) = mapped(rig, "first");
    rig.host.ip("addr replace fe80::2/64 dev conf nodad");
    server.sees(&outside, "192.0.2.1:8081");
    del(rig, &first);
    let (_second, server) = mapped(rig, "second");
    server.sees(&outside, "192.0.2.1:8081");
}

/// Attaches two containers whose interfaces have the same addresses, as if the first had lost them, and deletes the
/// first one.
fn late_del(rig: &Rig, extra: &Value) -> Attached {
    let first = attach_with(rig, "first", extra);
    let prev = first.config["prevResult"].clone();
    let name = &rig.subject.if_name;
    let second = rig.pod("second");
    for command in ["addr flush dev", "link set down dev"] {
        first.container().ip(&format!("{command} {name}"));
    }
    second.container.ip(&format!("addr flush dev {name}"));
    for ip in prev["ips"].as_array().into_iter().flatten() {
        let address = ip["address"].as_str().unwrap_or_default();
        let flag = if address.contains(':') { " nodad" } else { "" };
        second
            .container
            .ip(&format!("addr add {address} dev {name}{flag}"));
    }
    second.container.ip("route replace default via 10.8.0.1");
    let mut config = merge(second.config(rig), extra);
    config["prevResult"]["ips"] = prev["ips"].clone();
    let attached = rig.attach_pod(second, config);
    del(rig, &first);
    attached
}

fn late_del_of_mapping(rig: &Rig) {
    let outside = router(rig);
    let keys = json!({"runtimeConfig": {"portMappings": [{"hostPort": 8081, "containerPort": 81, "protocol": "tcp"}]}});
    let attached = late_del(rig, &keys);
    let server = Server::new(attached.container(), 81);
    server.sees(&outside, "192.0.2.1:8081");
}

fn late_del_of_rule(rig: &Rig) {
    let outside = router(rig);
    let attached = late_del(rig, &json!({}));
    for program in ["iptables", "ip6tables"] {
        rig.host.command(&[program, "-P", "FORWARD", "DROP"]);
    }
    let beyond = Server::new(&outside, 81);
    beyond.sees(attached.container(), "192.0.2.9:81");
}
