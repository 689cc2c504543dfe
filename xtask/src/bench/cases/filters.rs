//! Packet filters, in both forms, and the chain that Kubernetes runs. The peer's package has iptables only: what
//! ours does with nf_tables is compared with that.

use serde_json::{Value, json};
use testkit::Host;

use super::{Case, ChainLink, Side, alone, bridge_config, new, old, prepare_bridge};
use crate::Outcome;

/// The verbs that are compared; floors there are none, as upstream's rules are what is to be made.
fn steps() -> Vec<super::Step> {
    let mut steps: Vec<_> = ["ADD", "CHECK", "DEL"].map(|verb| old(verb, None)).into();
    steps.extend(["STATUS", "GC"].map(new));
    steps
}

impl Side {
    /// `backend`, as far as this side has it.
    fn backend(&self, backend: &'static str) -> &'static str {
        if self.tag == "peer" {
            "iptables"
        } else {
            backend
        }
    }

    /// What the plugin before it would have answered.
    fn previous(&self) -> Value {
        let n = self.number;
        json!({
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "eth0", "sandbox": self.netns()}],
            "ips": [{"address": format!("10.{n}.0.2/16"), "gateway": format!("10.{n}.0.1"), "interface": 0}],
            "dns": {}
        })
    }

    fn chained(&self, plugin: &str, keys: Value) -> Value {
        let mut config = json!({
            "cniVersion": "1.0.0", "name": self.network(), "type": plugin, "prevResult": self.previous()
        });
        if let (Value::Object(config), Value::Object(keys)) = (&mut config, keys) {
            config.extend(keys);
        }
        config
    }

    fn masquerade(&self, backend: &'static str) -> Value {
        let mut config = bridge_config(self, false);
        config["ipMasq"] = true.into();
        config["ipMasqBackend"] = self.backend(backend).into();
        config
    }

    fn portmap(&self, backend: &'static str) -> Value {
        let port = 8000 + u32::from(self.number);
        let mappings = json!([{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]);
        let keys = json!({
            "backend": self.backend(backend), "capabilities": {"portMappings": true},
            "runtimeConfig": {"portMappings": mappings}
        });
        self.chained("portmap", keys)
    }

    fn firewall(&self, backend: &'static str) -> Value {
        self.chained("firewall", json!({"backend": self.backend(backend)}))
    }

    fn bandwidth(&self) -> Value {
        let keys = json!({
            "capabilities": {"bandwidth": true},
            "runtimeConfig": {"bandwidth": {
                "ingressRate": 100_000_000, "ingressBurst": 10_000_000,
                "egressRate": 100_000_000, "egressBurst": 10_000_000
            }}
        });
        self.chained("bandwidth", keys)
    }

    fn tuning(&self) -> Value {
        self.chained("tuning", json!({"sysctl": {"net.core.somaxconn": "500"}}))
    }
}

fn case(name: &'static str, chain: Vec<ChainLink>) -> Case {
    Case {
        name,
        needs: &[],
        chain,
        prepare: |host: &Host, side: &Side| -> Outcome { prepare_bridge(host, side) },
        steps: steps(),
    }
}

pub(super) fn cases() -> Vec<Case> {
    let chain = |portmap, firewall, masquerade| {
        vec![
            ChainLink {
                plugin: "bridge",
                config: masquerade,
            },
            ChainLink {
                plugin: "portmap",
                config: portmap,
            },
            ChainLink {
                plugin: "bandwidth",
                config: Side::bandwidth,
            },
            ChainLink {
                plugin: "firewall",
                config: firewall,
            },
            ChainLink {
                plugin: "tuning",
                config: Side::tuning,
            },
        ]
    };
    vec![
        case(
            "bridge+ipMasq iptables",
            alone("bridge", |side| side.masquerade("iptables")),
        ),
        case(
            "bridge+ipMasq nftables",
            alone("bridge", |side| side.masquerade("nftables")),
        ),
        case(
            "portmap iptables",
            alone("portmap", |side| side.portmap("iptables")),
        ),
        case(
            "portmap nftables",
            alone("portmap", |side| side.portmap("nftables")),
        ),
        case(
            "firewall iptables",
            alone("firewall", |side| side.firewall("iptables")),
        ),
        case(
            "firewall nftables",
            alone("firewall", |side| side.firewall("nftables")),
        ),
        case(
            "Kubernetes chain iptables",
            chain(
                |side| side.portmap("iptables"),
                |side| side.firewall("iptables"),
                |side| side.masquerade("iptables"),
            ),
        ),
        case(
            "Kubernetes chain nftables",
            chain(
                |side| side.portmap("nftables"),
                |side| side.firewall("nftables"),
                |side| side.masquerade("nftables"),
            ),
        ),
    ]
}
