//! Features of the kernel that plugins need.

use std::collections::BTreeMap;
use std::path::Path;

use cni_core::ns::Netns;
use netfilter::backend::Backend;
use rtnl::{Bridge, Handle, KindInfo, LinkKind, LinkSpec, Request};

use super::document::Node;
use super::finding::{Finding, Severity};
use super::network::Element;

/// The device that taps are made with.
const TUN: &str = "/dev/net/tun";

/// What was tried, and how it ended.
#[derive(Default)]
pub(super) struct Probes {
    /// Kinds of links, and whether the kernel lacks them.
    kinds: BTreeMap<&'static str, bool>,
    /// Packet filters, and why they do not work.
    filters: BTreeMap<&'static str, Option<String>>,
}

impl Probes {
    /// Returns what the kernel lacks for a plugin.
    pub(super) fn check(&mut self, element: &Element<'_>) -> Vec<(usize, Finding)> {
        let mut findings = Vec::new();
        let kinds: &[&'static str] = match element.kind() {
            "bridge" | "flannel" => &["veth", "bridge"],
            "ptp" => &["veth"],
            "macvlan" => &["macvlan"],
            "ipvlan" => &["ipvlan"],
            "vlan" => &["vlan"],
            "dummy" => &["dummy"],
            "vrf" => &["vrf"],
            "tap" => &["tun"],
            "bandwidth" => &["ifb"],
            _ => &[],
        };
        for kind in kinds {
            if self.lacks(kind) {
                let what = format!("this kernel has no links of the kind {kind}");
                let help = match *kind {
                    "tun" => "load the module with \"modprobe tun\"".to_owned(),
                    _ => format!(
                        "load the module with \"modprobe rtnl-link-{kind}\", or use a kernel that has it"
                    ),
                };
                findings.push(element.finding(Severity::Error, "kernel", "type", (what, help)));
            }
        }
        findings.extend(vlan_filtering(element));
        findings.extend(self.filter(element));
        findings
    }

    /// The packet filter of a plugin.
    fn filter(&mut self, element: &Element<'_>) -> Option<(usize, Finding)> {
        let masquerades = element
            .node
            .get("ipMasq")
            .is_some_and(|value| value.is_true() || !value.members().is_empty());
        let key = match element.kind() {
            "portmap" | "firewall" => "backend",
            "bridge" | "ptp" if masquerades => "ipMasqBackend",
            _ => return None,
        };
        let name = element
            .node
            .get(key)
            .and_then(Node::text)
            .unwrap_or_default();
        let (backend, label) = match Backend::from_name(name) {
            Some(backend) => (backend, backend.as_str()),
            None if name.is_empty() => (Backend::choose(), "no packet filter"),
            // firewalld may be started later.
            None => return None,
        };
        let why = self.filters.entry(backend.as_str());
        let why = why.or_insert_with(|| backend.probe(false).err().map(|error| error.to_string()));
        let what = match label {
            "no packet filter" => format!(
                "neither iptables nor nftables works on this host: {}",
                why.as_ref()?
            ),
            _ => format!("{label} does not work on this host: {}", why.as_ref()?),
        };
        let help = match backend {
            Backend::Iptables => "install iptables, or write \"nftables\"",
            Backend::Nftables => "load the module nf_tables, or write \"iptables\"",
        };
        Some(element.finding(Severity::Error, "kernel", key, (what, help.to_owned())))
    }

    /// Whether links of this kind cannot be created; `false` also if that cannot be found out.
    fn lacks(&mut self, kind: &'static str) -> bool {
        *self.kinds.entry(kind).or_insert_with(|| match kind {
            "tun" => !Path::new(TUN).exists(),
            _ => Handle::open().is_ok_and(|host| host.has_link_kind(kind).is_ok_and(|has| !has)),
        })
    }
}

fn vlan_filtering(element: &Element<'_>) -> Option<(usize, Finding)> {
    let is_asked = |key: &&str| {
        element
            .node
            .get(key)
            .is_some_and(|node| !node.equals(&0.into()))
    };
    let key = ["vlan", "vlanTrunk"].into_iter().find(is_asked)?;
    if element.kind() != "bridge" || !lacks_vlan_filtering() {
        return None;
    }
    let what = format!("{key} needs VLAN filtering, which this kernel's bridges do not have");
    let help = format!("remove {key}, or use a kernel with CONFIG_BRIDGE_VLAN_FILTERING");
    Some(element.finding(Severity::Error, "kernel", key, (what, help)))
}

/// Whether the kernel's bridges have no VLANs. It refuses the option then, or ignores it.
fn lacks_vlan_filtering() -> bool {
    let try_it = |_: &Netns| -> Option<bool> {
        let handle = Handle::open().ok()?;
        let bridge = Bridge {
            vlan_filtering: Some(true),
            ..Bridge::default()
        };
        let spec = LinkSpec::new("br0", LinkKind::Bridge(bridge));
        if let Err(error) = handle.request(Request::new_link(&spec)) {
            return error.is_unsupported().then_some(true);
        }
        match handle.link_by_name("br0").ok()?.info {
            KindInfo::Bridge(info) => Some(info.vlan_default_pvid.is_none()),
            _ => None,
        }
    };
    // Without the privilege for a namespace nothing is known.
    let netns = Netns::unnamed().ok();
    netns
        .and_then(|netns| netns.run_on_thread(try_it).ok()?)
        .unwrap_or(false)
}
