//! Packets of main plugins: what ADD has connected is connected when it returns.

use serde_json::json;
use testkit::{Container, Listener, Node, outside};

use super::support::{applies_if, attach_with, del, ip, reaches};
use crate::rig::{Attached, Rig};
use crate::rule::{Only, Rule, runtime};
use crate::subject::Class;

const NODE: &str = "kubelet, Podman: a container with a network";
const MAIN: &[Only] = &[Only::Since("0.3.0"), Only::Classes(&[Class::Main])];
const TWO: &[Only] = &[
    Only::Since("0.3.0"),
    Only::Classes(&[Class::Main]),
    Only::Two,
];
const LOOPBACK: &[Only] = &[Only::Plugins(&["loopback"])];
const MASQ: &[Only] = &[Only::Since("0.3.0"), Only::Plugins(&["bridge", "ptp"])];
const MTU: &[Only] = &[
    Only::Since("0.3.0"),
    Only::Plugins(&["bridge", "ptp", "macvlan", "ipvlan", "vlan"]),
];

pub(crate) const RULES: &[Rule] = &[
    runtime(
        "connectivity.gateway",
        NODE,
        "The container reaches its network when ADD returns",
        gateway,
    )
    .only(MAIN),
    runtime(
        "connectivity.from-network",
        NODE,
        "The container is reached from its network when ADD returns",
        from_network,
    )
    .only(MAIN),
    runtime(
        "connectivity.containers",
        NODE,
        "Containers of a network reach each other",
        containers,
    )
    .only(TWO),
    runtime(
        "connectivity.full-packets",
        NODE,
        "Packets as large as the MTU pass",
        full_packets,
    )
    .only(MAIN),
    runtime(
        "connectivity.fragments",
        NODE,
        "Packets larger than the MTU pass in fragments",
        fragments,
    )
    .only(MAIN),
    runtime(
        "connectivity.mtu",
        "reference plugins",
        "The interface has the configured MTU",
        mtu,
    )
    .only(MTU),
    runtime(
        "connectivity.second-add",
        NODE,
        "Another ADD does not disconnect a container",
        second_add,
    )
    .only(TWO),
    runtime(
        "connectivity.other-del",
        NODE,
        "DEL of another container does not disconnect a container",
        other_del,
    )
    .only(TWO),
    runtime(
        "connectivity.loopback",
        "containerd, CRI-O: loopback",
        "127.0.0.1 answers in the container when ADD returns",
        loopback,
    )
    .only(LOOPBACK),
    runtime(
        "connectivity.loopback-ipv6",
        "containerd, CRI-O: loopback",
        "::1 answers in the container when ADD returns",
        loopback6,
    )
    .only(LOOPBACK),
    runtime(
        "connectivity.masquerade",
        "Podman, kubelet",
        "With ipMasq, the network beyond sees the host's address",
        masquerade,
    )
    .only(MASQ),
    runtime(
        "connectivity.masquerade-ipv6",
        "Podman, kubelet",
        "With ipMasq, the network beyond sees the host's IPv6 address",
        masquerade6,
    )
    .only(MASQ),
    runtime(
        "connectivity.masquerade-inside",
        "reference plugins",
        "With ipMasq, a container of the network sees the address of the sender",
        masquerade_inside,
    )
    .only(&[Only::Since("0.3.0"), Only::Plugins(&["bridge"])]),
    runtime(
        "connectivity.without-masquerade",
        "reference plugins",
        "Without ipMasq, the network beyond sees the container's address",
        without_masquerade,
    )
    .only(MASQ),
    runtime(
        "connectivity.masquerade-ends",
        "Podman, kubelet",
        "After DEL with ipMasq, no rule has the container's address",
        masquerade_ends,
    )
    .only(MASQ),
    runtime(
        "connectivity.forwarding",
        "reference plugins",
        "The host forwards IPv4 packets when it is the gateway",
        forwarding,
    )
    .only(&[
        Only::Since("0.3.0"),
        Only::Plugins(&["bridge", "ptp", "flannel"]),
    ]),
    runtime(
        "connectivity.mac-of-runtime",
        "Podman, Multus",
        "The interface has the hardware address of runtimeConfig.mac",
        mac_of_runtime,
    )
    .only(&[
        Only::Since("0.3.0"),
        Only::Plugins(&["bridge", "macvlan", "tap"]),
    ]),
    runtime(
        "connectivity.mac-of-arguments",
        "Multus",
        "The interface has the hardware address of CNI_ARGS",
        mac_of_arguments,
    )
    .only(&[
        Only::Since("0.3.0"),
        Only::Plugins(&["bridge", "macvlan", "tap"]),
    ]),
    runtime(
        "connectivity.device-returns",
        "reference host-device",
        "After DEL the device is on the host again, with its name",
        device_returns,
    )
    .only(&[Only::Since("0.3.0"), Only::Plugins(&["host-device"])]),
];

