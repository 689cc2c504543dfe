//! Errors: code, message and details of both implementations for the same faulty call.

use serde_json::{Value, json};
use testkit::{Invocation, Run, merge};

use crate::difference::Difference;
use crate::differences::*;
use crate::exchange::Judge;
use crate::observe::State;
use crate::side::{Side, peer_is_new};
use crate::site::{self, Site};

/// The plugins of the peer, each with the configuration that the calls change.
fn plugins() -> Vec<Value> {
    let ipam = json!({"type": "host-local", "subnet": "10.1.0.0/24"});
    let old = [
        json!({"type": "bridge", "ipam": ipam}),
        json!({"type": "ptp", "ipam": ipam}),
        json!({"type": "macvlan", "master": "ens1", "ipam": ipam}),
        json!({"type": "ipvlan", "master": "ens1", "ipam": ipam}),
        json!({"type": "vlan", "master": "ens1", "vlanId": 5, "ipam": ipam}),
        json!({"type": "host-device", "device": "ens1", "ipam": ipam}),
        json!({"type": "loopback"}),
        json!({"type": "host-local", "ipam": ipam}),
        json!({"type": "static", "ipam": {"type": "static", "addresses": [{"address": "10.1.0.5/24"}]}}),
        json!({"type": "dhcp", "ipam": {"type": "dhcp"}}),
        json!({"type": "portmap", "runtimeConfig": {"portMappings": [{"hostPort": 80, "containerPort": 80, "protocol": "tcp"}]}}),
        json!({"type": "firewall"}),
        json!({"type": "bandwidth", "ingressRate": 8000, "ingressBurst": 8000}),
        json!({"type": "tuning", "mtu": 1400}),
        json!({"type": "sbr"}),
        json!({"type": "vrf", "vrfname": "blue"}),
    ];
    let new = [
        json!({"type": "dummy", "ipam": ipam}),
        json!({"type": "tap", "ipam": ipam}),
    ];
    let new = new.into_iter().filter(|_| peer_is_new());
    old.into_iter().chain(new).collect()
}

fn named(config: &Value, version: &str) -> Value {
    merge(
        config.clone(),
        &json!({"cniVersion": version, "name": "net"}),
    )
}

/// What a call of one side has printed, as lines.
fn lines(side: Side, run: &Run) -> Vec<String> {
    if run.is_ok() {
        return vec!["succeeds".to_owned()];
    }
    let reply: Value = serde_json::from_slice(&run.stdout).unwrap_or_default();
    let dir = side.dir().display().to_string();
    let member = |key: &str| Some(format!("{key} = {}", reply.get(key)?).replace(&dir, "DIR"));
    ["code", "msg", "details"]
        .into_iter()
        .filter_map(member)
        .collect()
}

/// A faulty call: what it is, and the call by one side.
type Fault<'a> = (String, Box<dyn Fn(Side, &Site) -> Invocation + 'a>);

/// Makes each call by both sides, on one host each.
#[track_caller]
fn compare(what: &str, site: fn() -> Site, faults: &[Fault<'_>], expected: &[&'static Difference]) {
    let replies = |side: Side| {
        let site = site();
        let mut state = State::default();
        for (name, call) in faults {
            state.put(name, lines(side, &call(side, &site).run()));
        }
        state
    };
    let mut judge = Judge::new(expected);
    judge.compare("errors", &replies(Side::Peer), &replies(Side::Ours));
    judge.conclude(what);
}

fn call(side: Side, verb: &str, site: &Site, config: &Value) -> Invocation {
    let name = config["type"].as_str().expect("a type");
    side.call(name, verb, site.container(), config)
}

