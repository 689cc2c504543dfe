//! Configurations and calls that the tests share.

use serde_json::{Value, json};
use testkit::{Node, Plugin, Run, merge};

/// The network `net` with an IPv4 and an IPv6 range of host-local, with the keys of
/// `extra` added or replaced.
pub(crate) fn dual(extra: Value) -> Value {
    let ranges = json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]);
    let routes = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
    with_ipam(
        json!({"type": "host-local", "ranges": ranges, "routes": routes}),
        extra,
    )
}

/// The same with IPv4 only.
pub(crate) fn ipv4(extra: Value) -> Value {
    let ranges = json!([[{"subnet": "10.1.0.0/24"}]]);
    with_ipam(json!({"type": "host-local", "ranges": ranges}), extra)
}

/// The network `net` with `ipam`.
pub(crate) fn with_ipam(ipam: Value, extra: Value) -> Value {
    let base = json!({"cniVersion": "1.1.0", "name": "net", "type": "ptp", "ipam": ipam});
    merge(base, &extra)
}

/// The network `net` with these static addresses, each an address and a gateway.
pub(crate) fn fixed(addresses: &[(&str, &str)], routes: Value) -> Value {
    let addresses: Vec<Value> = addresses
        .iter()
        .map(|(address, gateway)| json!({"address": address, "gateway": gateway}))
        .collect();
    let ipam = json!({"type": "static", "addresses": addresses, "routes": routes});
    with_ipam(ipam, json!({}))
}

/// The plugin under test.
pub(crate) fn ptp() -> Plugin {
    Plugin::new("ptp")
}

/// Returns the name of the host's end, the first interface of a result.
#[track_caller]
pub(crate) fn host_end(run: &Run) -> String {
    let result = run.json();
    assert!(result["interfaces"][0]["sandbox"].is_null(), "{result}");
    let name = result["interfaces"][0]["name"].as_str();
    name.expect("a first interface").to_owned()
}

/// Requires an answer from `address`, within the time that the kernel may take for work in
/// the background.
#[track_caller]
pub(crate) fn reaches(node: &impl Node, address: &str) {
    let ip = address.parse().expect("an address");
    assert!(
        node.can_reach(ip, std::time::Duration::from_secs(5)),
        "{} gets no answer from {address}",
        node.label()
    );
}
