//! The plugin under test, and a container with an interface.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use testkit::{Container, Host, Node, Plugin, Snapshot, merge};

/// The plugin under test.
pub(crate) fn vrf() -> Plugin {
    Plugin::new("vrf")
}

/// A host with a router.
pub(crate) struct Network {
    pub(crate) router: Container,
    host: Host,
}

impl std::ops::Deref for Network {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

/// A container `c1` with `eth0` to a router, all kinds of addresses and routes. The kernel
/// must have VRFs.
pub(crate) fn attached() -> (Network, Container) {
    testkit::needs(&["vrf"]);
    attached_without_vrf()
}

/// The same on any kernel.
pub(crate) fn attached_without_vrf() -> (Network, Container) {
    let host = Host::new();
    let router = host.container("r1");
    let container = host.container("c1");
    container.ip("link add eth0 type veth peer name eth0 netns r1");
    router.ip_batch(&[
        "link set lo up",
        "link set eth0 addrgenmode none up",
        "addr add 10.1.0.1/24 dev eth0",
        "addr add fd00:1::1/64 dev eth0 nodad",
        "addr add 10.8.0.1/32 dev lo",
        "addr add fd00:8::1/128 dev lo nodad",
    ]);
    container.ip_batch(&[
        "link set lo up",
        "link set eth0 addrgenmode none up",
        "addr add 10.1.0.5/24 dev eth0",
        "addr add fd00:1::5/64 dev eth0 nodad",
        "route add default via 10.1.0.1",
        "route add 10.60.0.0/16 dev eth0 scope link src 10.1.0.5",
        "route add 10.61.0.0/16 via 192.0.2.1 dev eth0 onlink metric 7 mtu 1300",
        "route add 10.62.0.0/16 nexthop via 10.1.0.1 weight 2 nexthop via 10.1.0.2",
        "route add 10.63.0.0/16 via 10.1.0.1 table 77",
        "route add default via fd00:1::1",
        "route add fd00:61::/64 via fd00:1::1 metric 7 mtu 1300",
        "route add fd00:62::/64 nexthop via fd00:1::1 nexthop via fd00:1::2",
        "route add fd00:63::/64 dev eth0 table 77",
        "neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent",
        "neigh add fd00:1::9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent",
    ]);
    (Network { router, host }, container)
}

/// The result of the plugins before it.
pub(crate) fn prev(version: &str) -> Value {
    json!({
        "cniVersion": version,
        "interfaces": [
            {"name": "outside", "mac": "02:00:00:00:00:99"},
            {"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/run/netns/c1"},
        ],
        "ips": [
            {"address": "10.1.0.5/24", "gateway": "10.1.0.1", "interface": 1},
            {"address": "fd00:1::5/64", "gateway": "fd00:1::1", "interface": 1},
        ],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}, {"dst": "10.62.0.0/16"}],
    })
}

/// A configuration with what the plugins before have made as `prevResult`, and the keys
/// of `extra`.
pub(crate) fn config(extra: Value) -> Value {
    let base = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "vrf", "vrfname": "blue", "prevResult": prev("1.1.0"),
    });
    merge(base, &extra)
}

/// ADD that must succeed silently; returns the configuration for later verbs.
#[track_caller]
pub(crate) fn add(container: &Container, extra: Value) -> Value {
    let run = vrf().add(container, &config(extra)).expect_ok();
    assert_eq!(run.stderr_text(), "");
    run.with_prev()
}

/// DEL that must succeed silently.
#[track_caller]
pub(crate) fn del(container: &Container, config: &Value) {
    let run = vrf().del(container, config).expect_ok();
    assert_eq!((run.stdout_text(), run.stderr_text()), Default::default());
}

/// The state without the rules that the kernel adds with the first VRF of a namespace, and
/// only then: DEL leaves them for the next VRF.
pub(crate) fn state(host: &Host, container: &Container) -> (Snapshot, BTreeMap<String, String>) {
    let snapshot = host.snapshot().without("l3mdev");
    (snapshot, container.sysctls())
}

/// Demands that two states are the same.
#[track_caller]
pub(crate) fn assert_same(
    before: &(Snapshot, BTreeMap<String, String>),
    after: &(Snapshot, BTreeMap<String, String>),
) {
    before.0.assert_same(&after.0);
    for (key, value) in &before.1 {
        assert_eq!(after.1.get(key), Some(value), "{key}");
    }
    assert_eq!(before.1.len(), after.1.len());
}

/// The routes of a table that the kernel has not added itself, sorted.
#[track_caller]
pub(crate) fn table(container: &Container, table: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for family in ["-4", "-6"] {
        // A table without routes does not exist.
        let argv = ["ip", family, "route", "show", "table", table];
        let text = container.try_command(&argv).unwrap_or_default();
        let lines = text.lines().map(|line| {
            line.trim()
                .replace(" pref medium", "")
                .replace(" linkdown", "")
        });
        all.extend(
            lines.filter(|line| !line.contains("proto kernel") && !line.contains("anycast")),
        );
    }
    all.sort();
    all
}
