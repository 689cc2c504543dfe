//! What chained plugins other than `portmap` do to packets and interfaces.

use serde_json::{Value, json};
use testkit::{Container, Node, merge};

use super::ports::router;
use super::support::{attach_with, call, del, host_end, ip, reaches};
use super::traffic::Server;
use crate::demand;
use crate::rig::{Attached, Rig};
use crate::rule::{Only, Rule, runtime};

const FIREWALL: &[Only] = &[Only::Since("0.3.0"), Only::Plugins(&["firewall"])];
const BANDWIDTH: &[Only] = &[Only::Since("0.3.0"), Only::Plugins(&["bandwidth"])];
const SBR: &[Only] = &[Only::Since("0.3.0"), Only::Plugins(&["sbr"])];
const TUNING: &[Only] = &[Only::Since("0.3.0"), Only::Plugins(&["tuning"])];
const VRF: &[Only] = &[Only::Since("0.3.1"), Only::Plugins(&["vrf"])];

pub(crate) const RULES: &[Rule] = &[
    runtime(
        "effects.firewall-opens",
        "Podman",
        "Where FORWARD drops by default, ADD lets the container's packets through",
        opens,
    )
    .only(FIREWALL),
    runtime(
        "effects.firewall-opens-ipv6",
        "Podman",
        "Where FORWARD drops by default, ADD lets the container's IPv6 packets through",
        opens6,
    )
    .only(FIREWALL),
    runtime(
        "effects.firewall-closed-inwards",
        "reference firewall",
        "Connections to the container stay closed where FORWARD drops by default",
        closed_inwards,
    )
    .only(FIREWALL),
    runtime(
        "effects.firewall-closed-by-del",
        "Podman",
        "After DEL, FORWARD drops the container's packets again",
        closed_by_del,
    )
    .only(FIREWALL),
    runtime(
        "effects.firewall-others-stay-open",
        "Podman",
        "DEL of another container closes nothing",
        others_stay_open,
    )
    .only(FIREWALL),
    runtime(
        "effects.bandwidth-both-directions",
        "kubelet, CRI-O",
        "Queues with the configured rate are on the host's end and on an ifb",
        both_directions,
    )
    .only(BANDWIDTH),
    runtime(
        "effects.bandwidth-of-runtime",
        "kubelet, CRI-O",
        "The rates of runtimeConfig count",
        of_runtime,
    )
    .only(BANDWIDTH),
    runtime(
        "effects.bandwidth-huge-burst",
        "containerd, CRI-O",
        "Bursts of 4,294,967,295 and 34,359,738,359 bits, which runtimes pass if none is configured, work",
        huge_burst,
    )
    .only(BANDWIDTH),
    runtime(
        "effects.bandwidth-ifb-in-result",
        "reference bandwidth",
        "The ifb is the last interface of the result",
        ifb_in_result,
    )
    .only(BANDWIDTH),
    runtime(
        "effects.bandwidth-connected",
        "kubelet, CRI-O",
        "Packets pass the queues",
        connected,
    )
    .only(BANDWIDTH),
    runtime(
        "effects.bandwidth-rate-without-burst",
        "reference bandwidth",
        "A rate without a burst is refused",
        rate_without_burst,
    )
    .only(BANDWIDTH),
    runtime(
        "effects.sbr-rules",
        "reference sbr",
        "Each address has a routing rule and a default route of its own",
        source_rules,
    )
    .only(SBR),
    runtime(
        "effects.sbr-routes-by-source",
        "reference sbr",
        "Packets with the address go to its gateway although the main table has no route",
        by_source,
    )
    .only(SBR),
    runtime(
        "effects.sbr-undone",
        "reference sbr",
        "After DEL no rule has an address of the interface",
        sbr_undone,
    )
    .only(SBR),
    runtime(
        "effects.tuning-sysctl",
        "Podman, Multus",
        "Sysctls of the container have the configured values",
        sysctl,
    )
    .only(TUNING),
    runtime(
        "effects.tuning-foreign-sysctl",
        "reference tuning",
        "Sysctls outside of net are refused",
        foreign_sysctl,
    )
    .only(TUNING),
    runtime(
        "effects.tuning-link",
        "Podman, Multus",
        "MTU and hardware address of the interface are the configured ones, in the result too",
        link,
    )
    .only(TUNING),
    runtime(
        "effects.tuning-restored",
        "reference tuning",
        "DEL restores MTU and hardware address",
        restored,
    )
    .only(TUNING),
    runtime(
        "effects.tuning-mac-of-runtime",
        "Podman, Multus",
        "The hardware address of runtimeConfig counts",
        mac_of_runtime,
    )
    .only(TUNING),
    runtime(
        "effects.tuning-leaves-others",
        "reference tuning",
        "Sysctls and interfaces of the host stay as they are",
        leaves_others,
    )
    .only(TUNING),
    runtime(
        "effects.vrf-member",
        "reference vrf",
        "The interface is in the VRF, with its addresses",
        member,
    )
    .only(VRF),
    runtime(
        "effects.vrf-deleted-with-last",
        "reference vrf",
        "DEL deletes the VRF that has no interface any more",
        deleted_with_last,
    )
    .only(VRF),
];

