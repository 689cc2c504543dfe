//! Programs that manage links and packet filters, too.

use std::fs;
use std::path::Path;

use super::kernel::read;
use super::{Host, Report};

const AREA: &str = "managers";

pub(super) fn examine(host: &Host, report: &mut Report) {
    let running = running();
    let is_running = |name: &str| running.iter().any(|comm| comm == name);
    if is_running("NetworkManager")
        && !texts("/etc/NetworkManager").any(|text| leaves_veth_alone(&text))
    {
        report.warning(
            AREA,
            "NetworkManager runs, and is not told to leave links of containers alone",
            "it may configure them, or take them down when it restarts",
            "write to /etc/NetworkManager/conf.d/cni.conf: \"[keyfile]\\nunmanaged-devices=interface-name:cni*;interface-name:veth*;interface-name:flannel*\"",
        );
    }
    // The kernel cuts names off after 15 bytes.
    if is_running("systemd-networkd") || is_running("systemd-network") {
        networkd(report);
    }
    let open = host.networks_without("firewall");
    if is_running("firewalld") && !open.is_empty() {
        report.warning(
            AREA,
            format!("firewalld runs, and these networks do not use the plugin firewall: {}", open.join(", ")),
            "firewalld rejects their forwarded packets unless their addresses are in a zone that accepts them",
            "add {\"type\": \"firewall\"} to them (\"cnitool chain add\")",
        );
    }
}

fn networkd(report: &mut Report) {
    for dir in [
        "/etc/systemd/network",
        "/run/systemd/network",
        "/usr/lib/systemd/network",
    ] {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let is_network = path
                .extension()
                .is_some_and(|extension| extension == "network");
            if is_network && read(&path).is_some_and(|text| matches_any_link(&text)) {
                report.warning(
                    AREA,
                    format!("{} matches links of containers", path.display()),
                    "systemd-networkd configures the host's ends of veth pairs and bridges by it",
                    "match by name (\"Name=en*\") or driver, or add \"Kind=!veth\" and \"Name=!cni* !veth*\" to [Match]",
                );
            }
        }
    }
    let keeps =
        |text: String| value(&text, "ManageForeignRoutes").is_some_and(|value| value == "no");
    let main = read("/etc/systemd/networkd.conf").into_iter();
    if !main.chain(texts("/etc/systemd/networkd.conf.d")).any(keeps) {
        report.warning(
            AREA,
            "systemd-networkd removes routes and rules that it has not made",
            "routes of ptp and flannel vanish when it restarts",
            "write to /etc/systemd/networkd.conf.d/cni.conf: \"[Network]\\nManageForeignRoutes=no\\nManageForeignRoutingPolicyRules=no\"",
        );
    }
}

/// The names of all processes (`/proc/PID/comm`).
fn running() -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| read(entry.path().join("comm")))
        .collect()
}

/// The texts of the files in a directory, and in those in it.
fn texts(dir: impl AsRef<Path>) -> Box<dyn Iterator<Item = String>> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    Box::new(
        entries
            .map(|entry| entry.path())
            .flat_map(|path| match path.is_dir() {
                true => texts(path),
                false => Box::new(read(path).into_iter()),
            }),
    )
}

fn leaves_veth_alone(text: &str) -> bool {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'));
    lines
        .filter(|line| line.starts_with("unmanaged-devices") || line.starts_with("no-auto-default"))
        .any(|line| line.contains("veth") || line.contains('*'))
}

/// Whether `[Match]` of a file of networkd matches links of any name.
fn matches_any_link(text: &str) -> bool {
    let section = text.split("[Match]").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let narrows = [
        "MACAddress",
        "PermanentMACAddress",
        "Path",
        "Driver",
        "Kind",
        "Property",
    ];
    if narrows.iter().any(|key| value(section, key).is_some()) {
        return false;
    }
    match value(section, "Name") {
        Some(names) => {
            names.split_ascii_whitespace().any(|name| name == "*") && !names.contains('!')
        }
        None => value(section, "Type").is_some_and(|kind| kind == "ether"),
    }
}

/// The last value of a key.
fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .filter(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
        .next_back()
}