/// The addresses of a family that containers reach.
fn reachable(rig: &Rig) -> Vec<&str> {
    let all: Vec<&str> = rig.subject.reaches.iter().map(String::as_str).collect();
    applies_if(!all.is_empty(), "its containers reach nothing");
    all
}

fn gateway(rig: &Rig) {
    let targets = reachable(rig);
    let attached = rig.attach("c1");
    targets
        .into_iter()
        .for_each(|target| reaches(attached.container(), target));
}

fn from_network(rig: &Rig) {
    reachable(rig);
    let attached = rig.attach("c1");
    reaches(&rig.host, &ip(&attached, '.'));
}

/// Two containers that must reach each other.
fn pair(rig: &Rig) -> [Attached; 2] {
    applies_if(
        rig.subject.connects,
        "its containers do not reach each other",
    );
    ["c1", "c2"].map(|id| rig.attach(id))
}

fn containers(rig: &Rig) {
    let [one, other] = pair(rig);
    reaches(one.container(), &ip(&other, '.'));
    reaches(other.container(), &ip(&one, '.'));
}

/// Pings the network with `size` bytes of data; `fragments` tells whether packets may be fragmented.
#[track_caller]
fn ping(rig: &Rig, attached: &Attached, size: u64, fragments: bool) {
    let target = reachable(rig)[0];
    let (size, wait) = (size.to_string(), (5 * testkit::patience()).to_string());
    let may = if fragments { "dont" } else { "do" };
    let ping = [
        "ping", "-n", "-c", "1", "-W", &wait, "-M", may, "-s", &size, target,
    ];
    attached.container().command(&ping);
}

/// The MTU of the container's interface.
fn mtu_of(rig: &Rig, attached: &Attached) -> u64 {
    let mtu = attached
        .container()
        .link_attribute(&rig.subject.if_name, "/mtu");
    mtu.as_u64().expect("an MTU")
}

fn full_packets(rig: &Rig) {
    reachable(rig);
    let attached = rig.attach("c1");
    // The headers of IPv4 and ICMP have 28 bytes.
    ping(rig, &attached, mtu_of(rig, &attached) - 28, false);
}

fn fragments(rig: &Rig) {
    reachable(rig);
    let attached = rig.attach("c1");
    ping(rig, &attached, 4000, true);
}

fn mtu(rig: &Rig) {
    let attached = attach_with(rig, "c1", &json!({"mtu": 1400}));
    assert_eq!(mtu_of(rig, &attached), 1400);
}

fn second_add(rig: &Rig) {
    let targets = reachable(rig);
    let attached = rig.attach("c1");
    let _second = rig.attach("c2");
    targets
        .into_iter()
        .for_each(|target| reaches(attached.container(), target));
}

fn other_del(rig: &Rig) {
    let targets = reachable(rig);
    let [one, other] = ["c1", "c2"].map(|id| rig.attach(id));
    del(rig, &other);
    targets
        .into_iter()
        .for_each(|target| reaches(one.container(), target));
}

