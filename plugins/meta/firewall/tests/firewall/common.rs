//! Shared by the tests: configurations, calls, rules and records.

use serde_json::{Value, json};
use testkit::{Container, Host, Invocation, Node, Plugin, merge};

/// The backends that need no daemon.
pub(crate) const BACKENDS: [&str; 2] = ["iptables", "nftables"];

/// The plugin under test.
pub(crate) fn firewall() -> Plugin {
    Plugin::new("firewall")
}

/// The result of a bridge plugin for the `number`-th container of network 10.1.0.0/24
/// and fd00:1::/64.
pub(crate) fn bridged(version: &str, bridge: &str, number: u8) -> Value {
    json!({
        "cniVersion": version,
        "interfaces": [
            {"name": bridge}, {"name": "veth0"}, {"name": "eth0", "sandbox": "/run/netns/c1"},
        ],
        "ips": [ip(version, &format!("10.1.0.{number}/24")), ip(version, &format!("fd00:1::{number}/64"))],
    })
}

fn ip(version: &str, address: &str) -> Value {
    let mut ip = json!({"interface": 2, "address": address});
    if version == "0.4.0" {
        ip["version"] = if address.contains(':') { "6" } else { "4" }.into();
    }
    ip
}

/// A configuration of the network `net` with the result of a bridge, and with the keys
/// of `extra`.
pub(crate) fn config(extra: Value) -> Value {
    let base = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "firewall",
        "prevResult": bridged("1.1.0", "cni0", 2),
    });
    merge(base, &extra)
}

/// The table `filter` of both families as iptables prints it, without counters.
#[track_caller]
pub(crate) fn filter_tables(host: &Host) -> String {
    let mut text = String::new();
    for command in ["iptables-save", "ip6tables-save"] {
        let all = host.command(&[command, "-t", "filter"]);
        for line in all.lines().filter(|line| !line.starts_with('#')) {
            let line = line.split(" [").next().unwrap_or(line);
            text += &format!("{line}\n");
        }
    }
    text
}

/// The plugin's table of nftables; empty if there is none.
pub(crate) fn nft_table(host: &Host) -> String {
    let list = ["nft", "-nn", "list", "table", "inet", "cni_firewall"];
    host.try_command(&list).unwrap_or_default()
}

/// Whether either backend has a rule or element of an address.
pub(crate) fn mentions(host: &Host, address: &str) -> bool {
    filter_tables(host).contains(&format!(" {address}/")) || nft_table(host).contains(address)
}

/// The addresses that have a record, in order.
pub(crate) fn records() -> Vec<String> {
    let files = std::fs::read_dir("/run/cni/firewall").into_iter().flatten();
    let mut all: Vec<String> = files
        .map(|file| {
            let text = std::fs::read(file.unwrap().path()).unwrap();
            let record: Value = serde_json::from_slice(&text).unwrap();
            record["data"]["address"].as_str().unwrap().to_owned()
        })
        .collect();
    all.sort();
    all
}

/// A call for a container of any ID.
pub(crate) fn call(verb: &str, container: &Container, id: &str, config: &Value) -> Invocation {
    let call = firewall().command(verb).container(container).id(id);
    call.config(config)
}
