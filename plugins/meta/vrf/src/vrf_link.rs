//! Finds, creates and deletes VRF links.

use crate::config::{Config, is_reserved};
use anyhow::{Context, anyhow, bail};
use plugin_kit::{Container, Undo, deletion};
use rtnl::{
    Handle, KindInfo, Link, LinkChange, LinkKind, LinkSpec, Request, RouteFilter, RuleFilter,
};

/// The alias of VRFs that this plugin has created, and may delete.
const ALIAS: &str = "made by the CNI plugin vrf";

/// A VRF of the container.
#[derive(Clone, Debug)]
pub(crate) struct VrfLink {
    pub(crate) link: Link,
    pub(crate) table: u32,
}

impl VrfLink {
    /// `link` as a VRF; `None` if it is another kind of link.
    pub(crate) fn of(link: Link) -> Option<VrfLink> {
        match link.info {
            KindInfo::Vrf(ref info) => Some(VrfLink {
                table: info.table,
                link,
            }),
            _ => None,
        }
    }

    /// Finds the VRF by its name; `None` when there is no such link.
    ///
    /// # Errors
    /// When the link is of another kind.
    pub(crate) fn find(handle: &Handle, name: &str) -> anyhow::Result<Option<VrfLink>> {
        match handle.link_by_name(name) {
            Ok(link) => VrfLink::of(link)
                .map(Some)
                .with_context(|| format!("Netlink {name} is not a VRF")),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(anyhow!(e).context(format!("could not look for VRF {name}"))),
        }
    }

    /// Finds the configured VRF, or creates it.
    ///
    /// # Errors
    /// When it has another table, or cannot be created.
    pub(crate) fn ensure<'c>(
        container: &'c Container,
        config: &Config,
        undo: &mut Undo<'c>,
    ) -> anyhow::Result<VrfLink> {
        let name = &config.vrf;
        if let Some(present) = VrfLink::find(&container.rtnl, name)? {
            return present.require_table(config);
        }
        let table = match config.table {
            Some(table) => table,
            None => free_table(&container.rtnl)?,
        };
        let kind = LinkKind::Vrf(rtnl::Vrf { table });
        let spec = LinkSpec::new(name.clone(), kind);
        // In one datagram: a VRF without the alias of an ADD that was killed would never be deleted.
        let change = LinkChange {
            name: Some(name.clone()),
            up: Some(true),
            alias: Some(ALIAS.to_owned()),
            ..LinkChange::default()
        };
        // By its name: the index is not known yet.
        let requests = vec![Request::new_link(&spec), Request::set_link(0, &change)];
        let mut replies = container.rtnl.batch(requests).into_iter();
        match replies.next().transpose() {
            Ok(_) => {}
            Err(e) if e.is_exists() => {
                // Created meanwhile by a program that does not take the lock.
                let present = VrfLink::find(&container.rtnl, name)?;
                let present = present.with_context(|| format!("could not add VRF {name}: {e}"))?;
                present.disown(container)?;
                return present.require_table(config);
            }
            Err(e) => return Err(anyhow!(e).context(format!("could not add VRF {name}"))),
        }
        undo.push("delete the VRF", {
            let name = name.clone();
            move || deletion::delete(container, &name)
        });
        replies
            .next()
            .transpose()
            .with_context(|| format!("could not set link up for VRF {name}"))?;
        let created = VrfLink::find(&container.rtnl, name)?;
        created.with_context(|| format!("could not add VRF {name}: it was deleted meanwhile"))
    }

    /// Takes the alias away from a VRF of another program.
    fn disown(&self, container: &Container) -> anyhow::Result<()> {
        let change = LinkChange {
            alias: Some(String::new()),
            ..LinkChange::default()
        };
        let name = &self.link.name;
        let request = Request::set_link(self.link.index, &change);
        let answer = container.rtnl.request(request);
        answer.with_context(|| format!("could not unset the alias of VRF {name}"))?;
        Ok(())
    }

    /// Returns it if it has the configured table, or none is configured.
    pub(crate) fn require_table(self, config: &Config) -> anyhow::Result<VrfLink> {
        if config.table.is_some_and(|table| table != self.table) {
            bail!(
                "VRF {} already exist with different routing table {}",
                config.vrf,
                self.table
            );
        }
        Ok(self)
    }

    /// Whether this plugin has created it.
    pub(crate) fn is_ours(&self) -> bool {
        self.link.alias == ALIAS
    }

    /// Deletes it if this plugin has created it and it has no interface.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn delete_if_unused(&self, container: &Container) -> anyhow::Result<()> {
        if !self.is_ours() {
            return Ok(());
        }
        let name = &self.link.name;
        let members = container
            .rtnl
            .links_by_master(self.link.index)
            .with_context(|| format!("could not list the interfaces of VRF {name}"))?;
        if !members.is_empty() {
            return Ok(());
        }
        deletion::delete_inside(container, self.link.index)
            .with_context(|| format!("could not remove VRF {name}"))
    }
}

/// The first table that is not reserved, and that no VRF, rule or route uses.
fn free_table(handle: &Handle) -> anyhow::Result<u32> {
    let vrfs = handle.links_by_kind("vrf").context("could not list VRFs")?;
    let rules = handle.rules(&RuleFilter::default());
    let rules = rules.context("could not list rules")?;
    let routes = handle.routes(&RouteFilter::default());
    let routes = routes.context("could not list routes")?;
    let mut used: Vec<u32> = vrfs
        .into_iter()
        .filter_map(VrfLink::of)
        .map(|d| d.table)
        .collect();
    used.extend(rules.iter().filter_map(|rule| rule.table));
    used.extend(routes.iter().map(|route| route.table));
    (1..=u32::MAX)
        .find(|table| !is_reserved(*table) && !used.contains(table))
        .context("no free routing table")
}
