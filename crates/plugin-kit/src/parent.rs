//! The master of a macvlan, ipvlan or vlan: its namespace, look-up, and MTU.

use crate::{Container, detailed};
use anyhow::{Context, bail};
use cni_core::quote::quote;
use rtnl::{Family, Handle, Link, RT_TABLE_MAIN, RTN_UNICAST, Route, RouteFilter};

/// `RTNH_F_DEAD` of linux/rtnetlink.h: the next hop's link is down.
const RTNH_F_DEAD: u8 = 1;

/// The network namespace of the master, in which the link is created: the host's, or with
/// `linkInContainer` the container's.
pub struct Side<'c> {
    host: Option<Handle>,
    container: &'c Container,
}

impl<'c> Side<'c> {
    /// Returns the container's namespace if `in_container` is set, else the host's, which is
    /// that of the calling thread.
    ///
    /// # Errors
    /// When no netlink socket can be opened on the host.
    pub fn open(container: &'c Container, in_container: bool) -> anyhow::Result<Self> {
        let host = match in_container {
            true => None,
            false => Some(Handle::open().context("failed to talk to the host's kernel")?),
        };
        Ok(Side { host, container })
    }

    /// Returns a netlink socket of this namespace.
    pub fn handle(&self) -> &Handle {
        self.host.as_ref().unwrap_or(&self.container.rtnl)
    }

    /// Checks that the lower link of the container's `link` is the link `name` of this
    /// namespace. An empty name is not checked, since the default route may have changed
    /// since ADD.
    ///
    /// # Errors
    /// When the lower link is another one, or there is no link of that name.
    pub fn check(&self, link: &Link, name: &str) -> anyhow::Result<()> {
        if name.is_empty() {
            return Ok(());
        }
        let master = find(self.handle(), name)?;
        // If the master of a macvlan is a macvlan itself, the kernel uses the master's lower
        // link, and the same for ipvlan.
        let stacked = link.kind.is_some() && link.kind == master.kind && !link.is_kind("vlan");
        let (index, in_other_netns) = match stacked {
            true => (master.link, None),
            false => (Some(master.index), Some(self.host.is_some())),
        };
        let same_netns = in_other_netns.is_none_or(|other| other == link.link_netnsid.is_some());
        if link.link != index || !same_netns {
            bail!(
                "Interface {} is not on master {}: its parent is link {} {}, not {}",
                link.name,
                quote(name),
                link.link.unwrap_or_default(),
                match link.link_netnsid {
                    Some(_) => "of another namespace",
                    None => "of its own namespace",
                },
                index.unwrap_or_default(),
            );
        }
        Ok(())
    }
}

/// Returns the link `name`, or the link of the default route if the name is empty.
///
/// # Errors
/// When there is no such link.
pub fn find(handle: &Handle, name: &str) -> anyhow::Result<Link> {
    match name {
        "" => default_master(handle),
        _ => handle
            .link_by_name(name)
            .with_context(|| format!("failed to lookup master {}", quote(name))),
    }
}

/// Returns the link of the preferred default route of the main table: IPv4 before IPv6,
/// then the lowest metric. Of several next hops it is the first that is up.
fn default_master(handle: &Handle) -> anyhow::Result<Link> {
    let best = best_default_route(handle, Family::V4)?;
    let best = match best {
        None => best_default_route(handle, Family::V6)?,
        best => best,
    };
    let index = best.as_ref().and_then(first_hop).ok_or_else(|| {
        detailed(
            "no default route interface found",
            "set \"master\", or add a default route to the main table",
        )
    })?;
    handle
        .link_by_index(index)
        .with_context(|| format!("failed to lookup the interface of the default route ({index})"))
}

/// Returns the default route of a family with the lowest metric.
fn best_default_route(handle: &Handle, family: Family) -> anyhow::Result<Option<Route>> {
    let routes = default_routes(handle, Some(family))?;
    // Of routes with the same metric the first, as in the kernel.
    Ok(routes.into_iter().min_by_key(|route| route.priority))
}

/// Returns the unicast default routes of the main table.
fn default_routes(handle: &Handle, family: Option<Family>) -> anyhow::Result<Vec<Route>> {
    let filter = RouteFilter {
        family,
        table: Some(RT_TABLE_MAIN),
        ..RouteFilter::default()
    };
    let mut routes = handle.routes(&filter).context("failed to list routes")?;
    routes.retain(|r| r.is_default() && r.kind == RTN_UNICAST && first_hop(r).is_some());
    Ok(routes)
}

/// Returns the index of the output link of `route`: of several next hops the first that
/// is up, or if all are down the first.
fn first_hop(route: &Route) -> Option<u32> {
    let alive = route.hops.iter().find(|hop| hop.flags & RTNH_F_DEAD == 0);
    route
        .oif
        .or(alive.or(route.hops.first()).map(|hop| hop.oif))
        .filter(|index| *index != 0)
}

/// Returns the MTU in bytes of the default routes through `link`: that of the link, or the
/// `mtu` of such a route if it is smaller.
///
/// # Errors
/// When the routes cannot be listed.
pub(crate) fn path_mtu(handle: &Handle, link: &Link) -> anyhow::Result<u32> {
    let routes = default_routes(handle, None)?;
    let through_link = routes.iter().filter(|route| route.uses_link(link.index));
    let mtus = through_link.filter_map(|route| route.mtu);
    Ok(mtus.fold(link.mtu, u32::min))
}

/// Returns the smallest MTU in bytes of the preferred default routes of both families and
/// their links; `None` without a default route.
///
/// # Errors
/// When routes or links cannot be listed.
pub fn egress_mtu(handle: &Handle) -> anyhow::Result<Option<u32>> {
    let mut smallest: Option<u32> = None;
    for family in [Family::V4, Family::V6] {
        let Some(route) = best_default_route(handle, family)? else {
            continue;
        };
        let hops = route.hops.iter().map(|hop| hop.oif);
        for index in route.oif.into_iter().chain(hops) {
            let link = handle.link_by_index(index).with_context(|| {
                format!("failed to lookup the interface of the default route ({index})")
            })?;
            let mtu = route.mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu));
            smallest = Some(smallest.map_or(mtu, |smallest| smallest.min(mtu)));
        }
    }
    Ok(smallest)
}

/// Checks that a macvlan or ipvlan can be created on `master`. It cannot on a bridge port,
/// whose frames all go to the bridge, nor on the loopback interface.
///
/// # Errors
/// When it cannot, with the reason.
pub fn usable(master: &Link) -> anyhow::Result<()> {
    if master.port.is_some() {
        bail!(
            "master {} is a port of a bridge; use the bridge instead",
            quote(&master.name)
        );
    }
    if master.flags & rtnl::IFF_LOOPBACK != 0 {
        bail!("master {} is the loopback interface", quote(&master.name));
    }
    Ok(())
}
