//! Names of the greatest lengths that runtimes use, with every plugin.

use crate::chains::{full, further_interfaces, interfaces};
use blackbox::chain::Chain;
use serde_json::Value;
use testkit::{Host, needs};

/// Runs ADD, CHECK, GC and DEL of a chain with long names.
#[track_caller]
fn verbs(host: &Host, plugins: &[Value], id_length: usize) {
    let mut chain = Chain::new(plugins.to_vec());
    chain.network = "n".repeat(200);
    chain.container_id = "c".repeat(id_length);
    chain.if_name = "eth0123456789ab".to_owned();
    let container = host.container("c1");
    chain.add(&container);
    chain.check(&container);
    chain.gc(true);
    chain.check(&container);
    chain.del(&container);
    chain.add(&container);
    chain.gc(false);
    let records = std::fs::read_dir("/run/cni").into_iter().flatten();
    assert_eq!(records.count(), 0, "records are left");
}

#[test]
fn chains_take_long_names() {
    for (backend, id_length) in [
        ("iptables", 64),
        ("nftables", 64),
        ("nftables", 128),
        ("nftables", 300),
    ] {
        let host = Host::new();
        let mut plugins = full(backend);
        // The names of its chains contain the container ID, as upstream's do, so that it refuses a longer one.
        plugins[0]["macspoofchk"] = (id_length <= 100).into();
        // Its comments contain the container ID, as upstream's do, and nftables limits them to 128 bytes.
        plugins.retain(|plugin| plugin["type"] != "portmap" || id_length <= 128);
        verbs(&host, &plugins, id_length);
    }
}

#[test]
fn interface_plugins_take_long_names() {
    for id_length in [64, 300] {
        let host = Host::new();
        for plugins in interfaces(&host) {
            verbs(&host, &plugins, id_length);
        }
    }
}

#[test]
fn further_interface_plugins_take_long_names() {
    needs(&["vlan", "ipvlan", "dummy", "vrf"]);
    let host = Host::new();
    for plugins in further_interfaces(&host) {
        verbs(&host, &plugins, 300);
    }
}
