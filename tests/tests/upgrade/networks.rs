//! The networks of a site.

use libcni::NetworkList;
use serde_json::{Value, json};

/// A network, and the name of the interface in it.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    plugins: Vec<Value>,
    pub(crate) name: &'static str,
    pub(crate) if_name: &'static str,
    /// An address outside of the container that it reaches through this network; none for loopback.
    pub(crate) target: Option<&'static str>,
}

impl Network {
    /// The network's list. Upstream's 1.1.1 supports the specification up to 1.0.0.
    pub(crate) fn list(&self, version: &str) -> NetworkList {
        let list = json!({"cniVersion": version, "name": self.name, "plugins": self.plugins});
        NetworkList::from_bytes(list.to_string().as_bytes()).unwrap()
    }

    pub(crate) fn has(&self, plugin: &str) -> bool {
        self.plugins.iter().any(|found| found["type"] == plugin)
    }
}

/// A range of host-local for each subnet.
fn host_local(subnets: &[&str], routes: &[&str]) -> Value {
    let ranges: Vec<Value> = subnets
        .iter()
        .map(|subnet| json!([{"subnet": subnet}]))
        .collect();
    let routes: Vec<Value> = routes.iter().map(|to| json!({"dst": to})).collect();
    json!({"type": "host-local", "ranges": ranges, "routes": routes})
}

/// The networks of the first container of a pod.
pub(crate) fn first() -> [Network; 3] {
    let loopback = Network {
        plugins: vec![json!({"type": "loopback"})],
        name: "loopback",
        if_name: "lo",
        target: None,
    };
    let pods = Network {
        plugins: vec![
            json!({"type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true,
                   "ipam": host_local(&["10.60.0.0/24"], &[])}),
            json!({"type": "portmap", "capabilities": {"portMappings": true}}),
            json!({"type": "firewall"}),
            json!({"type": "bandwidth", "ingressRate": 100_000_000, "ingressBurst": 10_000_000,
                   "egressRate": 100_000_000, "egressBurst": 10_000_000}),
            json!({"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}, "mtu": 1400}),
        ],
        name: "pods",
        if_name: "eth0",
        target: Some("10.60.0.1"),
    };
    let mut ipam = host_local(&["10.62.0.0/24", "fd00:62::/64"], &["0.0.0.0/0", "::/0"]);
    ipam["ranges"][0][0]["gateway"] = "10.62.0.254".into();
    ipam["ranges"][1][0]["gateway"] = "fd00:62::fe".into();
    let lan = Network {
        plugins: vec![
            json!({"type": "macvlan", "master": "lan0", "ipam": ipam}),
            json!({"type": "sbr"}),
        ],
        name: "lan",
        if_name: "net1",
        target: Some("fd00:62::fe"),
    };
    [loopback, pods, lan]
}

/// The network of the second container of a pod.
pub(crate) fn second() -> Network {
    Network {
        plugins: vec![
            json!({"type": "ptp", "ipMasq": true, "ipam": host_local(&["10.61.0.0/24"], &["0.0.0.0/0"])}),
            json!({"type": "firewall"}),
        ],
        name: "point",
        if_name: "eth0",
        target: Some("192.0.2.9"),
    }
}

/// The network of the calls that go on while files are exchanged.
pub(crate) fn busy() -> Network {
    Network {
        plugins: vec![
            json!({"type": "bridge", "bridge": "cni1", "isGateway": true, "ipMasq": true,
                   "ipam": host_local(&["10.64.0.0/24"], &[])}),
            json!({"type": "portmap", "capabilities": {"portMappings": true}}),
            json!({"type": "firewall"}),
            json!({"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}}),
        ],
        name: "busy",
        if_name: "eth0",
        target: None,
    }
}
