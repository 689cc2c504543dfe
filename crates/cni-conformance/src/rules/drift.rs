//! CHECK of chained plugins: it notices that what they made is gone.

use serde_json::json;
use testkit::Node;

use super::support::{attach_with, fails_since, host_end, ip, ip_in, passes};
use crate::rig::Rig;
use crate::rule::{Only, Rule, must, runtime, should};

const SPEC: &str = "spec 2: CHECK";
const PORTMAP: &[Only] = &[Only::Since("0.4.0"), Only::Plugins(&["portmap"])];
const FIREWALL: &[Only] = &[Only::Since("0.4.0"), Only::Plugins(&["firewall"])];
const BANDWIDTH: &[Only] = &[Only::Since("0.4.0"), Only::Plugins(&["bandwidth"])];
const TUNING: &[Only] = &[Only::Since("0.4.0"), Only::Plugins(&["tuning"])];
const SBR: &[Only] = &[Only::Since("0.4.0"), Only::Plugins(&["sbr"])];
const VRF: &[Only] = &[Only::Since("0.4.0"), Only::Plugins(&["vrf"])];
const PORTS_OR_FILTER: &[Only] = &[
    Only::Since("0.4.0"),
    Only::Plugins(&["portmap", "firewall"]),
];

pub(crate) const RULES: &[Rule] = &[
    should(
        "drift.port-mapping-flushed",
        SPEC,
        "CHECK fails if the rules of the port mappings were flushed",
        flushed,
    )
    .only(PORTMAP),
    should(
        "drift.firewall-flushed",
        SPEC,
        "CHECK fails if the rules for the addresses were flushed",
        flushed,
    )
    .only(FIREWALL),
    should(
        "drift.check-creates-nothing",
        SPEC,
        "CHECK after a flush of the packet filter creates nothing",
        creates_nothing,
    )
    .only(PORTS_OR_FILTER),
    runtime(
        "drift.foreign-rules",
        "kube-proxy, firewalld",
        "CHECK accepts rules that others added",
        foreign_rules,
    )
    .only(PORTS_OR_FILTER),
    should(
        "drift.ingress-shaper-removed",
        SPEC,
        "CHECK fails if the queue on the host's end is gone",
        ingress_removed,
    )
    .only(BANDWIDTH),
    must(
        "drift.egress-shaper-removed",
        SPEC,
        "CHECK fails if the ifb is gone",
        egress_removed,
    )
    .only(BANDWIDTH),
    should(
        "drift.rate-changed",
        SPEC,
        "CHECK fails if the queue has another rate",
        rate_changed,
    )
    .only(BANDWIDTH),
    should(
        "drift.redirect-removed",
        SPEC,
        "CHECK fails if packets are no longer sent through the ifb",
        redirect_removed,
    )
    .only(BANDWIDTH),
    should(
        "drift.sysctl-changed",
        SPEC,
        "CHECK fails if a sysctl has another value",
        sysctl_changed,
    )
    .only(TUNING),
    should(
        "drift.mtu-changed",
        SPEC,
        "CHECK fails if the MTU is not the configured one",
        mtu_changed,
    )
    .only(TUNING),
    should(
        "drift.mac-changed",
        SPEC,
        "CHECK fails if the hardware address is not the configured one",
        mac_changed,
    )
    .only(TUNING),
    should(
        "drift.promiscuous-mode",
        SPEC,
        "CHECK fails if the interface is no longer promiscuous",
        promisc_changed,
    )
    .only(TUNING),
    should(
        "drift.all-multicast",
        SPEC,
        "CHECK fails if the interface no longer receives all multicasts",
        allmulti_changed,
    )
    .only(TUNING),
    should(
        "drift.queue-length",
        SPEC,
        "CHECK fails if the transmit queue has another length",
        queue_changed,
    )
    .only(TUNING),
    should(
        "drift.source-rule-deleted",
        SPEC,
        "CHECK fails if the routing rule of an address is gone",
        source_rule_deleted,
    )
    .only(SBR),
    should(
        "drift.source-route-deleted",
        SPEC,
        "CHECK fails if the default route of an address is gone",
        source_route_deleted,
    )
    .only(SBR),
    should(
        "drift.vrf-left",
        SPEC,
        "CHECK fails if the interface is no longer in the VRF",
        vrf_left,
    )
    .only(VRF),
    should(
        "drift.vrf-deleted",
        SPEC,
        "CHECK fails if the VRF is gone",
        vrf_deleted,
    )
    .only(VRF),
];

/// Removes all rules of packet filters, as an administrator does.
fn flush(rig: &Rig) {
    rig.host.command(&["nft", "flush", "ruleset"]);
    for (tables, program) in [
        ("ip_tables_names", "iptables-legacy"),
        ("ip6_tables_names", "ip6tables-legacy"),
    ] {
        let tables = std::fs::read_to_string(format!("/proc/thread-self/net/{tables}"));
        for table in tables.unwrap_or_default().lines() {
            rig.host.command(&[program, "-t", table, "-F"]);
            rig.host.command(&[program, "-t", table, "-X"]);
        }
    }
}

