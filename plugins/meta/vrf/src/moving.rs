//! Moving an interface into a VRF and out of it, with all that it has.
//!
//! The kernel takes the interface down and up for it. IPv4 addresses and the routes that
//! come with addresses outlast that; everything else would be lost.

use anyhow::{Context, anyhow, bail};
use plugin_kit::{Container, addressing, sysctl};
use rtnl::{
    Address, Exclusivity, Family, Handle, Link, LinkChange, NUD_PERMANENT, Neighbour,
    RT_TABLE_LOCAL, RTPROT_KERNEL, Request, RouteCopy, RouteFilter, Scope,
};
use std::time::{Duration, Instant};

/// `RTPROT_REDIRECT` and `RTPROT_RA` of linux/rtnetlink.h: routes that routers tell of,
/// and tell of again.
const RTPROT_REDIRECT: u8 = 1;
const RTPROT_RA: u8 = 9;

/// How long the kernel may take until an IPv6 address is usable again.
const SETTLING: Duration = Duration::from_secs(5);

/// What an interface has and would lose.
pub(crate) struct Belongings {
    addresses: Vec<Address>,
    neighbours: Vec<Neighbour>,
    /// Those of all tables.
    routes: Vec<RouteCopy>,
}

impl Belongings {
    /// Those of `link`.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(crate) fn of(handle: &Handle, link: &Link) -> anyhow::Result<Belongings> {
        let index = link.index;
        let mut addresses = handle
            .addresses(index, Some(Family::V6))
            .with_context(|| format!("could not list the addresses of {}", link.name))?;
        // The kernel makes link-local ones itself, and routers tell of those that end.
        addresses.retain(|a| a.scope != Scope::LINK && a.is_permanent());
        let mut neighbours = handle
            .neighbours(index, None)
            .with_context(|| format!("could not list the neighbours of {}", link.name))?;
        neighbours.retain(|neighbour| neighbour.state & NUD_PERMANENT != 0);
        let filter = RouteFilter {
            oif: Some(index),
            ..RouteFilter::default()
        };
        let mut routes = handle
            .route_copies(&filter)
            .with_context(|| format!("could not list the routes of {}", link.name))?;
        routes.retain(|copy| is_lost(copy, index));
        // First those that the gateways of the others are reached by.
        routes.sort_by_key(|copy| copy.gateways().next().is_some());
        Ok(Belongings {
            addresses,
            neighbours,
            routes,
        })
    }

    /// The same with the routes of table `from` in table `to`.
    pub(crate) fn moved(&self, from: u32, to: u32) -> Belongings {
        let place = |copy: &RouteCopy| match copy.route().table == from {
            true => copy.in_table(to),
            false => copy.clone(),
        };
        Belongings {
            addresses: self.addresses.clone(),
            neighbours: self.neighbours.clone(),
            routes: self.routes.iter().map(place).collect(),
        }
    }

    /// Gives `link` the master `master` (none is 0), and then all of this.
    ///
    /// # Errors
    /// When the kernel refuses; `what` names the move.
    pub(crate) fn carry(
        &self,
        container: &Container,
        link: &Link,
        master: u32,
        what: &str,
    ) -> anyhow::Result<()> {
        let change = LinkChange {
            master: Some(master),
            ..LinkChange::default()
        };
        let keeping = Keeping::begin(container, link, !self.addresses.is_empty())?;
        container
            .rtnl
            .request(Request::set_link(link.index, &change))
            .with_context(|| what.to_owned())?;
        self.restore_addresses(container, link)?;
        drop(keeping);
        let mut texts = Vec::new();
        let mut requests = Vec::new();
        for neighbour in &self.neighbours {
            texts.push(format!("could not restore neighbour {}", neighbour.addr));
            let (addr, mac) = (neighbour.addr, &neighbour.mac);
            requests.push(Request::set_neighbour(link.index, addr, mac));
        }
        for copy in &self.routes {
            let route = copy.route();
            texts.push(format!(
                "could not add route '{}/{}' to table {}",
                route.dst, route.prefix, route.table
            ));
            requests.push(Request::add_route_copy(copy, Exclusivity::Behind));
        }
        if requests.is_empty() {
            return Ok(());
        }
        let mut outcome = Ok(());
        for (text, reply) in texts.into_iter().zip(container.rtnl.batch(requests)) {
            if let Err(e) = reply
                && !e.is_exists()
            {
                outcome = outcome.and(Err(anyhow!(e).context(text)));
            }
        }
        outcome
    }

    /// Adds what did not outlast the move, and waits until all of it is usable: routes
    /// may have it for their source.
    fn restore_addresses(&self, container: &Container, link: &Link) -> anyhow::Result<()> {
        if self.addresses.is_empty() {
            return Ok(());
        }
        let handle = &container.rtnl;
        // Opened in the container: events come from the socket's namespace.
        let mut events = container.run(Handle::subscribe_addresses)??;
        let listed = || {
            let present = handle.addresses(link.index, Some(Family::V6));
            present.with_context(|| format!("could not list the addresses of {}", link.name))
        };
        let present = listed()?;
        for address in &self.addresses {
            if present.iter().any(|p| p.addr == address.addr) {
                continue;
            }
            let spec = addressing::again(address);
            handle
                .request(Request::add_address(link.index, &spec))
                .with_context(|| {
                    format!(
                        "could not restore address {} to {}",
                        address.addr, link.name
                    )
                })?;
        }
        if !link.is_up() {
            return Ok(());
        }
        let of = |present: &[Address], test: fn(&Address) -> bool| {
            let mut kept = self.addresses.iter();
            kept.any(|address| present.iter().any(|p| p.addr == address.addr && test(p)))
        };
        let settled = |present: &[Address]| {
            of(present, Address::is_dad_failed) || !of(present, Address::is_tentative)
        };
        let until = Instant::now() + SETTLING;
        let waited = events
            .wait(handle, link.index, until, settled)
            .with_context(|| format!("could not list the addresses of {}", link.name))?;
        if of(&waited.into_inner(), Address::is_dad_failed) {
            bail!(
                "an address of {} is taken: another host on the network has it",
                link.name
            );
        }
        // On a link without a carrier they never are, and that is no error.
        Ok(())
    }
}

