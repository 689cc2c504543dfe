//! What attachments have left behind, and what fills up.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cni_core::Cidr;
use nix::sys::statvfs::statvfs;
use plugin_kit::host_link;
use rtnl::Handle;
use serde_json::Value;

use super::{Element, Host, Report};
use crate::cached;

const AREA: &str = "state";

/// Where host-local keeps reservations unless `dataDir` says otherwise.
const NETWORKS: &str = "/var/lib/cni/networks";

/// The socket of the DHCP daemon unless `daemonSocketPath` says otherwise.
const DHCP_SOCKET: &str = "/run/cni/dhcp.sock";

/// Of a range or a file system, what is left when it is worth a warning, in percent.
const LEFT: u128 = 10;

pub(super) fn examine(host: &Host, report: &mut Report) {
    report.fact("attachments", host.cached.len().to_string());
    gone(host, report);
    orphans(host, report);
    for element in host.elements() {
        match element.config["ipam"]["type"].as_str() {
            Some("host-local") => reservations(host, &element, report),
            Some("dhcp") => daemon(&element, report),
            _ => {}
        }
    }
    space(host, report);
}

fn gone(host: &Host, report: &mut Report) {
    let is_gone = |netns: &Path| !netns.as_os_str().is_empty() && !netns.exists();
    let gone: Vec<_> = host
        .cached
        .iter()
        .filter(|cached| is_gone(&cached::netns(cached)))
        .collect();
    let Some(first) = gone.first() else { return };
    report.warning(
        AREA,
        format!("{} attachments have no network namespace any more, such as {}/{}/{}", gone.len(), first.network, first.attachment.container_id, first.attachment.if_name),
        "their addresses, rules and links stay until somebody calls DEL or GC",
        "\"cnitool show\" lists them; \"cnitool gc --from-cri SOCKET\" collects those of pods, after a dry run",
    );
}

/// Links whose alias names an attachment that no cache has.
fn orphans(host: &Host, report: &mut Report) {
    let links = Handle::open().and_then(|netlink| netlink.links());
    let known: BTreeSet<String> = host
        .cached
        .iter()
        .map(|cached| {
            let attachment = &cached.attachment;
            host_link::of_owner(&cni_state::Owner::new(
                &cached.network,
                &attachment.container_id,
                &attachment.if_name,
            ))
        })
        .collect();
    let names: Vec<String> = links
        .unwrap_or_default()
        .into_iter()
        .filter(|link| host_link::interface_of(link).is_some() && !known.contains(&link.alias))
        .map(|link| format!("{} ({})", link.name, link.alias))
        .collect();
    if !names.is_empty() {
        report.warning(
            AREA,
            format!(
                "links of attachments that no cache has: {}",
                names.join(", ")
            ),
            "a runtime was killed while it attached them, or it keeps its cache elsewhere",
            "name that cache by --cache-dir; otherwise GC of the network removes them",
        );
    }
}

/// Addresses that nobody holds, and ranges that run dry.
fn reservations(host: &Host, element: &Element<'_>, report: &mut Report) {
    let ipam = &element.config["ipam"];
    let dir = ipam["dataDir"].as_str().unwrap_or(NETWORKS);
    let dir = Path::new(dir).join(element.network);
    let reserved = reserved(&dir);
    let holders: BTreeSet<&str> = host
        .cached
        .iter()
        .map(|cached| cached.attachment.container_id.as_str())
        .collect();
    let unknown = reserved
        .iter()
        .filter(|(_, id)| !holders.contains(id.as_str()))
        .count();
    if unknown > 0 {
        report.warning(
            AREA,
            format!("{unknown} of {} addresses of the network {} are reserved for containers that no cache has", reserved.len(), element.network),
            "they are lost unless the runtime keeps its cache elsewhere (--cache-dir)",
            format!("ls {}; GC of the network releases them", dir.display()),
        );
    }
    for range in subnets(ipam) {
        let host_bits = if range.is_ipv4() { 32 } else { 128 } - u32::from(range.prefix());
        // Network, broadcast and gateway addresses are not handed out.
        let size = 1_u128
            .checked_shl(host_bits)
            .unwrap_or(u128::MAX)
            .saturating_sub(3);
        let used = reserved
            .iter()
            .filter(|(address, _)| range.contains(*address))
            .count() as u128;
        let left = size.saturating_sub(used);
        if size > 0 && left.saturating_mul(100) <= size.saturating_mul(LEFT) {
            report.warning(
                AREA,
                format!(
                    "{left} of {size} addresses of {} in {range} are free",
                    element.network
                ),
                "ADD fails when none is left",
                "use a larger range, or an additional one in \"ranges\"",
            );
        }
    }
}

/// The reserved addresses, and the containers that hold them.
fn reserved(dir: &Path) -> Vec<(IpAddr, String)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let address = entry.file_name().to_str()?.replace('_', ":").parse().ok()?;
            let text = fs::read_to_string(entry.path()).ok()?;
            Some((address, text.lines().next()?.trim().to_owned()))
        })
        .collect()
}

/// The subnets of `subnet` and `ranges`.
fn subnets(ipam: &Value) -> Vec<Cidr> {
    let of = |range: &Value| range["subnet"].as_str()?.parse::<Cidr>().ok();
    let sets = ipam["ranges"].as_array().into_iter().flatten();
    let ranges = sets.filter_map(Value::as_array).flatten();
    std::iter::once(ipam).chain(ranges).filter_map(of).collect()
}

fn daemon(element: &Element<'_>, report: &mut Report) {
    let socket = element.config["ipam"]["daemonSocketPath"].as_str();
    let socket = socket
        .filter(|path| !path.is_empty())
        .unwrap_or(DHCP_SOCKET);
    if std::os::unix::net::UnixStream::connect(socket).is_err() {
        report.error(
            AREA,
            format!(
                "the DHCP daemon does not answer at {socket}, and the network {} needs it",
                element.network
            ),
            "ADD of the network fails",
            "systemctl enable --now cni-dhcp.socket, or run \"dhcp daemon\"",
        );
    }
}

fn space(host: &Host, report: &mut Report) {
    let dirs = host.cache_dirs.iter().cloned();
    for dir in dirs.chain([PathBuf::from("/run")]) {
        let Some(existing) = dir.ancestors().find(|dir| dir.exists()) else {
            continue;
        };
        let Ok(status) = statvfs(existing) else {
            continue;
        };
        let is_full = is_low(status.blocks_available(), status.blocks())
            || is_low(status.files_available(), status.files());
        if is_full {
            report.error(
                AREA,
                format!("the file system of {} is full", dir.display()),
                "reservations and results of attachments cannot be written, and ADD fails",
                format!("df -h {0}; df -i {0}", existing.display()),
            );
        }
    }
}

/// Whether a hundredth or less is left. The types of `statvfs` differ between platforms.
fn is_low(left: impl Into<u128>, all: impl Into<u128>) -> bool {
    let (left, all) = (left.into(), all.into());
    all > 0 && left * 100 <= all
}
