//! The JSON Schemas in `Documentation/schemas` describe exactly what the plugins read.

mod schema;

use std::collections::BTreeSet;

use cni_core::skel::{self, Env};
use cni_core::{Plugin, json};
use schema::{Property, Schemas};
use serde_json::{Value, json};
use testkit::{Container, Host};

const PLUGINS: [&dyn Plugin; 19] = [
    &cni_bandwidth::Bandwidth,
    &cni_bridge::Bridge,
    &cni_dhcp::Dhcp,
    &cni_dummy::Dummy,
    &cni_firewall::Firewall,
    &cni_flannel::Flannel,
    &cni_host_device::HostDevice,
    &cni_host_local::HostLocal,
    &cni_ipvlan::Ipvlan,
    &cni_loopback::Loopback,
    &cni_macvlan::Macvlan,
    &cni_portmap::Portmap,
    &cni_ptp::Ptp,
    &cni_sbr::Sbr,
    &cni_static::Static,
    &cni_tap::Tap,
    &cni_tuning::Tuning,
    &cni_vlan::Vlan,
    &cni_vrf::Vrf,
];

/// Runs a verb and returns the text of its error, `None` if it succeeds. It finds no other
/// plugin, so that interface plugins fail behind the validation of the configuration.
fn call(plugin: &dyn Plugin, verb: &str, container: &Container, config: &Value) -> Option<String> {
    let env = Env {
        command: verb.into(),
        container_id: "c1".into(),
        netns: container.netns().into(),
        if_name: "eth0".into(),
        path: "/nowhere/plugins".into(),
        ..Env::default()
    };
    let outcome = skel::run(plugin, &env, config.to_string().as_bytes());
    if outcome.exit == 0 {
        return None;
    }
    let error: Value = serde_json::from_str(&outcome.stdout).expect("an error object");
    Some(error.to_string())
}

/// The verb that validates the configuration and changes least.
fn validating_verb(plugin: &dyn Plugin) -> &'static str {
    match plugin.name() {
        // ADD hands the configuration to the daemon, or reserves an address.
        "dhcp" | "host-local" => "STATUS",
        _ => "ADD",
    }
}

#[test]
fn every_plugin_has_a_schema() {
    let schemas = Schemas::load();
    let mut expected: BTreeSet<&str> = PLUGINS.iter().map(|plugin| plugin.name()).collect();
    let directories = schema::plugin_directories();
    assert_eq!(
        expected,
        directories.iter().map(String::as_str).collect(),
        "PLUGINS"
    );
    expected.extend(["common", "network-list", "plugin"]);
    assert_eq!(schemas.names(), expected);
    let by_type = schemas.types_of_plugin();
    let ipam = ["dhcp", "host-local", "static"];
    let expected: BTreeSet<&str> = PLUGINS
        .iter()
        .map(|plugin| plugin.name())
        .filter(|name| !ipam.contains(name))
        .collect();
    assert_eq!(by_type, expected, "plugin.json");
}