/// Whether somebody has made the route, and it goes with the interface. One with next
/// hops on other interfaces outlasts the move where it is.
fn is_lost(copy: &RouteCopy, index: u32) -> bool {
    let route = copy.route();
    let of_the_kernel = matches!(route.protocol, RTPROT_KERNEL | RTPROT_REDIRECT | RTPROT_RA);
    let alone = route.hops.iter().all(|hop| hop.oif == index);
    !of_the_kernel && alone && route.table != RT_TABLE_LOCAL
}

/// While it lives, the kernel keeps the IPv6 addresses of an interface that goes down
/// (`keep_addr_on_down` of the kernel's `networking/ip-sysctl`).
struct Keeping<'c> {
    container: &'c Container,
    key: String,
    was: Option<String>,
}

impl<'c> Keeping<'c> {
    fn begin(container: &'c Container, link: &Link, wanted: bool) -> anyhow::Result<Keeping<'c>> {
        let key = format!("net/ipv6/conf/{}/keep_addr_on_down", link.name);
        let mut was = None;
        if wanted {
            was = container.run(|| {
                let was = sysctl::get(&key).ok().filter(|was| was != "1")?;
                // Where it cannot be set, the addresses are added again.
                sysctl::ensure(&key, "1").ok().map(|()| was)
            })?;
        }
        Ok(Keeping {
            container,
            key,
            was,
        })
    }
}

impl Drop for Keeping<'_> {
    fn drop(&mut self) {
        if let Some(was) = &self.was {
            let restored = self.container.run(|| sysctl::ensure(&self.key, was));
            if !matches!(restored, Ok(Ok(()))) {
                plugin_kit::chain::note(&format!("failed to restore {} to {was}", self.key));
            }
        }
    }
}
