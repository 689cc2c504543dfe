//! What the tests share: configurations, calls, and who holds which address.

use serde_json::{Value, json};
use testkit::{Container, Host, Node, Plugin, Run, merge};

/// The network `net` without IPAM, with the keys of `extra` added or replaced.
pub(crate) fn layer2(extra: Value) -> Value {
    let base = json!({"cniVersion": "1.1.0", "name": "net", "type": "tap"});
    merge(base, &extra)
}

/// The same with an IPv4 and an IPv6 range of host-local and a route through each.
pub(crate) fn dual(extra: Value) -> Value {
    let mut config = layer2(extra);
    config["ipam"] = json!({
        "type": "host-local",
        "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]],
        "routes": [{"dst": "10.50.0.0/16"}, {"dst": "fd00:50::/32"}],
    });
    config
}

/// The plugin under test.
pub(crate) fn tap() -> Plugin {
    Plugin::new("tap")
}

/// ADD of `eth0` on a host of its own.
#[track_caller]
pub(crate) fn added(config: &Value) -> (Host, Container, Run) {
    let host = Host::new();
    let container = host.container("c1");
    let run = tap().add(&container, config).expect_ok();
    (host, container, run)
}

/// Makes a bridge `br0` in the container. With a hardware address of its own it does
/// not follow its ports'.
pub(crate) fn make_bridge(container: &Container) {
    let command = "ip link add br0 address 02:00:00:00:00:b0 up type bridge";
    container.command(&command.split(' ').collect::<Vec<_>>());
}

/// What `ip -json -details link` tells of `eth0`.
#[track_caller]
pub(crate) fn eth0(container: &Container) -> Value {
    container.link("eth0").expect("eth0 in the container")
}
