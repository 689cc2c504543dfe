//! Moves an interface into a VRF and out of it, and restores the state that it loses.
//!
//! The kernel takes the interface down and up when its master changes. IPv4 addresses and
//! connected routes survive that; IPv6 addresses, other routes and neighbours do not.

use anyhow::{Context, anyhow, bail};
use plugin_kit::failures::Failures;
use plugin_kit::{Container, addressing, sysctl};
use rtnl::{
    Address, Exclusivity, Family, Handle, Link, LinkChange, NUD_PERMANENT, Neighbour,
    RT_TABLE_LOCAL, RTPROT_KERNEL, RawRoute, Request, RouteFilter, Scope,
};
use std::time::{Duration, Instant};

/// `RTPROT_REDIRECT` and `RTPROT_RA` of linux/rtnetlink.h: routes that routers announce,
/// and will announce again.
const RTPROT_REDIRECT: u8 = 1;
const RTPROT_RA: u8 = 9;

/// How long duplicate address detection of a restored IPv6 address may take.
const DAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The state of an interface that a change of its master deletes.
pub(crate) struct InterfaceState {
    /// IPv6 addresses.
    addresses: Vec<Address>,
    /// Permanent neighbours.
    neighbours: Vec<Neighbour>,
    /// Routes of all tables.
    routes: Vec<RawRoute>,
}

impl InterfaceState {
    /// Reads the state of `link`.
    ///
    /// # Errors
    /// When the kernel refuses a dump.
    pub(crate) fn of(handle: &Handle, link: &Link) -> anyhow::Result<InterfaceState> {
        let index = link.index;
        let mut addresses = handle
            .addresses(index, Some(Family::V6))
            .with_context(|| format!("could not list the addresses of {}", link.name))?;
        // The kernel adds link-local addresses itself, and routers announce those that
        // expire.
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
            .raw_routes(&filter)
            .with_context(|| format!("could not list the routes of {}", link.name))?;
        routes.retain(|copy| is_lost(copy, index));
        // First the routes that the gateways of the others are reached by.
        routes.sort_by_key(|copy| copy.gateways().next().is_some());
        Ok(InterfaceState {
            addresses,
            neighbours,
            routes,
        })
    }

    /// The same state with the routes of table `from` in table `to`.
    pub(crate) fn with_routes_moved(&self, from: u32, to: u32) -> InterfaceState {
        let in_new_table = |copy: &RawRoute| match copy.route().table == from {
            true => copy.in_table(to),
            false => copy.clone(),
        };
        InterfaceState {
            addresses: self.addresses.clone(),
            neighbours: self.neighbours.clone(),
            routes: self.routes.iter().map(in_new_table).collect(),
        }
    }

    /// Sets the master of `link` to the index `master` (0 for none), and restores this
    /// state.
    ///
    /// # Errors
    /// When the kernel refuses; `what` is the text for the change of the master.
    pub(crate) fn change_master(
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
        let kept = KeptAddresses::begin(container, link, !self.addresses.is_empty())?;
        container
            .rtnl
            .request(Request::set_link(link.index, &change))
            .with_context(|| what.to_owned())?;
        self.restore_addresses(container, link)?;
        drop(kept);
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
            requests.push(Request::add_raw_route(copy, Exclusivity::Behind));
        }
        if requests.is_empty() {
            return Ok(());
        }
        let mut failures = Failures::default();
        for (text, reply) in texts.into_iter().zip(container.rtnl.batch(requests)) {
            if let Err(e) = reply
                && !e.is_exists()
            {
                failures.push(anyhow!(e).context(text));
            }
        }
        failures.result()
    }

    /// Adds the addresses that are missing, and waits until none is tentative: they may be
    /// the preferred source of routes.
    fn restore_addresses(&self, container: &Container, link: &Link) -> anyhow::Result<()> {
        if self.addresses.is_empty() {
            return Ok(());
        }
        let handle = &container.rtnl;
        // Opened in the container: a socket receives the events of its own namespace.
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
        let finished = |present: &[Address]| {
            of(present, Address::is_dad_failed) || !of(present, Address::is_tentative)
        };
        let until = Instant::now() + DAD_TIMEOUT;
        let waited = events
            .wait(handle, link.index, until, finished)
            .with_context(|| format!("could not list the addresses of {}", link.name))?;
        if of(&waited.into_inner(), Address::is_dad_failed) {
            bail!(
                "an address of {} is taken: another host on the network has it",
                link.name
            );
        }
        // Without a carrier the addresses stay tentative, which is no error.
        Ok(())
    }
}

/// Whether a change of the interface's master deletes the route for good: it was added by
/// a user, and all its next hops are on the interface.
fn is_lost(copy: &RawRoute, index: u32) -> bool {
    let route = copy.route();
    let of_the_kernel = matches!(route.protocol, RTPROT_KERNEL | RTPROT_REDIRECT | RTPROT_RA);
    let alone = route.hops.iter().all(|hop| hop.oif == index);
    !of_the_kernel && alone && route.table != RT_TABLE_LOCAL
}

/// Makes the kernel keep the IPv6 addresses of an interface that goes down, until dropped
/// (`keep_addr_on_down` of the kernel's `networking/ip-sysctl`).
struct KeptAddresses<'c> {
    container: &'c Container,
    key: String,
    was: Option<String>,
}

impl<'c> KeptAddresses<'c> {
    fn begin(
        container: &'c Container,
        link: &Link,
        wanted: bool,
    ) -> anyhow::Result<KeptAddresses<'c>> {
        let key = format!("net/ipv6/conf/{}/keep_addr_on_down", link.name);
        let mut was = None;
        if wanted {
            was = container.run(|| {
                let was = sysctl::get(&key).ok().filter(|was| was != "1")?;
                // If it cannot be set, the addresses are added again.
                sysctl::ensure(&key, "1").ok().map(|()| was)
            })?;
        }
        Ok(KeptAddresses {
            container,
            key,
            was,
        })
    }
}

impl Drop for KeptAddresses<'_> {
    fn drop(&mut self) {
        if let Some(was) = &self.was {
            let restored = self.container.run(|| sysctl::ensure(&self.key, was));
            if !matches!(restored, Ok(Ok(()))) {
                plugin_kit::chain::note(&format!("failed to restore {} to {was}", self.key));
            }
        }
    }
}
