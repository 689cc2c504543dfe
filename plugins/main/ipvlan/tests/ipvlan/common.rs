//! What the tests share: configurations, and the network they run in.

use serde_json::{Value, json};
use testkit::{Container, Host, Node, Plugin, dual_stack, merge, needs, wire};

/// The network `net` on master `m0`, without addresses, with the keys of `extra` added.
pub(crate) fn bare(extra: Value) -> Value {
    let base = json!({"cniVersion": "1.1.0", "name": "net", "type": "ipvlan", "master": "m0"});
    merge(base, &extra)
}

/// The same with IPv4 and IPv6, and default routes.
pub(crate) fn dual(extra: Value) -> Value {
    merge(bare(json!({"ipam": dual_stack()})), &extra)
}

/// The same with IPv4 only.
pub(crate) fn ipv4(extra: Value) -> Value {
    let ipam = json!({"type": "host-local", "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10"});
    merge(bare(json!({"ipam": ipam})), &extra)
}

/// The plugin under test.
pub(crate) fn ipvlan() -> Plugin {
    Plugin::new("ipvlan")
}

/// A host with a master `m0`, and the router at its other end.
///
/// The kernel must have ipvlan.
pub(crate) fn host() -> (Host, Container) {
    host_with("m0")
}

/// The same with another name for the master.
pub(crate) fn host_with(master: &str) -> (Host, Container) {
    needs(&["ipvlan"]);
    let host = Host::new();
    let router = wire(&host, master, "router", &["10.1.0.1/24", "fd00:1::1/64"]);
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
