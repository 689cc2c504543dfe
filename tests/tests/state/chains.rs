//! Configurations of chains that together contain every plugin.

use blackbox::networks::bridged;
use serde_json::{Value, json};
use testkit::{Host, Node};

fn ipam(network: u8) -> Value {
    json!({"type": "host-local", "subnet": format!("10.{network}.0.0/24"), "routes": [{"dst": "10.99.0.0/16"}]})
}

/// `bridge` with all its filters, and every plugin that is chained after it.
pub(crate) fn full(backend: &str) -> Vec<Value> {
    let mut bridge = bridged("1.1.0", &["10.60.0.0/24", "fd00:60::/64"]);
    // A single address per family, so that each ADD gets the same ones.
    let one =
        |subnet, address| json!([{"subnet": subnet, "rangeStart": address, "rangeEnd": address}]);
    bridge["ipam"]["ranges"] = json!([
        one("10.60.0.0/24", "10.60.0.2"),
        one("fd00:60::/64", "fd00:60::2"),
    ]);
    for (key, value) in [
        ("ipMasq", json!(true)),
        ("ipMasqBackend", json!(backend)),
        ("macspoofchk", json!(true)),
    ] {
        bridge[key] = value;
    }
    let ports = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]);
    let rate = json!({
        "ingressRate": 50_000_000, "ingressBurst": 5_000_000, "egressRate": 50_000_000, "egressBurst": 5_000_000
    });
    vec![
        bridge,
        json!({"type": "portmap", "backend": backend, "runtimeConfig": {"portMappings": ports}}),
        json!({"type": "bandwidth", "runtimeConfig": {"bandwidth": rate}}),
        json!({"type": "firewall", "backend": backend, "ingressPolicy": "same-bridge"}),
        json!({"type": "tuning", "mtu": 1400, "sysctl": {"net.ipv4.conf.IFNAME.log_martians": "1"}}),
        json!({"type": "sbr"}),
    ]
}

/// The plugins that create or take an interface and need no optional kernel feature, each in a chain of its own.
pub(crate) fn interfaces(host: &Host) -> Vec<Vec<Value>> {
    for link in ["m0", "d0"] {
        host.command(&["ip", "link", "add", link, "up", "type", "veth"]);
    }
    let static_ipam = json!({"type": "static", "addresses": [{"address": "10.4.0.2/24"}]});
    vec![
        vec![json!({"type": "ptp", "ipMasq": true, "ipam": ipam(1)})],
        vec![json!({"type": "macvlan", "master": "m0", "ipam": ipam(2)})],
        vec![json!({"type": "tap", "ipam": ipam(3)})],
        vec![json!({"type": "host-device", "device": "d0", "ipam": static_ipam})],
        vec![json!({"type": "loopback"})],
        vec![flannel(host)],
    ]
}

/// `flannel`; writes the daemon's subnet file.
pub(crate) fn flannel(host: &Host) -> Value {
    let env = "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.17.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=true\n";
    let file = host.write("subnet.env", env);
    json!({"type": "flannel", "subnetFile": file, "delegate": {"bridge": "cni9", "isDefaultGateway": true}})
}

/// The interface plugins whose link type is missing in some kernels.
pub(crate) fn further_interfaces(host: &Host) -> Vec<Vec<Value>> {
    host.command(&["ip", "link", "add", "m0", "up", "type", "veth"]);
    vec![
        vec![json!({"type": "ipvlan", "master": "m0", "ipam": ipam(1)})],
        vec![json!({"type": "vlan", "master": "m0", "vlanId": 5, "ipam": ipam(2)})],
        vec![
            json!({"type": "dummy", "ipam": ipam(3)}),
            json!({"type": "vrf", "vrfname": "blue"}),
        ],
    ]
}