#[test]
fn environment() {
    let plugins = plugins();
    let mut faults: Vec<Fault<'_>> = Vec::new();
    for plugin in &plugins {
        let name = plugin["type"].as_str().expect("a type");
        let config = named(plugin, "1.0.0");
        let mut add = |what: &str, change: fn(Invocation) -> Invocation| {
            for verb in ["ADD", "DEL", "CHECK"] {
                let config = config.clone();
                let make = move |side: Side, site: &Site| change(call(side, verb, site, &config));
                faults.push((format!("{name}, {verb} {what}"), Box::new(make)));
            }
        };
        add("without CNI_CONTAINERID", |call| {
            call.without_env("CNI_CONTAINERID")
        });
        add("without CNI_NETNS and CNI_PATH", |call| {
            call.without_env("CNI_NETNS")
                .without_env("CNI_PATH")
                .env("CNI_COMMAND", "ADD")
        });
        add("with a bad container ID", |call| call.id("a/b"));
        add("with a bad interface name", |call| call.ifname("a b"));
        add("with a long interface name", |call| {
            call.ifname("abcdefghijklmnop")
        });
        add("with no JSON", |call| call.stdin("frob"));
        add("as an unknown command", |call| {
            call.env("CNI_COMMAND", "FROB")
        });
    }
    compare("environment", site::bare, &faults, &[&JSON_ERRORS]);
}

#[test]
fn networks() {
    let plugins = plugins();
    let mut faults: Vec<Fault<'_>> = Vec::new();
    for plugin in &plugins {
        let name = plugin["type"].as_str().expect("a type");
        for (what, keys) in [
            ("an unknown version", json!({"cniVersion": "9.9.9"})),
            ("no name", json!({"name": null})),
            ("a bad name", json!({"name": "a/b"})),
            ("CHECK in an old version", json!({"cniVersion": "0.3.1"})),
        ] {
            let config = merge(named(plugin, "1.0.0"), &keys);
            let make = move |side: Side, site: &Site| call(side, "CHECK", site, &config);
            faults.push((format!("{name}, {what}"), Box::new(make)));
        }
    }
    compare("networks", site::bare, &faults, &[]);
}

