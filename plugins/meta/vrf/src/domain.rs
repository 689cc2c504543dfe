//! The VRF itself: finding, making and removing it.

use crate::config::{Config, is_reserved};
use anyhow::{Context, anyhow, bail};
use plugin_kit::{Container, Undo};
use rtnl::{
    Handle, KindInfo, Link, LinkChange, LinkKind, LinkSpec, Request, RouteFilter, RuleFilter,
};

/// The alias of a VRF that this plugin has made, and may remove.
const MARK: &str = "made by the CNI plugin vrf";

/// A VRF of the container.
#[derive(Clone, Debug)]
pub(crate) struct Domain {
    pub(crate) link: Link,
    pub(crate) table: u32,
}

impl Domain {
    /// The VRF that `link` is, if it is one.
    pub(crate) fn of(link: Link) -> Option<Domain> {
        match link.info {
            KindInfo::Vrf(ref info) => Some(Domain {
                table: info.table,
                link,
            }),
            _ => None,
        }
    }

    /// The one by this name; `None` when there is no such link.
    ///
    /// # Errors
    /// When the link is something else.
    pub(crate) fn find(handle: &Handle, name: &str) -> anyhow::Result<Option<Domain>> {
        match handle.link_by_name(name) {
            Ok(link) => Domain::of(link)
                .map(Some)
                .with_context(|| format!("Netlink {name} is not a VRF")),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(anyhow!(e).context(format!("could not look for VRF {name}"))),
        }
    }

    /// The one that the configuration asks for, made if need be.
    ///
    /// # Errors
    /// When it has another table, or cannot be made.
    pub(crate) fn ensure<'c>(
        container: &'c Container,
        config: &Config,
        undo: &mut Undo<'c>,
    ) -> anyhow::Result<Domain> {
        let name = &config.vrf;
        if let Some(present) = Domain::find(&container.rtnl, name)? {
            return present.suits(config);
        }
        let table = match config.table {
            Some(table) => table,
            None => free_table(&container.rtnl)?,
        };
        let kind = LinkKind::Vrf(rtnl::Vrf { table });
        let spec = LinkSpec::new(name.clone(), kind);
        match container.rtnl.request(Request::new_link(&spec)) {
            Ok(_) => {}
            Err(e) if e.is_exists() => {
                // Somebody who does not know of the lock was quicker.
                let present = Domain::find(&container.rtnl, name)?;
                let present = present.with_context(|| format!("could not add VRF {name}: {e}"))?;
                return present.suits(config);
            }
            Err(e) => return Err(anyhow!(e).context(format!("could not add VRF {name}"))),
        }
        undo.push("remove the VRF", {
            let name = name.clone();
            move || match container.rtnl.request(Request::del_link_by_name(&name)) {
                Err(e) if !e.is_not_found() => Err(e.into()),
                _ => Ok(()),
            }
        });
        let made = Domain::find(&container.rtnl, name)?;
        let made = made.with_context(|| format!("could not add VRF {name}: it is gone again"))?;
        let change = LinkChange {
            up: Some(true),
            alias: Some(MARK.to_owned()),
            ..LinkChange::default()
        };
        container
            .rtnl
            .request(Request::set_link(made.link.index, &change))
            .with_context(|| format!("could not set link up for VRF {name}"))?;
        Ok(made)
    }

    /// Itself, if it has the table that is asked for.
    pub(crate) fn suits(self, config: &Config) -> anyhow::Result<Domain> {
        if config.table.is_some_and(|table| table != self.table) {
            bail!(
                "VRF {} already exist with different routing table {}",
                config.vrf,
                self.table
            );
        }
        Ok(self)
    }

    /// Whether this plugin has made it.
    pub(crate) fn is_ours(&self) -> bool {
        self.link.alias == MARK
    }

    /// Removes it, if this plugin has made it and it has no interface any more.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn remove_if_unused(&self, handle: &Handle) -> anyhow::Result<()> {
        if !self.is_ours() {
            return Ok(());
        }
        let name = &self.link.name;
        let members = handle
            .links_by_master(self.link.index)
            .with_context(|| format!("could not list the interfaces of VRF {name}"))?;
        if !members.is_empty() {
            return Ok(());
        }
        match handle.request(Request::del_link(self.link.index)) {
            Err(e) if !e.is_not_found() => {
                Err(anyhow!(e).context(format!("could not remove VRF {name}")))
            }
            _ => Ok(()),
        }
    }
}

/// The first table that neither the kernel, a VRF, a rule nor a route uses.
fn free_table(handle: &Handle) -> anyhow::Result<u32> {
    let vrfs = handle.links_by_kind("vrf").context("could not list VRFs")?;
    let rules = handle.rules(&RuleFilter::default());
    let rules = rules.context("could not list rules")?;
    let routes = handle.routes(&RouteFilter::default());
    let routes = routes.context("could not list routes")?;
    let mut used: Vec<u32> = vrfs
        .into_iter()
        .filter_map(Domain::of)
        .map(|d| d.table)
        .collect();
    used.extend(rules.iter().filter_map(|rule| rule.table));
    used.extend(routes.iter().map(|route| route.table));
    (1..=u32::MAX)
        .find(|table| !is_reserved(*table) && !used.contains(table))
        .context("no free routing table")
}
