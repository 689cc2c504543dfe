//! Masters of links: lookup, MTU, and the namespace they are in.

use crate::{Container, detailed};
use anyhow::{Context, bail};
use cni_core::quote::quote;
use rtnl::{Family, Handle, Link, RT_TABLE_MAIN, RTN_UNICAST, Route, RouteFilter};

/// `RTNH_F_DEAD` of linux/rtnetlink.h: the next hop's link is down.
const RTNH_F_DEAD: u8 = 1;

/// The namespace of the master, from which the link is created: the host's, or with
/// `linkInContainer` the container's.
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

    /// Tests that the link `name` of this side is the lower link of `link`, which is in
    /// the container. An empty name passes: the master at the time of ADD is not recorded.
    ///
    /// # Errors
    /// When the lower link is another one, or there is none of that name.
    pub fn check(&self, link: &Link, name: &str) -> anyhow::Result<()> {
        if name.is_empty() {
            return Ok(());
        }
        let master = find(self.handle(), name)?;
        // The kernel creates a macvlan of a macvlan, and an ipvlan of an ipvlan, on the
        // master's lower link.
        let stacked = link.kind.is_some() && link.kind == master.kind && !link.is_kind("vlan");
        let (index, in_other_netns) = match stacked {
            true => (master.link, None),
            false => (Some(master.index), Some(self.host.is_some())),
        };
        let same_side = in_other_netns.is_none_or(|e| e == link.link_netnsid.is_some());
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

/// The link `name`, or with an empty name the link of the default route.
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

/// The link of the preferred default route of the main table: IPv4 before IPv6, then
/// the lowest metric; of several next hops the first that is up.
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
    // Of equal metrics the first, as in the kernel.
    Ok(routes.into_iter().min_by_key(|route| route.priority))
}

/// The unicast default routes of the main table.
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

/// The output link of `route`.
fn first_hop(route: &Route) -> Option<u32> {
    let alive = route.hops.iter().find(|hop| hop.flags & RTNH_F_DEAD == 0);
    route
        .oif
        .or(alive.or(route.hops.first()).map(|hop| hop.oif))
        .filter(|index| *index != 0)
}

/// The MTU in bytes of the default routes through `link`: the link's own, or the `mtu`
/// of such a route if that is smaller.
///
/// # Errors
/// When the routes cannot be listed.
pub(crate) fn path_mtu(handle: &Handle, link: &Link) -> anyhow::Result<u32> {
    let routes = default_routes(handle, None)?;
    let told = routes.iter().filter(|route| route.uses_link(link.index));
    Ok(told.filter_map(|route| route.mtu).fold(link.mtu, u32::min))
}

/// The smallest MTU in bytes of the preferred default routes of both families and their
/// links; `None` without a default route.
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
            let mtu = route.mtu.map_or(link.mtu, |told| told.min(link.mtu));
            smallest = Some(smallest.map_or(mtu, |s| s.min(mtu)));
        }
    }
    Ok(smallest)
}

/// Tests that a macvlan or ipvlan can be created on `master`: not on a port of a bridge,
/// which passes its frames to the bridge, nor on the loopback link.
///
/// # Errors
/// The reason why it cannot.
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
