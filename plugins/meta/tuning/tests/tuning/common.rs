//! Setup that the tests share: a container with an interface, and its state.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use testkit::{Container, Host, Node, Plugin, Snapshot, merge};

/// The original hardware address of the interface.
pub(crate) const MAC: &str = "02:00:00:00:00:01";

/// The plugin under test.
pub(crate) fn tuning() -> Plugin {
    Plugin::new("tuning")
}

/// A host with a container `c1`, whose `eth0` is the peer of `outside` on the host.
pub(crate) fn attached() -> (Host, Container) {
    let host = Host::new();
    let container = attach(&host, "c1", "outside");
    (host, container)
}

/// A container with an interface, as after an interface plugin.
pub(crate) fn attach(host: &Host, name: &str, outside: &str) -> Container {
    let container = host.container(name);
    for command in [
        format!("ip link add {outside} type veth peer name eth0 address {MAC} netns {name}"),
        format!("ip link set {outside} addrgenmode none up"),
    ] {
        let argv: Vec<&str> = command.split(' ').collect();
        host.command(&argv);
    }
    for command in [
        "link set lo up",
        "link set eth0 addrgenmode none",
        "addr add 10.1.0.5/24 dev eth0",
        "addr add fd00:1::5/64 dev eth0 nodad",
        "link set eth0 up",
        "route add default via 10.1.0.1",
    ] {
        ip(&container, command);
    }
    container
}

/// Runs a command of `ip`.
#[track_caller]
pub(crate) fn ip(node: &impl Node, command: &str) -> String {
    let argv: Vec<&str> = ["ip"].into_iter().chain(command.split(' ')).collect();
    node.command(&argv)
}

/// A configuration with `prevResult` and the keys of `extra`.
pub(crate) fn config(extra: Value) -> Value {
    let base = json!({"cniVersion": "1.1.0", "name": "net", "type": "tuning", "prevResult": prev("1.1.0")});
    merge(base, &extra)
}

/// The result of the previous plugins.
pub(crate) fn prev(version: &str) -> Value {
    json!({
        "cniVersion": version,
        "interfaces": [
            {"name": "outside", "mac": "02:00:00:00:00:99"},
            {"name": "eth0", "mac": MAC, "sandbox": "/run/netns/c1"},
        ],
        "ips": [
            {"address": "10.1.0.5/24", "gateway": "10.1.0.1", "interface": 1},
            {"address": "fd00:1::5/64", "interface": 1},
        ],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dns": {"nameservers": ["10.1.0.53"]},
    })
}

/// Snapshot and sysctls.
pub(crate) fn state(host: &Host, container: &Container) -> (Snapshot, BTreeMap<String, String>) {
    (host.snapshot(), container.sysctls())
}

/// Asserts that two states are equal.
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

/// An attribute of `eth0` as printed by `ip -json -details link`.
#[track_caller]
pub(crate) fn attribute(node: &impl Node, key: &str) -> Value {
    node.link("eth0").expect("the interface")[key].clone()
}

/// Whether `eth0` has a flag such as `PROMISC`.
#[track_caller]
pub(crate) fn has_flag(node: &impl Node, flag: &str) -> bool {
    let flags = attribute(node, "flags");
    flags
        .as_array()
        .is_some_and(|flags| flags.iter().any(|f| f == flag))
}

/// All keys.
pub(crate) fn everything() -> Value {
    json!({
        "sysctl": {
            "net.core.somaxconn": "500",
            "net.ipv4.conf.IFNAME.arp_filter": "1",
            "net/ipv4/ip_forward": "1",
            "net.ipv6.conf.all.forwarding": "1",
            "net.ipv4.ip_local_port_range": "20000 30000",
        },
        "mac": "02:00:00:00:00:0a", "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 77,
    })
}
