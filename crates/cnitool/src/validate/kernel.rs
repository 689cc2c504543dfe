//! Features of the kernel that plugins need, tried in a network namespace that is dropped at once.

use std::collections::BTreeMap;
use std::path::Path;

use cni_core::ns::Netns;
use netfilter::backend::Backend;
use rtnl::{
    Bridge, Handle, Ipvlan, LinkKind, LinkSpec, Macvlan, PeerSpec, Request, Veth, Vlan, Vrf,
};

use super::document::Node;
use super::finding::{Finding, Severity};
use super::network::Element;

/// The device that taps are made with.
const TUN: &str = "/dev/net/tun";

/// What was tried, and why it failed.
#[derive(Default)]
pub(super) struct Probes(BTreeMap<&'static str, Option<String>>);

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
            if let Some(why) = self.lacks(kind) {
                let what = format!("this kernel cannot create links of type {kind}: {why}");
                let help = format!(
                    "load its module with \"modprobe {kind}\", or install the kernel's extra modules"
                );
                findings.push(element.finding(Severity::Error, "kernel", "type", (what, help)));
            }
        }
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
        let why = self.0.entry(backend.as_str());
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

    /// Why links of this kind cannot be created; `None` also if that cannot be found out.
    fn lacks(&mut self, kind: &'static str) -> Option<String> {
        self.0.entry(kind).or_insert_with(|| try_kind(kind)).clone()
    }
}

fn try_kind(kind: &str) -> Option<String> {
    if kind == "tun" {
        return (!Path::new(TUN).exists()).then(|| format!("{TUN} does not exist"));
    }
    // Without the privilege for a namespace nothing is known.
    let netns = Netns::unnamed().ok()?;
    let tried = netns.run_on_thread(|_| create(kind)).ok()?;
    tried
        .err()
        .filter(rtnl::Error::is_unsupported)
        .map(|error| error.to_string())
}

fn create(kind: &str) -> Result<(), rtnl::Error> {
    let handle = Handle::open()?;
    let veth = || {
        LinkKind::Veth(Veth {
            peer: PeerSpec {
                name: "peer".into(),
                ..PeerSpec::default()
            },
        })
    };
    let on_link = |kind| {
        handle.request(Request::new_link(&LinkSpec::new("lower", veth())))?;
        let mut spec = LinkSpec::new("upper", kind);
        spec.link = Some(handle.link_by_name("lower")?.index);
        handle.request(Request::new_link(&spec))
    };
    let alone = |kind| handle.request(Request::new_link(&LinkSpec::new("link", kind)));
    match kind {
        "macvlan" => on_link(LinkKind::Macvlan(Macvlan::default())),
        "ipvlan" => on_link(LinkKind::Ipvlan(Ipvlan::default())),
        "vlan" => on_link(LinkKind::Vlan(Vlan {
            id: 5,
            protocol: None,
        })),
        "bridge" => alone(LinkKind::Bridge(Bridge::default())),
        "dummy" => alone(LinkKind::Dummy),
        "ifb" => alone(LinkKind::Ifb),
        "vrf" => alone(LinkKind::Vrf(Vrf { table: 5 })),
        _ => alone(veth()),
    }
    .map(drop)
}