fn loopback(rig: &Rig) {
    reaches(rig.attach("c1").container(), "127.0.0.1");
}

fn loopback6(rig: &Rig) {
    reaches(rig.attach("c1").container(), "::1");
}

/// An attachment, and a container in the network beyond the host. The host forwards.
fn with_outside(rig: &Rig, masquerade: bool) -> (Container, Attached) {
    let outside = outside(&rig.host);
    (
        outside,
        attach_with(rig, "c1", &json!({"ipMasq": masquerade})),
    )
}

/// The source address of a datagram to the network beyond the host.
#[track_caller]
fn source(rig: &Rig, masquerade: bool, target: &str) -> (String, Attached) {
    let (outside, attached) = with_outside(rig, masquerade);
    // ARP and neighbour discovery are over once something was answered.
    reaches(attached.container(), target);
    let source = Listener::new(&outside, target).sees(attached.container());
    let source = source.unwrap_or_else(|| panic!("no datagram arrives at {target}"));
    (source.to_string(), attached)
}

fn masquerade(rig: &Rig) {
    assert_eq!(source(rig, true, "192.0.2.9").0, "192.0.2.1");
}

fn masquerade6(rig: &Rig) {
    assert_eq!(source(rig, true, "2001:db8::9").0, "2001:db8::1");
}

fn without_masquerade(rig: &Rig) {
    let (source, attached) = source(rig, false, "192.0.2.9");
    assert_eq!(source, ip(&attached, '.'));
}

fn masquerade_inside(rig: &Rig) {
    let keys = json!({"ipMasq": true});
    let [one, other] = ["c1", "c2"].map(|id| attach_with(rig, id, &keys));
    let target = ip(&other, '.');
    reaches(one.container(), &target);
    let source = Listener::new(other.container(), &target).sees(one.container());
    assert_eq!(source.map(|ip| ip.to_string()), Some(ip(&one, '.')));
}

fn masquerade_ends(rig: &Rig) {
    let attached = attach_with(rig, "c1", &json!({"ipMasq": true}));
    let own = ip(&attached, '.');
    let rules = testkit::filters(&rig.host).join("\n");
    assert!(rules.contains(&own), "{own} is not in\n{rules}");
    del(rig, &attached);
    let rules = testkit::filters(&rig.host).join("\n");
    assert!(!rules.contains(&own), "{own} is in\n{rules}");
}

fn forwarding(rig: &Rig) {
    rig.host.set_sysctl("net/ipv4/ip_forward", "0");
    let _attached = rig.attach("c1");
    assert_eq!(rig.host.sysctl("net/ipv4/ip_forward"), "1");
}

const MAC: &str = "02:00:00:00:00:42";

#[track_caller]
fn has_mac(rig: &Rig, attached: &Attached) {
    let mac = attached
        .container()
        .link_attribute(&rig.subject.if_name, "/address");
    assert_eq!(mac, MAC);
    let text = attached.result["interfaces"].to_string();
    assert!(text.contains(MAC), "{MAC} is not in {text}");
}

fn mac_of_runtime(rig: &Rig) {
    let keys = json!({"capabilities": {"mac": true}, "runtimeConfig": {"mac": MAC}});
    has_mac(rig, &attach_with(rig, "c1", &keys));
}

fn mac_of_arguments(rig: &Rig) {
    let pod = rig.pod("c1");
    let config = pod.config(rig);
    let call = rig.call("ADD", &pod.container, &config);
    let run = call
        .args(&format!("IgnoreUnknown=1;K8S_POD_NAME=web;MAC={MAC}"))
        .run();
    has_mac(rig, &Attached::new(pod, config, run));
}

fn device_returns(rig: &Rig) {
    let attached = rig.attach("c1");
    assert!(
        rig.host.link("dev0").is_none(),
        "the device is still on the host"
    );
    del(rig, &attached);
    assert!(
        rig.host.link("dev0").is_some(),
        "the device is not back on the host"
    );
}