/// An attachment behind a FORWARD chain that drops by default, a container beyond the host, and a server there.
fn behind_filter(rig: &Rig) -> (Attached, Container, Server) {
    let pod = rig.pod("c1");
    let outside = router(rig);
    for program in ["iptables", "ip6tables"] {
        rig.host.command(&[program, "-P", "FORWARD", "DROP"]);
    }
    let beyond = Server::new(&outside, 81);
    beyond.misses(&pod.container, "192.0.2.9:81");
    let config = pod.config(rig);
    let attached = rig.attach_pod(pod, config);
    (attached, outside, beyond)
}

fn opens(rig: &Rig) {
    let (attached, _outside, beyond) = behind_filter(rig);
    beyond.sees(attached.container(), "192.0.2.9:81");
}

fn opens6(rig: &Rig) {
    let (attached, _outside, beyond) = behind_filter(rig);
    beyond.sees(attached.container(), "[2001:db8::9]:81");
}

fn closed_inwards(rig: &Rig) {
    let (attached, outside, _beyond) = behind_filter(rig);
    let server = Server::new(attached.container(), 81);
    server.misses(&outside, &format!("{}:81", ip(&attached, '.')));
}

fn closed_by_del(rig: &Rig) {
    let (attached, _outside, beyond) = behind_filter(rig);
    beyond.sees(attached.container(), "192.0.2.9:81");
    del(rig, &attached);
    beyond.misses(attached.container(), "192.0.2.9:81");
}

fn others_stay_open(rig: &Rig) {
    let (attached, _outside, beyond) = behind_filter(rig);
    del(rig, &rig.attach("c2"));
    beyond.sees(attached.container(), "192.0.2.9:81");
}

/// The token buckets of the host with their rates in bytes per second, by device.
fn shapers(rig: &Rig) -> Vec<(String, u64)> {
    let text = rig.host.command(&["tc", "-json", "qdisc", "show"]);
    let list: Vec<Value> = serde_json::from_str(&text).expect("tc prints JSON");
    let buckets = list.iter().filter(|qdisc| qdisc["kind"] == "tbf");
    let entry = |qdisc: &Value| {
        Some((
            qdisc["dev"].as_str()?.to_owned(),
            qdisc["options"]["rate"].as_u64()?,
        ))
    };
    let mut all: Vec<(String, u64)> = buckets.filter_map(entry).collect();
    all.sort();
    all
}

/// Demands these rates, in bytes per second, on the host's end and on the ifb.
fn has_rates(rig: &Rig, attached: &Attached, on_end: u64, on_ifb: u64) {
    let end = host_end(rig, attached.container());
    let all = shapers(rig);
    let found = all.iter().any(|(dev, rate)| *dev == end && *rate == on_end);
    assert!(found, "{on_end} byte/s on {end} expected, found {all:?}");
    let found = all.iter().any(|(dev, rate)| *dev != end && *rate == on_ifb);
    assert!(found, "{on_ifb} byte/s on an ifb expected, found {all:?}");
}

