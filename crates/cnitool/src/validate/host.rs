//! Comparison of networks with this host: plugins, routes, links.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cni_core::{Cidr, Version};
use libcni::Cni;
use rtnl::{Handle, Link, Route, RouteFilter};

use super::addresses::{Subnet, overlap};
use super::document::Node;
use super::finding::{Finding, Severity};
use super::network::{Element, Network};
use super::{chain, kernel, schema};

/// Where plugins are if neither `--cni-path` nor `CNI_PATH` says so.
const DIRECTORIES: [&str; 4] = [
    "/opt/cni/bin",
    "/usr/libexec/cni",
    "/usr/lib/cni",
    "/usr/lib/cni/bin",
];

/// What is known of this host.
pub(super) struct Host {
    cni: Cni,
    directories: Vec<PathBuf>,
    /// Answers to VERSION by plugin; an error is its text.
    versions: BTreeMap<String, Result<Vec<String>, String>>,
    links: Vec<Link>,
    routes: Vec<Route>,
    kernel: kernel::Probes,
}

impl Host {
    pub(super) fn new(directories: Vec<PathBuf>) -> Host {
        let netlink = Handle::open();
        let netlink = netlink.as_ref();
        Host {
            cni: Cni::new(&directories),
            directories,
            versions: BTreeMap::new(),
            links: netlink
                .ok()
                .and_then(|netlink| netlink.links().ok())
                .unwrap_or_default(),
            routes: netlink
                .ok()
                .and_then(|n| n.routes(&RouteFilter::default()).ok())
                .unwrap_or_default(),
            kernel: kernel::Probes::default(),
        }
    }

    /// Checks a network, and `subnets`, those of all networks.
    pub(super) fn check(&mut self, network: &Network<'_>, findings: &mut Vec<(usize, Finding)>) {
        // An unknown version is reported by the schema.
        let version = chain::selected(network).map(Version::as_str);
        for element in &network.plugins {
            self.plugin(element, "type", element.kind(), version, findings);
            self.plugin(element, "ipam", element.ipam_kind(), version, findings);
            findings.extend(self.links(element));
            findings.extend(self.kernel.check(element));
        }
    }

    /// Whether the plugin is there, is executable, and supports the version.
    fn plugin(
        &mut self,
        element: &Element<'_>,
        key: &str,
        kind: &str,
        version: Option<&str>,
        findings: &mut Vec<(usize, Finding)>,
    ) {
        if kind.is_empty() || kind.contains('/') {
            return;
        }
        let cni = &self.cni;
        let probe = || {
            cni.supported_versions(kind)
                .map_err(|error| error.to_string())
        };
        let Some(path) = cni.find(kind).ok().filter(|path| is_executable(path)) else {
            let texts = self.absent(kind);
            findings.push(element.finding(Severity::Error, "plugin", key, texts));
            return;
        };
        let Some(version) = version else {
            return;
        };
        let answer = self.versions.entry(kind.to_owned()).or_insert_with(probe);
        let texts = match answer {
            Ok(versions) if versions.iter().any(|one| one == version) => return,
            Ok(versions) => (
                format!(
                    "{} does not support version {version} of the specification",
                    path.display()
                ),
                format!(
                    "write one of {}, or install a newer {kind}",
                    versions.join(", ")
                ),
            ),
            Err(error) => (
                format!(
                    "{} does not tell the versions that it supports: {error}",
                    path.display()
                ),
                format!("install {kind} again"),
            ),
        };
        findings.push(element.finding(Severity::Error, "plugin", key, texts));
    }

    fn absent(&self, kind: &str) -> (String, String) {
        let shown: Vec<_> = self
            .directories
            .iter()
            .map(|dir| dir.display().to_string())
            .collect();
        let there = self
            .directories
            .iter()
            .map(|dir| dir.join(kind))
            .find(|path| path.exists());
        if let Some(path) = there {
            let what = format!("the plugin {} is not executable", path.display());
            return (what, format!("run chmod +x {}", path.display()));
        }
        let what = match shown.is_empty() {
            true => format!("no plugin {kind}: there is no directory of plugins"),
            false => format!("no plugin {kind} in {}", shown.join(", ")),
        };
        let help = match schema::nearest(kind, chain::plugin_names()).filter(|near| *near != kind) {
            Some(near) => format!("write \"{near}\""),
            None => "install it, or set --cni-path or CNI_PATH to its directory".to_owned(),
        };
        (what, help)
    }

