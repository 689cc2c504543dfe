//! What is measured: a table of cases. A plugin more is a case more.

mod chained;
pub(crate) mod filters;
mod interfaces;

use std::fs;

use serde_json::{Value, json};
use testkit::{Container, Host, Node};

use crate::Outcome;

/// One of those compared, with a place of its own in the shared host.
pub(crate) struct Side {
    /// `ours`, `peer` or `floor`; part of the names of what is made.
    pub(crate) tag: &'static str,
    /// A number that makes addresses differ.
    pub(crate) number: u8,
    /// The container that is plugged in and out.
    pub(crate) container: Container,
}

impl Side {
    /// The network's name.
    pub(crate) fn network(&self) -> String {
        format!("net-{}", self.tag)
    }

    /// The bridge's name.
    pub(crate) fn bridge(&self) -> String {
        format!("br-{}", self.tag)
    }

    /// host-local's directory of the network.
    pub(crate) fn leases(&self) -> String {
        format!("/var/lib/cni/networks/{}", self.network())
    }

    fn netns(&self) -> String {
        self.container.netns().display().to_string()
    }

    /// host-local's configuration of one range, or of two.
    fn ipam(&self, dual_stack: bool) -> Value {
        let n = self.number;
        let mut ranges = vec![json!([{"subnet": format!("10.{n}.0.0/16")}])];
        if dual_stack {
            ranges.push(json!([{"subnet": format!("fd00:{n}::/64")}]));
        }
        json!({"type": "host-local", "ranges": ranges})
    }

    /// Address and gateway of each family, for the floor.
    fn addresses(&self, dual_stack: bool) -> Vec<String> {
        let n = self.number;
        let mut words = vec![format!("10.{n}.0.2/16"), format!("10.{n}.0.1")];
        if dual_stack {
            words.extend([format!("fd00:{n}::2/64"), format!("fd00:{n}::1")]);
        }
        words
    }

    fn leased(&self, dual_stack: bool) -> Vec<String> {
        let addresses = self.addresses(dual_stack);
        addresses
            .iter()
            .step_by(2)
            .map(|a| a.split('/').next().unwrap_or_default().to_owned())
            .collect()
    }
}

/// Makes the command lines of the `floor` program.
type Floor = fn(&Side) -> Vec<Vec<String>>;

/// A call of a verb, in the order of the case.
pub(crate) struct Step {
    pub(crate) verb: &'static str,
    /// Whether older peers have this verb.
    pub(crate) peer: bool,
    /// The configuration's version, where it is not the case's.
    pub(crate) version: Option<&'static str>,
    /// The same kernel operations issued bare: commands of the `floor` program.
    pub(crate) floor: Option<Floor>,
    /// The number of the floor's command that is the deletion of the veth pair.
    pub(crate) veth_delete: bool,
}

/// A plugin in one configuration, with verbs called one after the other, over and over.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What the kernel must have, see [`testkit::needs`].
    pub(crate) needs: &'static [&'static str],
    /// What is called one after the other, backwards for DEL; mostly a single plugin.
    pub(crate) chain: Vec<ChainLink>,
    /// What must be there first, on the side of its own.
    pub(crate) prepare: fn(&Host, &Side) -> Outcome,
    pub(crate) steps: Vec<Step>,
}

/// One plugin of a chain.
pub(crate) struct ChainLink {
    pub(crate) plugin: &'static str,
    /// The configuration; `cniVersion` is one that all peers have.
    pub(crate) config: fn(&Side) -> Value,
}

/// A chain of one.
fn alone(plugin: &'static str, config: fn(&Side) -> Value) -> Vec<ChainLink> {
    vec![ChainLink { plugin, config }]
}

/// A verb that every release has had.
fn old(verb: &'static str, floor: Option<Floor>) -> Step {
    Step {
        verb,
        peer: true,
        version: None,
        floor,
        veth_delete: false,
    }
}

/// A verb of version 1.1.0, which the peer may be too old for.
fn new(verb: &'static str) -> Step {
    Step {
        verb,
        peer: false,
        version: Some("1.1.0"),
        floor: None,
        veth_delete: false,
    }
}

fn words(first: &[&str], rest: Vec<String>) -> Vec<String> {
    first
        .iter()
        .map(|word| (*word).to_owned())
        .chain(rest)
        .collect()
}

fn lease(operation: &str, side: &Side, dual_stack: bool) -> Vec<String> {
    words(&[operation, &side.leases()], side.leased(dual_stack))
}

fn bridge_add(side: &Side, dual_stack: bool) -> Vec<Vec<String>> {
    let plug = words(
        &["bridge-add", &side.netns(), &side.bridge(), "veth-floor"],
        side.addresses(dual_stack),
    );
    vec![plug, lease("lease-add", side, dual_stack)]
}

fn bridge_check(side: &Side, dual_stack: bool) -> Vec<Vec<String>> {
    vec![
        words(&["bridge-check", &side.netns(), &side.bridge()], Vec::new()),
        lease("lease-check", side, dual_stack),
    ]
}

fn bridge_del(side: &Side, dual_stack: bool) -> Vec<Vec<String>> {
    vec![
        words(&["veth-del", &side.netns()], Vec::new()),
        lease("lease-del", side, dual_stack),
    ]
}

