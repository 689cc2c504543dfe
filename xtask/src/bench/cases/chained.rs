//! Plugins that change an interface that others have made, each alone. bandwidth is measured in the chain of
//! Kubernetes only, as the peer's leaves the interface shaped, for others to remove.

use serde_json::{Value, json};
use testkit::{Host, Node};

use super::{Case, Side, alone, new, old};
use crate::Outcome;

impl Side {
    /// The host's end of the container's `eth0`.
    fn wire(&self) -> String {
        format!("wire-{}", self.tag)
    }

    /// A configuration behind a plugin that has made [`prepare_wire`]'s interface.
    fn behind(&self, plugin: &str, keys: Value) -> Value {
        let n = self.number;
        let mut config = json!({
            "cniVersion": "1.0.0", "name": self.network(), "type": plugin,
            "prevResult": {
                "cniVersion": "1.0.0",
                "interfaces": [{"name": self.wire()}, {"name": "eth0", "sandbox": self.netns()}],
                "ips": [{"address": format!("10.{n}.0.2/16"), "gateway": format!("10.{n}.0.1"), "interface": 1}],
                "routes": [{"dst": "0.0.0.0/0"}],
                "dns": {}
            }
        });
        if let (Value::Object(config), Value::Object(keys)) = (&mut config, keys) {
            config.extend(keys);
        }
        config
    }
}

/// A container as it leaves `bridge` or `ptp`: a wire to the host, an address, a default route.
fn prepare_wire(host: &Host, side: &Side) -> Outcome {
    let (wire, netns, n) = (side.wire(), side.container.id(), side.number);
    // The case before had it in a container that is gone.
    if host.link(&wire).is_some() {
        host.try_command(&["ip", "link", "del", &wire])?;
    }
    let veth = [
        "ip", "link", "add", &wire, "type", "veth", "peer", "name", "eth0", "netns", netns,
    ];
    host.try_command(&veth)?;
    host.try_command(&["ip", "link", "set", &wire, "up"])?;
    let address = format!("10.{n}.0.2/16");
    let gateway = format!("10.{n}.0.1");
    for command in [
        ["ip", "link", "set", "eth0", "up"].as_slice(),
        &["ip", "addr", "add", &address, "dev", "eth0"],
        &["ip", "route", "add", "default", "via", &gateway],
    ] {
        side.container.try_command(command)?;
    }
    Ok(())
}

fn case(plugin: &'static str, config: fn(&Side) -> Value) -> Case {
    Case {
        name: plugin,
        needs: &[],
        chain: alone(plugin, config),
        prepare: prepare_wire,
        steps: vec![
            old("ADD", None),
            old("CHECK", None),
            old("DEL", None),
            new("STATUS"),
            new("GC"),
        ],
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut sbr = case("sbr", |side| side.behind("sbr", json!({})));
    // The peer's leaves its routes to go with the interface, and has no CHECK.
    sbr.steps.iter_mut().for_each(|step| step.peer = false);
    vec![
        case("tuning", |side| {
            let keys =
                json!({"sysctl": {"net.core.somaxconn": "500"}, "mtu": 1400, "promisc": true});
            side.behind("tuning", keys)
        }),
        sbr,
        Case {
            needs: &["vrf"],
            ..case("vrf", |side| side.behind("vrf", json!({"vrfname": "blue"})))
        },
    ]
}
