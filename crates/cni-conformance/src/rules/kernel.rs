//! What a result says, and what the kernel has.

use std::collections::BTreeSet;

use serde_json::Value;
use testkit::Node;

use crate::demand;
use crate::rig::{Attached, Pod, Rig};
use crate::rule::{Only, Rule, must, runtime, should};
use crate::subject::Class;

const ADD: &str = "spec 2: ADD";
const SUCCESS: &str = "spec 5: Success";
const MAIN: &[Only] = &[Only::Classes(&[Class::Main]), Only::Since("0.3.0")];
const BESIDE: &[Only] = &[Only::Classes(&[Class::Main, Class::Chained])];

pub(crate) const RULES: &[Rule] = &[
    must(
        "kernel.interface-exists",
        ADD,
        "The container has the interface after ADD",
        interface_exists,
    )
    .only(MAIN),
    runtime(
        "kernel.interface-is-up",
        "containerd, kubelet: the pod starts at once",
        "The interface is up when ADD returns",
        interface_is_up,
    )
    .only(MAIN),
    must(
        "kernel.mac",
        SUCCESS,
        "The mac in the result is that of the container's interface",
        mac,
    )
    .only(MAIN),
    must(
        "kernel.mtu",
        SUCCESS,
        "The mtu in the result, if any, is that of the container's interface",
        mtu,
    )
    .only(MAIN),
    must(
        "kernel.addresses",
        SUCCESS,
        "The container's interface has each address in the result",
        addresses,
    )
    .only(MAIN),
    runtime(
        "kernel.no-other-addresses",
        "runtimes report the result's addresses",
        "The container's interface has no global address that the result lacks",
        no_other_addresses,
    )
    .only(MAIN),
    must(
        "kernel.routes",
        SUCCESS,
        "The container has each route in the result",
        routes,
    )
    .only(MAIN),
    must(
        "kernel.host-interfaces",
        SUCCESS,
        "The host has each interface in the result that is outside of the namespace",
        host_interfaces,
    )
    .only(MAIN),
    must(
        "kernel.host-macs",
        SUCCESS,
        "The macs of the host's interfaces in the result are theirs",
        host_macs,
    )
    .only(MAIN),
    should(
        "kernel.one-interface",
        ADD,
        "ADD gives the container no other interface than lo and its own",
        one_interface,
    )
    .only(MAIN),
    runtime(
        "kernel.other-interfaces-stay",
        "Multus, Podman: several networks",
        "ADD and DEL leave other interfaces of the container alone",
        other_interfaces_stay,
    )
    .only(BESIDE),
    runtime(
        "kernel.host-links-stay",
        "other software on the same host",
        "ADD and DEL leave other links, addresses and routes of the host alone",
        host_links_stay,
    ),
    runtime(
        "kernel.host-filters-stay",
        "firewalld, Docker: rules on the same host",
        "ADD and DEL leave other nftables tables of the host alone",
        host_filters_stay,
    ),
    runtime(
        "kernel.host-files-stay",
        "other plugins: state on the same host",
        "ADD and DEL leave files of others in /var/lib/cni and /run alone",
        host_files_stay,
    ),
    should(
        "kernel.other-containers-stay",
        ADD,
        "ADD and DEL leave other containers alone",
        other_containers_stay,
    ),
];

/// The interfaces of a result inside of the namespace, or outside.
fn interfaces(result: &Value, is_inside: bool) -> impl Iterator<Item = &Value> {
    let sandbox = |interface: &Value| interface["sandbox"].as_str().unwrap_or_default().to_owned();
    super::elements(result, "interfaces")
        .filter(move |interface| sandbox(interface).is_empty() != is_inside)
}

/// An attribute of the kernel's link.
#[track_caller]
fn attribute(node: &impl Node, name: &Value, pointer: &str) -> Value {
    let name = name.as_str().unwrap_or_default();
    node.link_attribute(name, pointer)
}