fn bridge_config(side: &Side, dual_stack: bool) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": side.network(), "type": "bridge", "bridge": side.bridge(),
        "isGateway": true, "isDefaultGateway": true, "ipam": side.ipam(dual_stack)
    })
}

fn host_local_config(side: &Side) -> Value {
    json!({"cniVersion": "1.0.0", "name": side.network(), "type": "bridge", "ipam": side.ipam(false)})
}

fn host_local_steps(with_gc: bool) -> Vec<Step> {
    let mut steps = vec![
        old("ADD", Some(|side| vec![lease("lease-add", side, false)])),
        old(
            "CHECK",
            Some(|side| vec![lease("lease-check", side, false)]),
        ),
        old("DEL", Some(|side| vec![lease("lease-del", side, false)])),
        new("STATUS"),
    ];
    // Where addresses are held by nobody who could be named, GC would free them.
    steps.extend(with_gc.then(|| new("GC")));
    steps
}

fn nothing(_: &Host, _: &Side) -> Outcome {
    Ok(())
}

/// The floor's bridge and directory exist before its first ADD, as ours and the peer's do after the warm-up.
fn prepare_bridge(host: &Host, side: &Side) -> Outcome {
    prepare_leases(host, side)?;
    if side.tag != "floor" {
        return Ok(());
    }
    let bridge = side.bridge();
    host.try_command(&["ip", "link", "add", &bridge, "type", "bridge"])?;
    for gateway in [
        format!("10.{}.0.1/16", side.number),
        format!("fd00:{}::1/64", side.number),
    ] {
        let family = if gateway.contains(':') { "-6" } else { "-4" };
        host.try_command(&["ip", family, "addr", "add", &gateway, "dev", &bridge])?;
    }
    host.try_command(&["ip", "link", "set", &bridge, "up"])
        .map(drop)
}

fn prepare_leases(_: &Host, side: &Side) -> Outcome {
    fs::create_dir_all(side.leases()).map_err(|err| format!("{}: {err}", side.leases()))
}

/// The number of addresses that are taken in the crowded case.
const CROWD: u32 = 20_000;

/// A directory as 20,000 containers leave it.
fn prepare_crowd(host: &Host, side: &Side) -> Outcome {
    prepare_leases(host, side)?;
    let leases = side.leases();
    // From .0.3 on: .0.1 is the gateway, and the floor takes .0.2.
    for n in 3..CROWD + 3 {
        let path = format!("{leases}/10.{}.{}.{}", side.number, n / 256, n % 256);
        fs::write(&path, format!("crowd-{n}\r\neth0")).map_err(|err| format!("{path}: {err}"))?;
    }
    let last = format!(
        "10.{}.{}.{}",
        side.number,
        (CROWD + 2) / 256,
        (CROWD + 2) % 256
    );
    fs::write(format!("{leases}/last_reserved_ip.0"), last)
        .map_err(|err| format!("{leases}: {err}"))
}

/// All cases. Names are what the targets and the command line refer to.
pub(crate) fn all() -> Vec<Case> {
    let bridge_steps = |add: Floor, check: Floor, del: Floor| {
        let del = Step {
            veth_delete: true,
            ..old("DEL", Some(del))
        };
        vec![
            old("ADD", Some(add)),
            old("CHECK", Some(check)),
            del,
            new("STATUS"),
            new("GC"),
        ]
    };
    let mut cases = vec![
        Case {
            name: "loopback",
            needs: &[],
            chain: alone(
                "loopback",
                |side| json!({"cniVersion": "1.0.0", "name": side.network(), "type": "loopback"}),
            ),
            prepare: nothing,
            steps: vec![
                old("VERSION", Some(|_| Vec::new())),
                old(
                    "ADD",
                    Some(|side| vec![words(&["loopback-add", &side.netns()], Vec::new())]),
                ),
                old(
                    "CHECK",
                    Some(|side| vec![words(&["loopback-check", &side.netns()], Vec::new())]),
                ),
                old(
                    "DEL",
                    Some(|side| vec![words(&["loopback-del", &side.netns()], Vec::new())]),
                ),
                new("STATUS"),
                new("GC"),
            ],
        },
        Case {
            name: "host-local",
            needs: &[],
            chain: alone("host-local", host_local_config),
            prepare: prepare_leases,
            steps: host_local_steps(true),
        },
        Case {
            name: "host-local, 20,000 taken",
            needs: &[],
            chain: alone("host-local", host_local_config),
            prepare: prepare_crowd,
            steps: host_local_steps(false),
        },
        Case {
            name: "bridge+host-local IPv4",
            needs: &[],
            chain: alone("bridge", |side| bridge_config(side, false)),
            prepare: prepare_bridge,
            steps: bridge_steps(
                |side| bridge_add(side, false),
                |side| bridge_check(side, false),
                |side| bridge_del(side, false),
            ),
        },
        Case {
            name: "bridge+host-local dual-stack",
            needs: &[],
            chain: alone("bridge", |side| bridge_config(side, true)),
            prepare: prepare_bridge,
            steps: bridge_steps(
                |side| bridge_add(side, true),
                |side| bridge_check(side, true),
                |side| bridge_del(side, true),
            ),
        },
    ];
    cases.extend(interfaces::cases());
    cases.extend(chained::cases());
    cases.extend(filters::cases());
    cases
}
