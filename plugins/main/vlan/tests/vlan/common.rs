//! What the tests share: configurations, and the network they run in.

use serde_json::{Value, json};
use testkit::{Container, Host, Node, Plugin, dual_stack, merge, needs, wire};

/// VLAN 5 of master `m0` in the network `net`, with IPv4 and IPv6 and default routes,
/// with the keys of `extra` added.
pub(crate) fn dual(extra: Value) -> Value {
    let base = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "vlan", "master": "m0", "vlanId": 5,
        "ipam": dual_stack(),
    });
    merge(base, &extra)
}

/// The same with IPv4 only.
pub(crate) fn ipv4(extra: Value) -> Value {
    let ipam = json!({"type": "host-local", "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10"});
    merge(dual(json!({"ipam": ipam})), &extra)
}

/// The plugin under test.
pub(crate) fn vlan() -> Plugin {
    Plugin::new("vlan")
}

/// A host with a master `m0`, and the router of VLANs 5 and 6 at its other end:
/// 10.1.0.1 and fd00:1::1 in the first, 10.6.0.1 in the second.
///
/// The kernel must have VLANs.
pub(crate) fn host() -> (Host, Container) {
    host_with("m0")
}

/// The same with another name for the master.
pub(crate) fn host_with(master: &str) -> (Host, Container) {
    needs(&["vlan"]);
    let host = Host::new();
    let router = wire(&host, master, "router", &[]);
    for (id, address) in [("5", "10.1.0.1/24"), ("6", "10.6.0.1/24")] {
        let name = format!("eth0.{id}");
        router.command(&[
            "ip", "link", "add", &name, "up", "link", "eth0", "type", "vlan", "id", id,
        ]);
        router.command(&["ip", "addr", "add", address, "dev", &name]);
    }
    router.command(&[
        "ip",
        "addr",
        "add",
        "fd00:1::1/64",
        "dev",
        "eth0.5",
        "nodad",
    ]);
    (host, router)
}

/// One attribute of a link, as `ip -json -details link` tells it.
#[track_caller]
pub(crate) fn attribute(node: &impl Node, link: &str, pointer: &str) -> Value {
    let link = node
        .link(link)
        .unwrap_or_else(|| panic!("no link {link} on {}", node.label()));
    link.pointer(pointer).cloned().unwrap_or_default()
}