/// A key that a configuration type reads and the schema lacks, or the reverse, fails here.
#[test]
fn schemas_have_the_keys_that_plugins_read() {
    let host = Host::new();
    let container = host.container("c1");
    let schemas = Schemas::load();
    let mut wrong = Vec::new();
    for plugin in PLUGINS {
        let name = plugin.name();
        let mut read = BTreeSet::new();
        for config in schemas.deep_examples(name) {
            let _ = json::take_keys_read();
            for verb in ["ADD", "CHECK", "GC", "STATUS", "DEL"] {
                call(plugin, verb, &container, &config);
            }
            read.extend(json::take_keys_read());
        }
        let described = schemas.keys(name);
        let lower = |(path, key): &(String, String)| (path.to_lowercase(), key.to_lowercase());
        let missing: Vec<_> = read
            .iter()
            .filter(|(path, key)| !schemas.has_key(name, path, key))
            .filter(|(_, key)| !(name == "host-device" && LINK_OPTIONS.contains(&key.as_str())))
            .collect();
        if !missing.is_empty() {
            wrong.push(format!("{name} reads {missing:?}, which its schema lacks"));
        }
        let read: BTreeSet<_> = read.iter().map(lower).collect();
        let ignored: Vec<_> = described
            .iter()
            .filter(|key| !read.contains(&lower(key)))
            .collect();
        if !ignored.is_empty() {
            wrong.push(format!(
                "the schema of {name} has {ignored:?}, which it does not read"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What host-device decodes, as all interface plugins do, and does not use.
const LINK_OPTIONS: [&str; 4] = ["txQueueLen", "numQueues", "gsoMaxSize", "groMaxSize"];

/// Keys with values that a schema refuses and the plugin does not, and the reason.
const TOLERATED: [(&str, &str, &str); 4] = [
    (
        "firewall",
        "/backend",
        "an unknown one is a warning and the default, as in upstream",
    ),
    (
        "ipvlan",
        "/mtu",
        "compared with that of the lower link, which does not exist here",
    ),
    ("macvlan", "/mtu", "likewise"),
    ("vlan", "/mtu", "likewise"),
];

/// Parts of errors about valid values that this kernel or device does not support.
const UNSUPPORTED: [&str; 4] = [
    "the kernel does not filter by vlan",
    "too big gso_max_size",
    "too big gro_max_size",
    "mtu greater than device maximum",
];

#[test]
fn plugins_refuse_what_schemas_refuse_and_accept_their_limits() {
    let host = Host::new();
    let container = host.container("c1");
    let schemas = Schemas::load();
    let (mut tried, mut wrong) = (0, Vec::new());
    for plugin in PLUGINS {
        let (name, verb) = (plugin.name(), validating_verb(plugin));
        for Property {
            path,
            base,
            valid,
            invalid,
        } in schemas.properties(name)
        {
            let outcome = |value: &Value| {
                let config = schema::with(&base, &path, value.clone());
                (call(plugin, verb, &container, &config), config)
            };
            let baseline = call(plugin, verb, &container, &base);
            for value in &valid {
                let (got, config) = outcome(value);
                let unsupported =
                    |text: &String| UNSUPPORTED.iter().any(|part| text.contains(part));
                if got != baseline && !got.as_ref().is_some_and(unsupported) {
                    wrong.push(format!(
                        "{name} refuses {path} = {value}: {got:?} for {config}"
                    ));
                }
                tried += 1;
            }
            if TOLERATED
                .iter()
                .any(|(plugin, key, _)| (*plugin, *key) == (name, &path))
            {
                continue;
            }
            // The upper limits of these are the kernel's, which only bridge gets as far as to ask.
            let is_option = name != "bridge" && LINK_OPTIONS.contains(&&path[1..]);
            let beyond_kernel = |value: &&Value| is_option && value.as_i64().is_some_and(|n| n > 0);
            for value in invalid.iter().filter(|value| !beyond_kernel(value)) {
                let (got, config) = outcome(value);
                if got.is_none() || got == baseline {
                    wrong.push(format!(
                        "{name} accepts {path} = {value}: {got:?} for {config}"
                    ));
                }
                tried += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 500, "{tried} values");
}

#[test]
fn examples_of_unknown_keys_are_noticed() {
    let host = Host::new();
    let container = host.container("c1");
    let config = json!({
        "#": "", "cniVersion": "1.1.0", "name": "net", "type": "ptp", "ipam": {"#": "/ipam", "type": "x"},
    });
    let _ = json::take_keys_read();
    call(&cni_ptp::Ptp, "ADD", &container, &config);
    let read = json::take_keys_read();
    let has = |path: &str, key: &str| read.contains(&(path.to_owned(), key.to_owned()));
    assert!(
        has("", "ipMasqBackend") && has("", "mtu") && has("/ipam", "type"),
        "{read:?}"
    );
}