fn interface_exists(rig: &Rig) {
    let attached = rig.attach("c1");
    let names = attached.container().link_names();
    let name = &rig.subject.if_name;
    assert!(
        names.contains(name),
        "the container has {names:?}, but not {name}\n{}",
        attached.run.report()
    );
}

fn interface_is_up(rig: &Rig) {
    let attached = rig.attach("c1");
    for interface in interfaces(&attached.result, true) {
        let flags = attribute(attached.container(), &interface["name"], "/flags");
        let is_up = flags
            .as_array()
            .is_some_and(|flags| flags.iter().any(|flag| flag == "UP"));
        assert!(is_up, "{interface} has the flags {flags}");
    }
}

/// Compares the macs of interfaces, as far as the result has them.
#[track_caller]
fn compare_macs(node: &impl Node, result: &Value, is_inside: bool) {
    for interface in interfaces(result, is_inside) {
        if let Some(mac) = interface["mac"].as_str().filter(|mac| !mac.is_empty()) {
            let real = attribute(node, &interface["name"], "/address");
            assert!(
                real.as_str()
                    .is_some_and(|real| real.eq_ignore_ascii_case(mac)),
                "{interface} has the address {real}"
            );
        }
    }
}

fn mac(rig: &Rig) {
    let attached = rig.attach("c1");
    compare_macs(attached.container(), &attached.result, true);
}

fn mtu(rig: &Rig) {
    let attached = rig.attach("c1");
    for interface in interfaces(&attached.result, true) {
        let real = attribute(attached.container(), &interface["name"], "/mtu");
        assert!(
            interface.get("mtu").is_none_or(|mtu| *mtu == real),
            "{interface} has the MTU {real}"
        );
    }
}

/// The addresses of the result, and those of the kernel.
#[track_caller]
fn both_addresses(rig: &Rig, attached: &Attached) -> [BTreeSet<String>; 2] {
    let listed = super::elements(&attached.result, "ips").filter_map(|ip| ip["address"].as_str());
    let real = attached.container().addresses(&rig.subject.if_name);
    [
        listed.map(String::from).collect(),
        real.into_iter().collect(),
    ]
}

fn addresses(rig: &Rig) {
    let attached = rig.attach("c1");
    let [listed, real] = both_addresses(rig, &attached);
    assert!(
        listed.is_subset(&real),
        "the result has {listed:?}, the interface {real:?}"
    );
}

fn no_other_addresses(rig: &Rig) {
    let attached = rig.attach("c1");
    let [listed, real] = both_addresses(rig, &attached);
    assert!(
        real.is_subset(&listed),
        "the interface has {real:?}, the result {listed:?}"
    );
}

fn routes(rig: &Rig) {
    let attached = rig.attach("c1");
    for route in super::elements(&attached.result, "routes") {
        let destination = route["dst"].as_str().unwrap_or_default();
        let family = if destination.contains(':') {
            "-6"
        } else {
            "-4"
        };
        let text = attached.container().command(&[
            "ip",
            family,
            "route",
            "show",
            "table",
            "all",
            "root",
            destination,
        ]);
        let gateway = route["gw"].as_str();
        let has = text
            .lines()
            .any(|line| gateway.is_none_or(|gateway| line.contains(&format!("via {gateway} "))));
        assert!(has, "no route {route}: the container has {text:?}");
    }
}

fn host_interfaces(rig: &Rig) {
    let attached = rig.attach("c1");
    let names = rig.host.link_names();
    for interface in interfaces(&attached.result, false) {
        let name = interface["name"].as_str().unwrap_or_default();
        assert!(
            names.iter().any(|link| link == name),
            "the host has {names:?}, but not {interface}"
        );
    }
}

fn host_macs(rig: &Rig) {
    let attached = rig.attach("c1");
    compare_macs(&rig.host, &attached.result, false);
}

