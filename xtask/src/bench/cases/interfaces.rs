//! The plugins that make, or take, one interface: IPv4 by host-local, since an IPv6 address of a link that reaches
//! beyond the host is waited for by all alike.

use serde_json::{Value, json};
use testkit::{Host, Node};

use super::{Case, Floor, Side, Step, alone, lease, new, old, prepare_leases, words};
use crate::Outcome;

impl Side {
    /// The link to stand on, or the device to be moved.
    fn link(&self) -> String {
        format!("up-{}", self.tag)
    }

    fn config(&self, plugin: &str, keys: Value) -> Value {
        let mut config = json!({
            "cniVersion": "1.0.0", "name": self.network(), "type": plugin, "ipam": self.ipam(false)
        });
        if let (Value::Object(config), Value::Object(keys)) = (&mut config, keys) {
            config.extend(keys);
        }
        config
    }

    /// The floor's ADD: `operation` with the addresses, and the lease.
    fn plug(&self, operation: &str, rest: &[&str]) -> Vec<Vec<String>> {
        let mut attach = words(&[operation, &self.netns()], self.addresses(false));
        attach.extend(rest.iter().map(|word| (*word).to_owned()));
        vec![attach, lease("lease-add", self, false)]
    }

    fn unplug(&self, operation: &str, rest: &[&str]) -> Vec<Vec<String>> {
        let rest = rest.iter().map(|word| (*word).to_owned()).collect();
        let detach = words(&[operation, &self.netns()], rest);
        vec![detach, lease("lease-del", self, false)]
    }
}

fn steps(add: Floor, del: Floor) -> Vec<Step> {
    vec![
        old("ADD", Some(add)),
        old("CHECK", None),
        old("DEL", Some(del)),
        new("STATUS"),
        new("GC"),
    ]
}

fn prepare_link(host: &Host, side: &Side) -> Outcome {
    prepare_leases(host, side)?;
    let (link, end) = (side.link(), format!("end-{}", side.tag));
    // The case before may have made it.
    if host.link(&link).is_some() {
        return Ok(());
    }
    let veth = [
        "ip", "link", "add", &link, "type", "veth", "peer", "name", &end,
    ];
    host.try_command(&veth)?;
    for link in [&link, &end] {
        host.try_command(&["ip", "link", "set", link, "up"])?;
    }
    Ok(())
}

fn delete(side: &Side) -> Vec<Vec<String>> {
    side.unplug("link-del", &[])
}

/// A case of `plugin` by its own name, and what differs.
fn case(plugin: &'static str, config: fn(&Side) -> Value, steps: Vec<Step>) -> Case {
    Case {
        name: plugin,
        needs: &[],
        chain: alone(plugin, config),
        prepare: prepare_leases,
        steps,
    }
}

pub(super) fn cases() -> Vec<Case> {
    let ptp = case(
        "ptp",
        |side| side.config("ptp", json!({})),
        steps(|side| side.plug("ptp-add", &["veth-floor"]), delete),
    );
    let macvlan = case(
        "macvlan",
        |side| side.config("macvlan", json!({"master": side.link(), "mode": "bridge"})),
        steps(
            |side| side.plug("link-add", &["macvlan", &side.link()]),
            delete,
        ),
    );
    let ipvlan = case(
        "ipvlan",
        |side| side.config("ipvlan", json!({"master": side.link(), "mode": "l2"})),
        steps(
            |side| side.plug("link-add", &["ipvlan", &side.link()]),
            delete,
        ),
    );
    let vlan = case(
        "vlan",
        |side| side.config("vlan", json!({"master": side.link(), "vlanId": 7})),
        steps(
            |side| side.plug("link-add", &["vlan", &side.link()]),
            delete,
        ),
    );
    let dummy = case(
        "dummy",
        |side| side.config("dummy", json!({})),
        steps(|side| side.plug("link-add", &["dummy"]), delete),
    );
    let tap = case(
        "tap",
        |side| side.config("tap", json!({})),
        steps(|side| side.plug("tap-add", &[]), delete),
    );
    let host_device = case(
        "host-device",
        |side| side.config("host-device", json!({"device": side.link()})),
        steps(
            |side| side.plug("device-add", &[&side.link()]),
            |side| side.unplug("device-del", &[&side.link()]),
        ),
    );
    let fixed = case(
        "static",
        |side| {
            let ipam = json!({
                "type": "static",
                "addresses": [{"address": "10.9.0.2/24", "gateway": "10.9.0.1"}],
                "routes": [{"dst": "0.0.0.0/0"}]
            });
            json!({"cniVersion": "1.0.0", "name": side.network(), "type": "x", "ipam": ipam})
        },
        steps(|_| Vec::new(), |_| Vec::new()),
    );
    let on_a_link = |needs, case| Case {
        needs,
        prepare: prepare_link,
        ..case
    };
    vec![
        fixed,
        ptp,
        on_a_link(&[], macvlan),
        on_a_link(&[], host_device),
        tap,
        on_a_link(&["vlan"], vlan),
        on_a_link(&["ipvlan"], ipvlan),
        Case {
            needs: &["dummy"],
            ..dummy
        },
    ]
}
