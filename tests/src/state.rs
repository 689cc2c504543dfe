//! State that plugins keep on the host.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use testkit::{Host, Node, Snapshot};

/// The directory in which `host-local` keeps a directory per network.
pub const LEASES: &str = "/var/lib/cni/networks";

/// The state of the host, without what an attachment leaves behind by design: the last reserved address and the index
/// of `host-local`, and the addresses that the kernel adds to `lo` when it is first set up.
#[track_caller]
pub fn of(host: &Host) -> Snapshot {
    let parts = [
        "last_reserved_ip.",
        "/.index",
        "dev=lo ",
        "local=127.0.0.1 ",
        "local=::1 ",
    ];
    parts
        .iter()
        .fold(host.snapshot(), |snapshot, part| snapshot.without(part))
}

/// Demands that the host is in state `before` again, within twenty seconds: the kernel deletes the links of a deleted
/// namespace in the background.
///
/// # Panics
///
/// When it is not, with the difference.
#[track_caller]
pub fn assert_back(before: &Snapshot, host: &Host) {
    let end = Instant::now() + Duration::from_secs(20);
    while *before != of(host) && Instant::now() < end {
        thread::sleep(Duration::from_millis(50));
    }
    before.assert_same(&of(host));
}

/// The reserved addresses of a network, each with the content of its file.
pub fn leases(network: &str) -> BTreeMap<IpAddr, String> {
    let files = fs::read_dir(Path::new(LEASES).join(network))
        .into_iter()
        .flatten()
        .flatten();
    files
        .filter_map(|file| {
            let address = file.file_name().to_str()?.parse().ok()?;
            Some((address, fs::read_to_string(file.path()).unwrap_or_default()))
        })
        .collect()
}

/// The names of all veth links of a node.
pub fn veths(node: &impl Node) -> Vec<String> {
    let links = node.ip_json(&["link", "show", "type", "veth"]);
    let names = links
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|link| link["ifname"].as_str());
    names.map(String::from).collect()
}

/// Waits until no address of the node is tentative: upstream adds IPv6 gateway addresses to a bridge with duplicate
/// address detection, which continues after ADD has returned.
///
/// # Panics
///
/// When it takes longer than five seconds.
#[track_caller]
pub fn wait_for_addresses(node: &impl Node) {
    let end = Instant::now() + Duration::from_secs(5);
    while !node
        .command(&["ip", "-6", "addr", "show", "tentative", "scope", "global"])
        .trim()
        .is_empty()
    {
        assert!(
            Instant::now() < end,
            "{} has tentative addresses for 5 s",
            node.label()
        );
        thread::sleep(Duration::from_millis(50));
    }
}