/// Values of keys that are refused by ADD.
const KEYS: &[(&str, &str)] = &[
    ("bridge", r#"{"vlan": 5000}"#),
    ("bridge", r#"{"hairpinMode": true, "promiscMode": true}"#),
    ("bridge", r#"{"bridge": "ens1"}"#),
    ("bridge", r#"{"ipam": {"type": "no-such-plugin"}}"#),
    ("bridge", r#"{"ipam": {"type": "host-local"}}"#),
    (
        "bridge",
        r#"{"ipam": {"type": "host-local", "subnet": "10.1.0.0/31"}}"#,
    ),
    (
        "bridge",
        r#"{"ipam": {"type": "host-local", "subnet": "10.1.0.1/24"}}"#,
    ),
    (
        "bridge",
        r#"{"ipam": {"type": "host-local", "subnet": "frob"}}"#,
    ),
    ("ptp", r#"{"ipam": {}}"#),
    ("macvlan", r#"{"master": "no-such-link"}"#),
    ("macvlan", r#"{"mode": "frob"}"#),
    ("macvlan", r#"{"mtu": 9000}"#),
    ("macvlan", r#"{"mtu": -1}"#),
    ("ipvlan", r#"{"mode": "frob"}"#),
    ("vlan", r#"{"vlanId": 5000}"#),
    ("vlan", r#"{"master": ""}"#),
    ("vlan", r#"{"mtu": 9000}"#),
    ("host-device", r#"{"device": "no-such-link"}"#),
    ("host-device", r#"{"device": ""}"#),
    ("host-local", r#"{"ipam": null}"#),
    (
        "host-local",
        r#"{"ipam": {"type": "host-local", "ranges": [[]]}}"#,
    ),
    (
        "host-local",
        r#"{"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}, {"subnet": "10.1.0.0/25"}]]}}"#,
    ),
    (
        "host-local",
        r#"{"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.2.0.1"}]]}}"#,
    ),
    (
        "host-local",
        r#"{"ipam": {"type": "host-local", "subnet": "10.1.0.0/24", "resolvConf": "/no/such/file"}}"#,
    ),
    ("host-local", r#"{"runtimeConfig": {"ips": ["10.9.0.1"]}}"#),
    ("static", r#"{"ipam": null}"#),
    (
        "static",
        r#"{"ipam": {"type": "static", "addresses": [{"address": "10.1.0.5"}]}}"#,
    ),
    ("static", r#"{"runtimeConfig": {"ips": ["10.9.0.1"]}}"#),
    ("dhcp", r#"{}"#),
    ("portmap", r#"{"prevResult": null}"#),
    ("portmap", r#"{"markMasqBit": 32}"#),
    (
        "portmap",
        r#"{"markMasqBit": 5, "externalSetMarkChain": "X"}"#,
    ),
    (
        "portmap",
        r#"{"runtimeConfig": {"portMappings": [{"hostPort": 0, "containerPort": 80, "protocol": "tcp"}]}}"#,
    ),
    (
        "portmap",
        r#"{"runtimeConfig": {"portMappings": [{"hostPort": 80, "containerPort": -1, "protocol": "tcp"}]}}"#,
    ),
    ("firewall", r#"{"prevResult": null}"#),
    ("firewall", r#"{"ingressPolicy": "frob"}"#),
    ("bandwidth", r#"{"prevResult": null}"#),
    (
        "bandwidth",
        r#"{"ingressRate": 8000, "ingressBurst": null}"#,
    ),
    (
        "bandwidth",
        r#"{"ingressRate": 8000, "ingressBurst": 99999999999}"#,
    ),
    ("tuning", r#"{"prevResult": null}"#),
    ("tuning", r#"{"sysctl": {"kernel.hostname": "x"}}"#),
    ("tuning", r#"{"mac": "frob"}"#),
    ("tuning", r#"{"sysctl": {"net.no.such.key": "1"}}"#),
    ("sbr", r#"{"prevResult": null}"#),
    ("vrf", r#"{"prevResult": null}"#),
    ("vrf", r#"{"vrfname": ""}"#),
];

/// The same of keys that upstream's release 1.1.1 does not have.
const NEW_KEYS: &[(&str, &str)] = &[
    ("bridge", r#"{"vlanTrunk": [{"minID": 3}]}"#),
    ("bridge", r#"{"vlanTrunk": [{"id": 5000}]}"#),
    ("bridge", r#"{"vlanTrunk": [{"minID": 9, "maxID": 3}]}"#),
    ("bridge", r#"{"disableContainerInterface": true}"#),
    ("dummy", r#"{"ipam": {}}"#),
    ("tap", r#"{"mac": "frob"}"#),
    ("tap", r#"{"bridge": "no-such-link"}"#),
];

#[test]
fn keys() {
    let plugins = plugins();
    let mut faults: Vec<Fault<'_>> = Vec::new();
    let new = NEW_KEYS.iter().filter(|_| peer_is_new());
    for (number, (name, keys)) in KEYS.iter().chain(new).enumerate() {
        let plugin = plugins
            .iter()
            .find(|plugin| plugin["type"] == **name)
            .expect("a plugin");
        let keys: Value = serde_json::from_str(keys).expect("keys in JSON");
        let config = merge(named(plugin, "1.0.0"), &keys);
        let needs_previous =
            ["portmap", "firewall", "bandwidth", "tuning", "sbr", "vrf"].contains(name);
        let has_none = keys.get("prevResult").is_some();
        let make = move |side: Side, site: &Site| {
            let mut config = config.clone();
            if needs_previous && !has_none {
                let previous = site.previous.clone().expect("a previous result");
                config["prevResult"] = merge(previous, &json!({"cniVersion": "1.0.0"}));
            }
            let call = call(side, "ADD", site, &config);
            // The container of the site has eth0 already, and upstream leaves interfaces behind.
            if needs_previous {
                call
            } else {
                call.ifname(&format!("net{number}"))
            }
        };
        faults.push((format!("{name}: {keys}"), Box::new(make)));
    }
    let expected = [
        &DETAILS,
        &FULL_STOPS,
        &LINK_NAMED,
        &KEY_NAMED,
        &SYSCTL_NAMED,
        &SYSCTL_SLASHES,
        &TAP_ADDRESS,
    ];
    compare("keys", site::bridged, &faults, &expected);
}