    /// Whether the lower link exists.
    fn links(&self, element: &Element<'_>) -> Option<(usize, Finding)> {
        let key = match element.kind() {
            "macvlan" | "ipvlan" | "vlan" => "master",
            "host-device" => "device",
            _ => return None,
        };
        let in_container = element
            .node
            .get("linkInContainer")
            .is_some_and(Node::is_true);
        let name = element
            .node
            .get(key)?
            .text()
            .filter(|name| !name.is_empty())?;
        if in_container || self.links.is_empty() || self.has_link(name) {
            return None;
        }
        let names = self.links.iter().map(|link| link.name.as_str());
        let help = match schema::nearest(name, names) {
            Some(near) => format!("write \"{near}\", or create it"),
            None => "write the name of a link that \"ip link\" shows".to_owned(),
        };
        Some(element.finding(
            Severity::Warning,
            "link",
            key,
            (format!("this host has no link {name}"), help),
        ))
    }

    fn has_link(&self, name: &str) -> bool {
        let is_listed = self.links.iter().any(|link| link.name == name);
        // Alternative names are found by a look-up only.
        is_listed || Handle::open().is_ok_and(|netlink| netlink.link_by_name(name).is_ok())
    }

    /// Subnets of networks that the host has a route to, other than through their own bridges.
    pub(super) fn routes(&self, subnets: &[Subnet<'_>]) -> Vec<(usize, Finding)> {
        let routed = |subnet: &&Subnet<'_>| ["bridge", "ptp"].contains(&subnet.plugin.kind());
        subnets
            .iter()
            .filter(routed)
            .filter_map(|subnet| self.route_conflict(subnet))
            .collect()
    }

    fn route_conflict(&self, subnet: &Subnet<'_>) -> Option<(usize, Finding)> {
        let own = subnet
            .plugin
            .node
            .get("bridge")
            .and_then(Node::text)
            .unwrap_or("cni0");
        let is_own = |link: &&Link| {
            let name = link.name.as_str();
            // Of ptp, and of bridge with a VLAN.
            name == own || name.starts_with(&format!("{own}.")) || link.is_kind("veth")
        };
        let conflicts = |route: &&Route| {
            let network = Cidr::new(route.dst, route.prefix);
            let link = route
                .oif
                .and_then(|index| self.links.iter().find(|link| link.index == index));
            !route.is_default()
                && link.is_none_or(|link| !is_own(&link) && link.name != "lo")
                && network.is_some_and(|network| overlap(network, subnet.cidr) && is_unicast(route))
        };
        let route = self.routes.iter().find(conflicts)?;
        let link = route
            .oif
            .and_then(|index| self.links.iter().find(|link| link.index == index));
        let through = link.map_or(String::new(), |link| format!(" through {}", link.name));
        let what = format!(
            "{} overlaps the host's route to {}/{}{through}",
            subnet.cidr, route.dst, route.prefix
        );
        Some((
            subnet.file,
            Finding {
                severity: Severity::Warning,
                rule: "overlap",
                span: subnet.span.clone(),
                pointer: subnet.pointer.clone(),
                what,
                help: "write another subnet, since one of the two is not reachable".to_owned(),
            },
        ))
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

/// Whether the route is one to other hosts: not multicast, nor a local address.
fn is_unicast(route: &Route) -> bool {
    /// `RTN_UNICAST` of linux/rtnetlink.h.
    const UNICAST: u8 = 1;
    let link_local = matches!(route.dst, std::net::IpAddr::V6(dst) if dst.is_unicast_link_local());
    route.kind == UNICAST && !route.dst.is_multicast() && !link_local
}

/// Returns the directories of plugins: those given, those of `CNI_PATH`, or the usual ones that exist.
pub(crate) fn plugin_dirs(given: Option<&OsStr>) -> Vec<PathBuf> {
    let variable = std::env::var_os("CNI_PATH");
    match given.or(variable.as_deref()) {
        Some(list) => std::env::split_paths(list)
            .filter(|dir| dir != Path::new(""))
            .collect(),
        None => DIRECTORIES
            .iter()
            .map(PathBuf::from)
            .filter(|dir| dir.is_dir())
            .collect(),
    }
}