fn both_directions(rig: &Rig) {
    let attached = rig.attach("c1");
    has_rates(rig, &attached, 1_000_000, 1_000_000);
}

/// The keys with rates of the runtime instead of the configuration.
fn rates(value: &Value) -> Value {
    let mut keys =
        json!({"capabilities": {"bandwidth": true}, "runtimeConfig": {"bandwidth": value}});
    for key in ["ingressRate", "ingressBurst", "egressRate", "egressBurst"] {
        keys[key] = Value::Null;
    }
    keys
}

fn of_runtime(rig: &Rig) {
    let keys = rates(
        &json!({"ingressRate": 16_000_000, "ingressBurst": 1_000_000, "egressRate": 24_000_000, "egressBurst": 1_000_000}),
    );
    let attached = attach_with(rig, "c1", &keys);
    has_rates(rig, &attached, 2_000_000, 3_000_000);
}

fn huge_burst(rig: &Rig) {
    for burst in [4_294_967_295_u64, 34_359_738_359] {
        let keys = rates(
            &json!({"ingressRate": 10_000_000, "ingressBurst": burst, "egressRate": 10_000_000, "egressBurst": burst}),
        );
        let attached = attach_with(rig, &format!("c{burst}"), &keys);
        reaches(attached.container(), "10.8.0.1");
        call(rig, "CHECK", &attached).run().expect_ok();
        del(rig, &attached);
    }
}

fn ifb_in_result(rig: &Rig) {
    let attached = rig.attach("c1");
    let last = attached.result["interfaces"]
        .as_array()
        .and_then(|list| list.last());
    let name = last
        .and_then(|last| last["name"].as_str())
        .unwrap_or_default();
    let kind = rig.host.link_attribute(name, "/linkinfo/info_kind");
    assert_eq!(kind, "ifb", "{}", attached.result);
}

fn connected(rig: &Rig) {
    let attached = rig.attach("c1");
    for gateway in ["10.8.0.1", "fd00:8::1"] {
        reaches(attached.container(), gateway);
    }
    reaches(&rig.host, &ip(&attached, '.'));
}

fn rate_without_burst(rig: &Rig) {
    let pod = rig.pod("c1");
    let config = merge(pod.config(rig), &json!({"ingressBurst": 0}));
    rig.unchanged(|| demand::error(rig.add(&pod.container, &config)));
}

fn source_rules(rig: &Rig) {
    let attached = rig.attach("c1");
    let container = attached.container();
    for (family, mark, gateway) in [("-4", '.', "10.8.0.1"), ("-6", ':', "fd00:8::1")] {
        let own = ip(&attached, mark);
        let rules = container.command(&["ip", family, "rule", "show", "from", &own]);
        let table = rules.split_whitespace().last().unwrap_or_default();
        assert!(!table.is_empty(), "no rule for {own}");
        let routes = container.command(&["ip", family, "route", "show", "table", table]);
        let wanted = format!("default via {gateway} ");
        assert!(
            routes.contains(&wanted),
            "{wanted:?} is not in table {table}:\n{routes}"
        );
    }
}

fn by_source(rig: &Rig) {
    let attached = rig.attach("c1");
    let own = ip(&attached, '.');
    let route = attached
        .container()
        .command(&["ip", "route", "get", "192.0.2.9", "from", &own]);
    assert!(route.contains(" via 10.8.0.1 "), "{route}");
    let main = attached.container().routes("-4");
    assert!(
        !main.iter().any(|route| route.starts_with("default ")),
        "{main:?}"
    );
    let route = attached
        .container()
        .try_command(&["ip", "route", "get", "192.0.2.9"]);
    assert!(
        route.is_err(),
        "without the address there is a route: {route:?}"
    );
}

