//! What the tests share: devices, configurations and calls.

use serde_json::{Value, json};
use std::fs;
use testkit::{Container, Host, Node, Plugin, merge};

/// The hardware address of `dev0`.
pub(crate) const MAC: &str = "02:00:00:00:00:d0";

/// A host with a device `dev0`, which is up. It is one end of a veth pair, whose
/// other end `far0` is in a container `outside`, up, with an address of each family.
pub(crate) fn host_with_device() -> (Host, Container) {
    let host = Host::new();
    let outside = testkit::wire(&host, "dev0", "outside", &["10.1.0.1/24", "fd00:1::1/64"]);
    host.command(&["ip", "link", "set", "dev0", "address", MAC]);
    (host, outside)
}

/// The network `net` of `dev0`, with the keys of `extra` added, replaced, or, where
/// they are null, removed.
pub(crate) fn device(extra: Value) -> Value {
    let base = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "host-device", "device": "dev0",
    });
    merge(base, &extra)
}

/// The same with host-local's addresses of both families.
pub(crate) fn dual(extra: Value) -> Value {
    merge(device(json!({"ipam": testkit::dual_stack()})), &extra)
}

/// The plugin under test.
pub(crate) fn plugin() -> Plugin {
    Plugin::new("host-device")
}

/// Name, alias and whether it is up, of each link but `lo`.
#[track_caller]
pub(crate) fn devices(node: &impl Node) -> Vec<String> {
    let mut devices: Vec<String> = node
        .link_names()
        .into_iter()
        .filter(|name| name != "lo")
        .map(|name| {
            let link = node.link(&name).unwrap();
            let up = link["flags"].as_array().unwrap().contains(&"UP".into());
            let state = if up { "up" } else { "down" };
            match link["ifalias"].as_str() {
                Some(alias) => format!("{name} ({alias}) {state}"),
                None => format!("{name} {state}"),
            }
        })
        .collect();
    devices.sort();
    devices
}

/// The records of devices away from the host.
pub(crate) fn records() -> Vec<String> {
    let files = fs::read_dir("/run/cni/host-device");
    let files = files.into_iter().flatten().flatten();
    files
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Demands an answer from `address` within five seconds: the kernel notices a new carrier
/// in the background.
#[track_caller]
pub(crate) fn reaches(node: &impl Node, address: &str) {
    let ip = address.parse().expect("an address");
    assert!(
        node.can_reach(ip, std::time::Duration::from_secs(5)),
        "{} gets no answer from {address}",
        node.label()
    );
}
