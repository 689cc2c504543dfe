//! Links that stand on another: their master, and how much it carries.

use crate::{Container, detailed};
use anyhow::{Context, bail};
use cni_core::quote::quote;
use rtnl::{Family, Handle, Link, RT_TABLE_MAIN, RTN_UNICAST, Route, RouteFilter};

/// `RTNH_F_DEAD` of linux/rtnetlink.h: the next hop's link is down.
const RTNH_F_DEAD: u8 = 1;

/// Where a master is looked for, and a link on it is made from: the host, or with
/// `linkInContainer` the container itself.
pub struct Side<'c> {
    host: Option<Handle>,
    container: &'c Container,
}

impl<'c> Side<'c> {
    /// The container's side if `in_container`, else the host's: the namespace of
    /// the calling thread.
    ///
    /// # Errors
    /// When no socket can be opened on the host.
    pub fn open(container: &'c Container, in_container: bool) -> anyhow::Result<Self> {
        let host = match in_container {
            true => None,
            false => Some(Handle::open().context("failed to talk to the host's kernel")?),
        };
        Ok(Side { host, container })
    }

    /// A socket on this side.
    pub fn handle(&self) -> &Handle {
        self.host.as_ref().unwrap_or(&self.container.rtnl)
    }

    /// Tests that `link`, in the container, stands on the link called `name`, which
    /// is on this side. An empty name stands for whatever was the master when the
    /// link was made, and passes.
    ///
    /// # Errors
    /// When it stands on another one, or there is none of that name.
    pub fn check(&self, link: &Link, name: &str) -> anyhow::Result<()> {
        if name.is_empty() {
            return Ok(());
        }
        let master = find(self.handle(), name)?;
        // The kernel puts macvlan on macvlan, and ipvlan on ipvlan, beside each
        // other on the lowest link.
        let stacked = link.kind.is_some() && link.kind == master.kind && !link.is_kind("vlan");
        let (index, elsewhere) = match stacked {
            true => (master.link, None),
            false => (Some(master.index), Some(self.host.is_some())),
        };
        let same_side = elsewhere.is_none_or(|e| e == link.link_netnsid.is_some());
        if link.link != index || !same_side {
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

/// The link called `name`, or with an empty name the one that the default route
/// leads to.
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

/// The link of the best default route of the main table: IPv4 before IPv6, then
/// the lowest metric; of several next hops the first that is alive. Default routes
/// of VRFs are in tables of their own and have no part in it.
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

fn best_default_route(handle: &Handle, family: Family) -> anyhow::Result<Option<Route>> {
    let routes = default_routes(handle, Some(family))?;
    // The first of several equals, as the kernel takes it.
    Ok(routes.into_iter().min_by_key(|route| route.priority))
}

/// The default routes of the main table that lead anywhere.
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

/// The link that `route` sends by.
fn first_hop(route: &Route) -> Option<u32> {
    let alive = route.hops.iter().find(|hop| hop.flags & RTNH_F_DEAD == 0);
    route
        .oif
        .or(alive.or(route.hops.first()).map(|hop| hop.oif))
        .filter(|index| *index != 0)
}

/// The MTU in bytes of what is sent through `link` to far away: the link's own, or
/// less if a default route through it says so.
///
/// # Errors
/// When the routes cannot be listed.
pub fn path_mtu(handle: &Handle, link: &Link) -> anyhow::Result<u32> {
    let routes = default_routes(handle, None)?;
    let told = routes.iter().filter(|route| route.uses_link(link.index));
    Ok(told.filter_map(|route| route.mtu).fold(link.mtu, u32::min))
}

/// The MTU in bytes of the way out: the smallest along the best default route of
/// each address family; `None` without any.
///
/// # Errors
/// When routes or links cannot be looked at.
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
            let mtu = route.mtu.map_or(link.mtu, |told| told.min(link.mtu));
            smallest = Some(smallest.map_or(mtu, |s| s.min(mtu)));
        }
    }
    Ok(smallest)
}

/// Whether `master` could take one more link on it, as far as it shows: a port of
/// a bridge hands its frames to the bridge, and the loopback link has none.
///
/// # Errors
/// Why it could not.
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
