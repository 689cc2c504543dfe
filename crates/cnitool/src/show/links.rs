//! The links of attachments, as the kernel has them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context, Result};
use cni_core::ns::Netns;
use rtnl::{Handle, Link, QdiscInfo, Scope, TcHandle};

use super::model::{Direction, HostLink, Interface, Shaping, State};

/// The links of the host.
pub(super) struct HostLinks {
    handle: Handle,
    links: BTreeMap<u32, Link>,
}

/// An interface in a container, and what leads to it.
#[derive(Default)]
pub(super) struct Found {
    pub(super) interface: Option<Interface>,
    pub(super) host_link: Option<HostLink>,
    pub(super) shaping: Vec<Shaping>,
}

impl HostLinks {
    /// Reads all links of the host.
    pub(super) fn read() -> Result<HostLinks> {
        let handle = Handle::open()?;
        let links = handle.links()?;
        let links = links.into_iter().map(|link| (link.index, link)).collect();
        Ok(HostLinks { handle, links })
    }

    /// The links that are wanted.
    pub(super) fn select(&self, is_wanted: impl Fn(&Link) -> bool) -> Vec<HostLink> {
        let links = self.links.values().filter(|link| is_wanted(link));
        links.map(|link| self.describe(link)).collect()
    }

    /// Describes the interface `if_name` in the namespace at `netns`.
    pub(super) fn find(
        &self,
        containers: &mut Containers,
        netns: &str,
        if_name: &str,
    ) -> (State, Found) {
        let (container, link) = match containers.find(netns, if_name) {
            Ok(found) => found,
            Err(state) => return (state, Found::default()),
        };
        let addresses = container.addresses(link.index, None).unwrap_or_default();
        let addresses = addresses
            .iter()
            .filter(|address| address.scope != Scope::LINK);
        let host_link = self.leading_to(&link);
        let found = Found {
            shaping: host_link.map(|host| self.shaping(host)).unwrap_or_default(),
            host_link: host_link.map(|host| self.describe(host)),
            interface: Some(Interface {
                index: link.index,
                kind: link.kind.clone().unwrap_or_default(),
                mac: link.mac_string(),
                mtu: link.mtu,
                up: link.is_up(),
                addresses: addresses
                    .map(|address| format!("{}/{}", address.addr, address.prefix))
                    .collect(),
            }),
        };
        (State::Attached, found)
    }

    /// Returns the veth peer or the parent of a container's interface.
    fn leading_to(&self, inside: &Link) -> Option<&Link> {
        // The parent of a link in the same namespace has no namespace identifier, and is not on the host.
        inside.link_netnsid?;
        let host = self.links.get(&inside.link?)?;
        // The index may be that of a link in a third namespace.
        let is_peer = host.link == Some(inside.index) && host.link_netnsid.is_some();
        (!inside.is_kind("veth") || is_peer).then_some(host)
    }

    fn describe(&self, link: &Link) -> HostLink {
        let mut masters = Vec::new();
        let mut next = link.master;
        while let Some(master) = next.and_then(|index| self.links.get(&index)) {
            masters.push(master.name.clone());
            next = master.master;
        }
        HostLink {
            name: link.name.clone(),
            index: link.index,
            kind: link.kind.clone().unwrap_or_default(),
            up: link.is_up(),
            masters,
            alias: link.alias.clone(),
        }
    }

    /// Returns the limits of the traffic through a veth: its own, and that of the ifb to which received packets are
    /// redirected.
    fn shaping(&self, veth: &Link) -> Vec<Shaping> {
        if !veth.is_kind("veth") {
            return Vec::new();
        }
        let filters = self
            .handle
            .filters(veth.index, TcHandle::INGRESS_QDISC)
            .unwrap_or_default();
        let ifb = filters.iter().find_map(|filter| filter.filter.redirect);
        let ifb = ifb.and_then(|index| self.links.get(&index));
        let limits = [
            self.limit(veth, Direction::ToContainer),
            ifb.and_then(|ifb| self.limit(ifb, Direction::FromContainer)),
        ];
        limits.into_iter().flatten().collect()
    }

    /// Returns the limit by a link's root qdisc.
    fn limit(&self, link: &Link, direction: Direction) -> Option<Shaping> {
        let root = self.handle.qdisc(link.index, TcHandle::ROOT).ok()??;
        let bytes = match root.info {
            QdiscInfo::Tbf(tbf) => tbf.rate,
            // Traffic that is not to be limited has a class with a higher rate.
            QdiscInfo::Htb(_) => {
                let classes = self.handle.classes(link.index).ok()?;
                classes
                    .iter()
                    .filter_map(|class| class.htb)
                    .map(|htb| htb.rate)
                    .min()?
            }
            _ => return None,
        };
        Some(Shaping {
            direction,
            link: link.name.clone(),
            qdisc: root.kind,
            rate: bytes.saturating_mul(8),
        })
    }
}

/// Netlink sockets in the namespaces of containers: one for all attachments of a namespace.
#[derive(Default)]
pub(crate) struct Containers {
    opened: HashMap<String, Result<Handle, State>>,
    /// Why namespaces could not be entered.
    pub(crate) problems: Vec<String>,
}

impl Containers {
    /// Returns the interface `if_name` in the namespace at `netns`, with a socket there.
    ///
    /// # Errors
    ///
    /// When there is none: the state of its attachment.
    pub(crate) fn find(&mut self, netns: &str, if_name: &str) -> Result<(&Handle, Link), State> {
        let container = self.open(netns)?;
        let link = container.link_by_name(if_name);
        link.map(|link| (container, link))
            .map_err(|_| State::NoInterface)
    }

    fn open(&mut self, netns: &str) -> Result<&Handle, State> {
        let opened =
            self.opened
                .entry(netns.to_owned())
                .or_insert_with(|| match open(Path::new(netns)) {
                    Ok(Some(handle)) => Ok(handle),
                    Ok(None) => Err(State::NamespaceGone),
                    Err(error) => {
                        self.problems.push(format!("{error:#}"));
                        Err(State::Unknown)
                    }
                });
        opened.as_ref().map_err(|state| *state)
    }
}

/// Returns a socket in the namespace at `path`, `None` if it is gone.
fn open(path: &Path) -> Result<Option<Handle>> {
    if path.as_os_str().is_empty() {
        anyhow::bail!("the cache has an attachment without the path of its namespace");
    }
    let netns = match Netns::open(path) {
        Ok(netns) => netns,
        Err(error) if error.is_gone() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match netns.run(Handle::open) {
        Ok(handle) => Ok(Some(handle.with_context(|| path.display().to_string())?)),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error.into()),
    }
}
