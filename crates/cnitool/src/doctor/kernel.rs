//! The kernel: features, sysctls and tables that fill up.

use std::fs;
use std::path::Path;

use cni_core::AddResult;
use rtnl::Handle;

use super::{Host, Report};
use crate::cached;

/// Kinds of links that plugins create.
const KINDS: &[&str] = &[
    "veth", "bridge", "macvlan", "ipvlan", "vlan", "dummy", "vrf", "ifb",
];

pub(super) fn examine(host: &Host, report: &mut Report) {
    report.fact(
        "kernel",
        read("/proc/sys/kernel/osrelease").unwrap_or_default(),
    );
    link_kinds(report);
    report.fact(
        "landlock",
        match read("/sys/kernel/security/lsm") {
            Some(modules) if modules.split(',').any(|name| name == "landlock") => "yes",
            Some(_) => "no: plugins give up capabilities only",
            None => "unknown: securityfs is not mounted",
        },
    );
    forwarding(host, report);
    neighbours(report);
}

/// Networks that need a kind which is missing are reported by `validate`.
fn link_kinds(report: &mut Report) {
    let Ok(netlink) = Handle::open() else { return };
    let is_missing = |kind: &&&str| netlink.has_link_kind(kind).is_ok_and(|has| !has);
    let (missing, there): (Vec<_>, Vec<_>) = KINDS.iter().partition(|kind| is_missing(kind));
    let words = |kinds: Vec<&&str>| {
        let words: Vec<&str> = kinds.into_iter().copied().collect();
        words.join(", ")
    };
    let mut text = words(there);
    if !missing.is_empty() {
        text = format!("{text}; not there: {}", words(missing));
    }
    report.fact("kinds of links", text);
}

/// Plugins enable forwarding; something may have disabled it since.
fn forwarding(host: &Host, report: &mut Report) {
    for (is_ipv4, key) in [
        (true, "net/ipv4/ip_forward"),
        (false, "net/ipv6/conf/all/forwarding"),
    ] {
        let networks = routed_networks(host, is_ipv4);
        if networks.is_empty() || read(format!("/proc/sys/{key}")).is_none_or(|value| value != "0")
        {
            continue;
        }
        let key = key.replace('/', ".");
        report.error(
            "sysctls",
            format!("{key} is 0, and containers of {} need it", networks.join(", ")),
            "they reach nothing beyond this host; something has disabled forwarding since they were attached",
            format!("sysctl -w {key}=1, and look for the file in /etc/sysctl.d that disables it"),
        );
    }
}

/// The networks with living attachments whose addresses have a gateway of this family.
fn routed_networks(host: &Host, is_ipv4: bool) -> Vec<String> {
    let has_gateway = |result: &serde_json::Value| {
        let version = result["cniVersion"].as_str().unwrap_or_default();
        let ips = AddResult::decode(version, result).unwrap_or_default().ips;
        ips.iter()
            .any(|ip| ip.gateway.is_some() && ip.address.is_ipv4() == is_ipv4)
    };
    let living = host
        .cached
        .iter()
        .filter(|cached| cached::netns(cached).exists());
    let mut networks: Vec<String> = living
        .filter(|cached| cached.result.as_ref().is_some_and(has_gateway))
        .map(|cached| cached.network.clone())
        .collect();
    networks.sort();
    networks.dedup();
    networks
}

/// The tables of neighbours are limited for all namespaces together.
fn neighbours(report: &mut Report) {
    for (family, cache) in [("ipv4", "arp_cache"), ("ipv6", "ndisc_cache")] {
        let limit = read(format!("/proc/sys/net/{family}/neigh/default/gc_thresh3"));
        let limit = limit.and_then(|text| text.parse::<u64>().ok());
        // The first column of the first line of numbers is the number of entries.
        let entries = read(format!("/proc/net/stat/{cache}")).and_then(|text| {
            let numbers = text
                .lines()
                .nth(1)?
                .split_ascii_whitespace()
                .next()?
                .to_owned();
            u64::from_str_radix(&numbers, 16).ok()
        });
        if let (Some(limit), Some(entries)) = (limit, entries)
            && entries * 10 >= limit * 8
        {
            report.warning(
                "sysctls",
                format!("{entries} of {limit} neighbours of {family} are in use"),
                "when the table is full, packets to new neighbours are dropped (\"neighbour table overflow\")",
                format!("sysctl -w net.{family}.neigh.default.gc_thresh3={}", limit * 4),
            );
        }
    }
}

/// A file's text, trimmed.
pub(super) fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}