fn one_interface(rig: &Rig) {
    let attached = rig.attach("c1");
    let names = attached.container().link_names();
    let own = ["lo", &rig.subject.if_name];
    assert!(
        names.iter().all(|name| own.contains(&name.as_str())),
        "the container has {names:?}"
    );
}

fn other_interfaces_stay(rig: &Rig) {
    let pod = rig.pod("c1");
    rig.host
        .ip("link add foreign0 type veth peer name other0 netns c1");
    super::set_up(&rig.host, &["foreign0"]);
    super::set_up(&pod.container, &["other0"]);
    super::wait_until_up(&pod.container, "other0");
    pod.container.ip_batch(&[
        "addr add 192.0.2.9/24 dev other0",
        "route add 198.51.100.0/24 via 192.0.2.1",
    ]);
    stays(rig, &pod, || {
        pod.container.ip("-d addr show dev other0") + &pod.container.ip("route show dev other0")
    });
}

/// ADD and DEL of a container, and after each `look` sees the same.
#[track_caller]
fn stays(rig: &Rig, pod: &Pod, look: impl Fn() -> String) {
    let before = look();
    let added = super::call(rig, "ADD", pod).run();
    demand::result(&added);
    let after = look();
    assert!(before == after, "ADD changed\n{before}\nto\n{after}");
    demand::success(rig.del(&pod.container, &added.with_prev()));
    let after = look();
    assert!(before == after, "DEL changed\n{before}\nto\n{after}");
}

fn host_links_stay(rig: &Rig) {
    rig.host
        .ip("link add foreign0 type veth peer name foreign1");
    super::set_up(&rig.host, &["foreign0", "foreign1"]);
    for name in ["foreign0", "foreign1"] {
        super::wait_until_up(&rig.host, name);
    }
    rig.host.ip_batch(&[
        "addr add 192.0.2.1/24 dev foreign0",
        "route add 198.51.100.0/24 via 192.0.2.7",
    ]);
    let look = || {
        let link = |name: &str| rig.host.ip(&format!("-d addr show dev {name}"));
        link("foreign0") + &link("foreign1") + &rig.host.ip("route show dev foreign0")
    };
    stays(rig, &rig.pod("c1"), look);
}

fn host_filters_stay(rig: &Rig) {
    let rules = "table inet foreign { set s { type ipv4_addr; elements = { 192.0.2.1 } }\n\
                 chain c { type filter hook forward priority 5; policy accept; ip saddr @s counter drop; } }\n";
    let file = rig.host.write("foreign.nft", rules);
    let loaded = rig
        .host
        .try_command(&["nft", "-f", &file.to_string_lossy()]);
    if let Err(why) = loaded {
        crate::worker::not_applicable(format!("nftables cannot be used here: {why}"));
    }
    stays(rig, &rig.pod("c1"), || {
        rig.host
            .command(&["nft", "--stateless", "list", "table", "inet", "foreign"])
    });
}

fn host_files_stay(rig: &Rig) {
    let script = "mkdir -p /var/lib/cni/networks/foreign /var/lib/cni/results /run/foreign && \
                  echo c9 >/var/lib/cni/networks/foreign/10.7.0.2 && echo x >/var/lib/cni/results/foreign && \
                  echo x >/run/foreign/x";
    rig.host.command(&["sh", "-ec", script]);
    let script = "cd / && tail -n +1 var/lib/cni/networks/foreign/* var/lib/cni/results/* run/foreign/* && \
                  stat -c '%n %a %u %Y' var/lib/cni/networks/foreign/* var/lib/cni/results/* run/foreign/*";
    stays(rig, &rig.pod("c1"), || {
        rig.host.command(&["sh", "-ec", script])
    });
}

fn other_containers_stay(rig: &Rig) {
    let bystander = rig.host.container("bystander");
    bystander.ip("link set lo up");
    stays(rig, &rig.pod("c1"), || {
        bystander.ip("-d addr show") + &bystander.ip("route show table all")
    });
}
