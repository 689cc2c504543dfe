//! GC of whole networks. A runtime in Go without valid attachments writes `null` for their list.

use blackbox::state;
use serde_json::{Value, json};
use testkit::{Container, Host, Plugin, merge};

const VALID: &str = "cni.dev/valid-attachments";
/// The key of the specification's first 1.1.0 text.
const DEPRECATED: &str = "cni.dev/attachments";

/// The configurations of a network whose plugins all keep something on the host.
fn networks() -> Vec<Vec<Value>> {
    let backends = ["iptables", "nftables"].map(|backend| {
        vec![
            json!({"type": "bridge", "isGateway": true, "ipMasq": true, "ipMasqBackend": backend, "ipam": ipam()}),
            json!({
                "type": "portmap", "backend": backend, "capabilities": {"portMappings": true},
                "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}
            }),
            json!({"type": "firewall", "backend": backend}),
            json!({"type": "bandwidth", "ingressRate": 5_000_000, "ingressBurst": 500_000,
                   "egressRate": 5_000_000, "egressBurst": 500_000}),
            json!({"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}}),
        ]
    });
    let others = [
        vec![
            json!({"type": "ptp", "ipMasq": true, "ipam": ipam()}),
            json!({"type": "sbr"}),
        ],
        vec![json!({"type": "flannel", "subnetFile": "/run/subnet.env"})],
    ];
    backends.into_iter().chain(others).collect()
}

fn ipam() -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": "10.60.0.0/24"}], [{"subnet": "fd00:60::/64"}]]})
}

fn add(network: &[Value], container: &Container) {
    let mut result = None;
    for config in network {
        let mut config = named(config);
        if let Some(result) = result {
            config["prevResult"] = result;
        }
        result = Some(plugin(&config).add(container, &config).expect_ok().json());
    }
}

fn gc(network: &[Value], keys: &Value) {
    for config in network {
        let mut config = named(config);
        for (key, value) in keys.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        plugin(&config).gc(&config).expect_ok();
    }
}

fn plugin(config: &Value) -> Plugin {
    Plugin::new(config["type"].as_str().unwrap_or_default())
}

fn named(config: &Value) -> Value {
    merge(
        config.clone(),
        &json!({"cniVersion": "1.1.0", "name": "net"}),
    )
}

#[test]
fn null_means_that_no_attachment_is_valid() {
    let subnets = "FLANNEL_NETWORK=10.60.0.0/16\nFLANNEL_SUBNET=10.60.0.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n";
    for network in networks() {
        for keys in [
            json!({VALID: null, DEPRECATED: null}),
            json!({VALID: null}),
            json!({DEPRECATED: null}),
        ] {
            let host = Host::new();
            std::fs::write("/run/subnet.env", subnets).expect("the daemon's file");
            let container = host.container("c1");
            add(&network, &container);
            let attached = state::of(&host);
            gc(&network, &json!({}));
            attached.assert_same(&state::of(&host));

            gc(&network, &keys);
            let collected = state::of(&host);
            assert!(state::leases("net").is_empty(), "{network:?}, {keys}");
            gc(&network, &json!({VALID: []}));
            collected.assert_same(&state::of(&host));
        }
    }
}
