//! Packet filters, in both forms, and the chain that Kubernetes runs. The peer's package has iptables only: what
//! ours does with nf_tables is compared with that.

use serde_json::{Value, json};
use testkit::Host;

use super::{
    Case, ChainLink, Floor, Side, alone, bridge_add, bridge_config, bridge_del, new, old,
    prepare_bridge, words,
};
use crate::Outcome;

/// The verbs that are compared. What is nftables' has a floor; what iptables does is upstream's form to begin with.
fn steps(chain: &[ChainLink], add: Option<Floor>, del: Option<Floor>) -> Vec<super::Step> {
    let mut check = old("CHECK", None);
    // The peer's looks for IPv6 where there is none.
    check.peer = chain.iter().all(|link| link.plugin != "portmap");
    vec![
        old("ADD", add),
        check,
        old("DEL", del),
        new("STATUS"),
        new("GC"),
    ]
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

    /// The host's port that is mapped.
    fn port(&self) -> u32 {
        8000 + u32::from(self.number)
    }

    /// A command of the floor that writes its rules down, or reads which they are.
    fn rules(operation: &str, rest: Vec<String>) -> Vec<String> {
        let note = match operation.starts_with("portmap") {
            true => "/run/floor-portmap",
            false => "/run/floor-masquerade",
        };
        words(&[operation, note], rest)
    }

    /// The container's address, for the floor.
    fn address(&self) -> String {
        self.addresses(false).swap_remove(0)
    }

    pub(crate) fn masquerade(&self, backend: &'static str) -> Value {
        let mut config = bridge_config(self, false);
        config["ipMasq"] = true.into();
        config["ipMasqBackend"] = self.backend(backend).into();
        config
    }

    pub(crate) fn portmap(&self, backend: &'static str) -> Value {
        let mappings = json!([{"hostPort": self.port(), "containerPort": 80, "protocol": "tcp"}]);
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
    case_with_floor(name, chain, None, None)
}

fn case_with_floor(
    name: &'static str,
    chain: Vec<ChainLink>,
    add: Option<Floor>,
    del: Option<Floor>,
) -> Case {
    Case {
        name,
        needs: &[],
        steps: steps(&chain, add, del),
        chain,
        prepare: |host: &Host, side: &Side| -> Outcome { prepare_bridge(host, side) },
    }
}

/// A bridge network with masquerade, beside the peer's if it is by iptables.
pub(crate) fn masquerade(iptables: bool) -> Case {
    if iptables {
        return case(
            "bridge+ipMasq iptables",
            alone("bridge", |side| side.masquerade("iptables")),
        );
    }
    case_with_floor(
        "bridge+ipMasq nftables",
        alone("bridge", |side| side.masquerade("nftables")),
        Some(|side| {
            let mut commands = bridge_add(side, false);
            commands.push(Side::rules("masquerade-add", vec![side.address()]));
            commands
        }),
        Some(|side| {
            let mut commands = bridge_del(side, false);
            commands.push(Side::rules("masquerade-del", Vec::new()));
            commands
        }),
    )
}

/// A port of the host that leads to the container.
pub(crate) fn portmap(iptables: bool) -> Case {
    if iptables {
        return case(
            "portmap iptables",
            alone("portmap", |side| side.portmap("iptables")),
        );
    }
    case_with_floor(
        "portmap nftables",
        alone("portmap", |side| side.portmap("nftables")),
        Some(|side| {
            let rest = vec![side.address(), side.port().to_string()];
            vec![Side::rules("portmap-add", rest)]
        }),
        Some(|_| vec![Side::rules("portmap-del", Vec::new())]),
    )
}

/// The same with the mappings in maps.
pub(crate) fn portmap_by_map() -> Case {
    case(
        "portmap by map",
        alone("portmap", |side| {
            let mut config = side.portmap("nftables");
            config["rules"] = "map".into();
            config
        }),
    )
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
        masquerade(true),
        masquerade(false),
        portmap(true),
        portmap(false),
        portmap_by_map(),
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