fn flushed(rig: &Rig) {
    let attached = rig.attach("c1");
    flush(rig);
    fails_since(rig, &attached, "there is no rule of a packet filter");
}

fn creates_nothing(rig: &Rig) {
    let attached = rig.attach("c1");
    flush(rig);
    rig.unchanged(|| fails_since(rig, &attached, "there is no rule of a packet filter"));
}

fn foreign_rules(rig: &Rig) {
    let attached = rig.attach("c1");
    for family in ["ip", "ip6"] {
        let table = format!("add table {family} others");
        rig.host.command(&["nft", &table]);
        let chain =
            format!("add chain {family} others forward {{ type filter hook forward priority 0; }}");
        rig.host.command(&["nft", &chain]);
        rig.host
            .command(&["nft", &format!("add rule {family} others forward counter")]);
    }
    passes(rig, &attached);
}

fn ingress_removed(rig: &Rig) {
    let attached = rig.attach("c1");
    let end = host_end(rig, attached.container());
    rig.host
        .command(&["tc", "qdisc", "del", "dev", &end, "root"]);
    fails_since(rig, &attached, "the queue of the host's end was deleted");
}

/// The ifb, the only link that the plugin adds to the host.
fn ifb(rig: &Rig) -> String {
    let links = rig.host.ip_json(&["link", "show", "type", "ifb"]);
    let name = links[0]["ifname"].as_str();
    name.expect("an ifb on the host").to_owned()
}

fn egress_removed(rig: &Rig) {
    let attached = rig.attach("c1");
    rig.host.ip(&format!("link del {}", ifb(rig)));
    fails_since(rig, &attached, "the ifb was deleted");
}

fn rate_changed(rig: &Rig) {
    let attached = rig.attach("c1");
    let end = host_end(rig, attached.container());
    let change = [
        "tc", "qdisc", "replace", "dev", &end, "root", "tbf", "rate", "1mbit", "burst", "100kb",
    ];
    let change: Vec<&str> = change.into_iter().chain(["latency", "25ms"]).collect();
    rig.host.command(&change);
    fails_since(rig, &attached, "the rate is 1 Mbit/s, not 8 Mbit/s");
}

fn redirect_removed(rig: &Rig) {
    let attached = rig.attach("c1");
    let end = host_end(rig, attached.container());
    rig.host
        .command(&["tc", "qdisc", "del", "dev", &end, "ingress"]);
    fails_since(rig, &attached, "no packet is sent to the ifb");
}

fn sysctl_changed(rig: &Rig) {
    let attached = attach_with(rig, "c1", &json!({"sysctl": {"net.core.somaxconn": "500"}}));
    passes(rig, &attached);
    attached.container().set_sysctl("net/core/somaxconn", "400");
    fails_since(rig, &attached, "the value is 400, not 500");
}

/// Adds with `key`, and demands that CHECK fails after `command` in the container.
fn tuned(rig: &Rig, keys: serde_json::Value, command: &str) {
    let attached = attach_with(rig, "c1", &keys);
    passes(rig, &attached);
    ip_in(rig, &attached, command);
    fails_since(
        rig,
        &attached,
        &format!("of \"ip {command}\" in the container of {keys}"),
    );
}

fn mtu_changed(rig: &Rig) {
    tuned(rig, json!({"mtu": 1400}), "link set IF mtu 1300");
}

fn mac_changed(rig: &Rig) {
    tuned(
        rig,
        json!({"mac": "02:00:00:00:00:07"}),
        "link set IF address 02:00:00:00:00:08",
    );
}

fn promisc_changed(rig: &Rig) {
    tuned(rig, json!({"promisc": true}), "link set IF promisc off");
}

fn allmulti_changed(rig: &Rig) {
    tuned(
        rig,
        json!({"allmulti": true}),
        "link set IF allmulticast off",
    );
}

fn queue_changed(rig: &Rig) {
    tuned(rig, json!({"txQLen": 77}), "link set IF txqueuelen 78");
}

fn source_rule_deleted(rig: &Rig) {
    let attached = rig.attach("c1");
    passes(rig, &attached);
    ip_in(
        rig,
        &attached,
        &format!("rule del from {}", ip(&attached, '.')),
    );
    fails_since(rig, &attached, "no rule is for the address");
}

fn source_route_deleted(rig: &Rig) {
    let attached = rig.attach("c1");
    let rules = attached
        .container()
        .command(&["ip", "rule", "show", "from", &ip(&attached, '.')]);
    let table = rules
        .split_whitespace()
        .last()
        .expect("a rule with a table")
        .to_owned();
    ip_in(rig, &attached, &format!("route flush table {table}"));
    fails_since(rig, &attached, "the table of the address is empty");
}

fn vrf_left(rig: &Rig) {
    let attached = rig.attach("c1");
    passes(rig, &attached);
    ip_in(rig, &attached, "link set IF nomaster");
    fails_since(rig, &attached, "the interface is in no VRF");
}

fn vrf_deleted(rig: &Rig) {
    let attached = rig.attach("c1");
    let name = rig.subject.config["vrfname"].as_str().unwrap_or_default();
    ip_in(rig, &attached, &format!("link del {name}"));
    fails_since(rig, &attached, "the VRF was deleted");
}
