//! Configurations and network that the tests share.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rtnl::{Handle, Qdisc, TcHandle};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, Plugin, merge, wire};

/// The name of the ifb of container `c1` and network `net`.
pub(crate) const IFB: &str = "bwp623e1c388032";

/// A configuration without rates after a plugin that created `veth1` and the container's
/// `eth0`, with the keys of `extra` added.
pub(crate) fn bare(extra: Value) -> Value {
    let base = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bandwidth",
        "prevResult": {
            "cniVersion": "1.1.0",
            "interfaces": [{"name": "veth1"}, {"name": "eth0", "sandbox": "/run/netns/c1"}],
            "ips": [{"address": "10.1.0.2/24", "interface": 1}],
        },
    });
    merge(base, &extra)
}

/// The same with a rate and a burst in both directions.
pub(crate) fn both(extra: Value) -> Value {
    let base = bare(json!({
        "ingressRate": 8_000_000, "ingressBurst": 800_000,
        "egressRate": 16_000_000, "egressBurst": 1_600_000,
    }));
    merge(base, &extra)
}

/// The plugin under test.
pub(crate) fn bandwidth() -> Plugin {
    Plugin::new("bandwidth")
}

/// A host and the container `c1`, connected.
pub(crate) fn host() -> (Host, Container) {
    let host = Host::new();
    let addresses = ["10.1.0.2/24", "fd00:1::2/64"];
    let container = wire(&host, "veth1", "c1", &addresses);
    for address in ["10.1.0.1/24", "fd00:1::1/64"] {
        host.command(&["ip", "addr", "add", address, "dev", "veth1", "nodad"]);
    }
    // The kernel adds the route of an IPv6 address after the address.
    for (node, address) in [(&host as &dyn Look, "fd00:1::1"), (&container, "fd00:1::2")] {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !node.local_routes().contains(address) && Instant::now() < deadline {
            sleep(Duration::from_millis(2));
        }
    }
    (host, container)
}

/// A host or a container.
trait Look {
    fn local_routes(&self) -> String;
}

impl<N: Node> Look for N {
    fn local_routes(&self) -> String {
        self.command(&["ip", "-6", "route", "show", "table", "local"])
    }
}

/// The qdisc at a parent of a link of the host, as the kernel reports it.
#[track_caller]
pub(crate) fn qdisc(link: &str, parent: TcHandle) -> Option<Qdisc> {
    let handle = Handle::open().expect("a socket");
    let index = handle.link_by_name(link).expect("the link").index;
    handle.qdisc(index, parent).expect("an answer")
}

/// Runs commands separated by `; `.
#[track_caller]
pub(crate) fn run(node: &impl Node, commands: &str) {
    for command in commands.split("; ") {
        let argv: Vec<&str> = command.split(' ').collect();
        node.command(&argv);
    }
}