fn sbr_undone(rig: &Rig) {
    let attached = rig.attach("c1");
    del(rig, &attached);
    for (family, mark) in [("-4", '.'), ("-6", ':')] {
        let rules = attached.container().command(&["ip", family, "rule"]);
        let own = ip(&attached, mark);
        assert!(!rules.contains(&own), "{own} is in\n{rules}");
    }
}

fn sysctl(rig: &Rig) {
    let keys =
        json!({"sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1", "net.core.somaxconn": "600"}});
    let attached = attach_with(rig, "c1", &keys);
    let name = &rig.subject.if_name;
    let arp = attached
        .container()
        .sysctl(&format!("net/ipv4/conf/{name}/arp_filter"));
    assert_eq!(
        (
            arp.as_str(),
            attached.container().sysctl("net/core/somaxconn").as_str()
        ),
        ("1", "600")
    );
}

fn foreign_sysctl(rig: &Rig) {
    let pod = rig.pod("c1");
    for key in [
        "kernel.domainname",
        "net/../kernel/domainname",
        "fs.file-max",
    ] {
        let config = merge(pod.config(rig), &json!({"sysctl": {key: "1"}}));
        demand::error(rig.add(&pod.container, &config));
    }
}

const MAC: &str = "02:00:00:00:00:42";

fn link(rig: &Rig) {
    let attached = attach_with(rig, "c1", &json!({"mtu": 1400, "mac": MAC}));
    let link = attached
        .container()
        .link(&rig.subject.if_name)
        .expect("the interface");
    assert_eq!(
        (&link["mtu"], &link["address"]),
        (&json!(1400), &json!(MAC))
    );
    let links = attached.result["interfaces"].to_string();
    assert!(links.contains(MAC), "{MAC} is not in {links}");
}

fn restored(rig: &Rig) {
    let pod = rig.pod("c1");
    let name = &rig.subject.if_name;
    let of = |node: &Container| {
        let link = node.link(name).expect("the interface");
        (link["mtu"].clone(), link["address"].clone())
    };
    let before = of(&pod.container);
    let config = merge(pod.config(rig), &json!({"mtu": 1400, "mac": MAC}));
    let attached = rig.attach_pod(pod, config);
    assert_ne!(of(attached.container()), before);
    del(rig, &attached);
    assert_eq!(
        of(attached.container()),
        before,
        "after DEL (left) and before ADD"
    );
}

fn mac_of_runtime(rig: &Rig) {
    let keys = json!({"capabilities": {"mac": true}, "runtimeConfig": {"mac": MAC}});
    let attached = attach_with(rig, "c1", &keys);
    assert_eq!(
        attached
            .container()
            .link_attribute(&rig.subject.if_name, "/address"),
        MAC
    );
}

fn leaves_others(rig: &Rig) {
    let pod = rig.pod("c1");
    let before = (rig.host.sysctls(), rig.host.link_names());
    let config = merge(pod.config(rig), &json!({"mtu": 1400}));
    let _attached = rig.attach_pod(pod, config);
    assert_eq!((rig.host.sysctls(), rig.host.link_names()), before);
}

fn vrf_name(rig: &Rig) -> &str {
    rig.subject.config["vrfname"].as_str().unwrap_or_default()
}

fn member(rig: &Rig) {
    let attached = rig.attach("c1");
    let name = &rig.subject.if_name;
    assert_eq!(
        attached.container().link_attribute(name, "/master"),
        vrf_name(rig)
    );
    let own = attached.container().addresses(name);
    assert_eq!(own.len(), 2, "{own:?}");
}

fn deleted_with_last(rig: &Rig) {
    let attached = rig.attach("c1");
    del(rig, &attached);
    assert!(
        attached.container().link(vrf_name(rig)).is_none(),
        "the VRF is still there"
    );
    assert_eq!(
        attached.container().addresses(&rig.subject.if_name).len(),
        2
    );
}
