//! A DHCPv4 lease: what the server acknowledged, and the result made of it.

use super::message::Message;
use super::options::{self, Options};
use crate::client::{Configuration, Mac};
use crate::config::Config;
use crate::domain;
use crate::time::Time;
use cni_core::{AddResult, Cidr, IpConfig, Route};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Lease time if the server gives none, as in upstream.
const DEFAULT_TIME: Duration = Duration::from_secs(3600);
/// Shortest lease time and renewal time. A server that gives less would keep the client
/// sending.
const SHORTEST: Duration = Duration::from_secs(1);

/// `RT_SCOPE_LINK` of linux/rtnetlink.h.
const SCOPE_LINK: i64 = 253;

/// Options of the acknowledgement that the result is made of.
const KEPT: &[u8] = &[
    options::ROUTERS,
    options::NAME_SERVERS,
    options::DOMAIN_NAME,
    options::INTERFACE_MTU,
    options::STATIC_ROUTES,
    options::DOMAIN_SEARCH,
    options::CLASSLESS_ROUTES,
];

/// A lease, also as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    /// The address.
    pub(crate) address: Ipv4Addr,
    /// Its prefix length.
    pub(crate) prefix: u8,
    /// The server.
    pub(crate) server: Ipv4Addr,
    /// The station from which the server's answer came: itself, or a router.
    pub(crate) via: Option<Mac>,
    /// What the result is made of.
    options: Options,
    /// When to renew, to rebind, and when the lease ends; `None` for one without end.
    pub(crate) times: Option<Times>,
}

/// The times of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Times {
    pub(crate) renew: Time,
    pub(crate) rebind: Time,
    pub(crate) expiry: Time,
}

impl Lease {
    /// Returns the lease that `ack` grants at `now`. What it leaves out is that of the
    /// lease `before`.
    ///
    /// # Errors
    /// Upstream's text, when there is no subnet mask.
    pub(crate) fn granted(
        ack: &Message,
        server: Ipv4Addr,
        via: Option<Mac>,
        before: Option<&Lease>,
        now: Time,
    ) -> Result<Lease, String> {
        let mask = ack.options.u32(options::SUBNET_MASK);
        let prefix = match (mask.map(prefix_length), before) {
            (Some(Some(prefix)), _) => prefix,
            (Some(None), _) => {
                return Err(format!(
                    "DHCP option Subnet Mask in DHCPACK is no mask: {}",
                    Ipv4Addr::from(mask.unwrap_or_default())
                ));
            }
            (None, Some(before)) if before.address == ack.yiaddr => before.prefix,
            (None, _) => return Err("DHCP option Subnet Mask not found in DHCPACK".to_owned()),
        };
        let mut options = ack.options.clone();
        options.retain(KEPT);
        Ok(Lease {
            address: ack.yiaddr,
            prefix,
            server,
            via: via.or_else(|| before.filter(|b| b.server == server)?.via),
            options,
            times: times(&ack.options, now),
        })
    }

    /// Returns the address with its prefix length.
    pub(crate) fn cidr(&self) -> Cidr {
        // The prefix is one of 32 bits; a record that was tampered with might say more.
        Cidr::new(self.address.into(), self.prefix)
            .unwrap_or_else(|| Cidr::host(self.address.into()))
    }

    /// Returns whether the lease has ended.
    pub(crate) fn has_expired(&self, now: Time) -> bool {
        self.times.is_some_and(|times| times.expiry <= now)
    }

    /// Returns the MTU that the server sets, if the configuration requests it.
    pub(crate) fn mtu(&self, config: &Config) -> Option<u32> {
        let mtu = self.options.u16(options::INTERFACE_MTU)?;
        // RFC 2132, section 5.1: at least 68.
        let is_wanted = mtu >= 68 && config.requests(options::INTERFACE_MTU);
        is_wanted.then_some(mtu.into())
    }

    fn router(&self) -> Option<IpAddr> {
        let routers = self.options.addresses(options::ROUTERS);
        routers.first().map(|router| IpAddr::V4(*router))
    }

    /// Adds the lease to a result.
    pub(crate) fn add_to(&self, config: &Config, result: &mut AddResult) {
        result.ips.push(IpConfig {
            interface: None,
            address: self.cidr(),
            gateway: self.router().filter(|_| !config.suppress_gateway),
        });
        result.routes.extend(self.routes(config));
        let add = |list: &mut Vec<String>, name: String| {
            if !list.contains(&name) {
                list.push(name);
            }
        };
        if config.requests(options::NAME_SERVERS) {
            for server in self.options.addresses(options::NAME_SERVERS) {
                add(&mut result.dns.nameservers, server.to_string());
            }
        }
        if config.requests(options::DOMAIN_NAME)
            && let Some(name) = self.options.get(options::DOMAIN_NAME)
            && let Some(name) = domain::from_text(name)
        {
            result.dns.domain = name;
        }
        if config.requests(options::DOMAIN_SEARCH) {
            let names = self.options.get(options::DOMAIN_SEARCH).unwrap_or_default();
            for name in domain::list(names) {
                add(&mut result.dns.search, name);
            }
        }
    }

    /// Returns the routes for the result: the server's, and those of the configuration.
    fn routes(&self, config: &Config) -> Vec<Route> {
        let classless = self.options.get(options::CLASSLESS_ROUTES);
        let mut routes = classless
            .and_then(classless_routes)
            .unwrap_or_else(|| self.classful_routes());
        if config.suppress_gateway {
            routes.retain(|route| !route.dst.is_default());
        }
        if config.priority != 0 {
            for route in &mut routes {
                route.priority = config.priority;
            }
        }
        let own = config
            .routes
            .iter()
            .filter(|route| route.dst.is_ipv4())
            .cloned();
        routes.extend(own.map(|mut route| {
            // The interface plugin would take the gateway of the address, which is not in
            // the result.
            if config.suppress_gateway && route.gw.is_none() && route.scope != Some(SCOPE_LINK) {
                route.gw = self.router();
            }
            if route.priority == 0 {
                route.priority = config.priority;
            }
            route
        }));
        routes
    }

    /// Routes of option 33, and the default route of option 3.
    fn classful_routes(&self) -> Vec<Route> {
        let (pairs, _) = self
            .options
            .get(options::STATIC_ROUTES)
            .unwrap_or_default()
            .as_chunks::<8>();
        let mut routes: Vec<Route> = pairs
            .iter()
            .filter_map(|[a, b, c, d, gw @ ..]| {
                let dst = Ipv4Addr::new(*a, *b, *c, *d);
                let cidr = Cidr::new(dst.into(), class_prefix(dst)?)?;
                Some(route(cidr, Ipv4Addr::from(*gw).into()))
            })
            .collect();
        let everything = Cidr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        if let (Some(router), Some(everything)) = (self.router(), everything) {
            routes.push(route(everything, router));
        }
        routes
    }

    /// Returns what is to be configured on the interface at `now`.
    pub(crate) fn configuration(&self, config: &Config, now: Time) -> Configuration {
        Configuration {
            address: self.cidr(),
            valid: self.times.map(|times| times.expiry - now),
            preferred: None,
            gateway: self.router(),
            routes: self.routes(config),
        }
    }
}

fn route(dst: Cidr, gw: IpAddr) -> Route {
    Route {
        gw: Some(gw),
        ..Route::to(dst)
    }
}

/// The length of a subnet mask of contiguous bits; `None` for any other number.
fn prefix_length(mask: u32) -> Option<u8> {
    let ones = mask.leading_ones();
    // At most 32.
    (mask.count_ones() == ones).then(|| u8::try_from(ones).unwrap_or(32))
}

/// The prefix length of the address's class (RFC 791); `None` for multicast and beyond.
fn class_prefix(address: Ipv4Addr) -> Option<u8> {
    match address.octets()[0] {
        0..=127 => Some(8),
        128..=191 => Some(16),
        192..=223 => Some(24),
        _ => None,
    }
}

/// Routes of option 121 (RFC 3442); `None` if there is none, or they are malformed.
fn classless_routes(mut value: &[u8]) -> Option<Vec<Route>> {
    let mut routes = Vec::new();
    while let [prefix, rest @ ..] = value {
        let significant = usize::from(prefix.div_ceil(8));
        let (dst, rest) = rest.split_at_checked(significant)?;
        let (gw, rest) = rest.split_first_chunk::<4>()?;
        let mut octets = [0; 4];
        octets.get_mut(..significant)?.copy_from_slice(dst);
        let dst = Cidr::new(Ipv4Addr::from(octets).into(), *prefix)?.masked();
        let mut route = route(dst, Ipv4Addr::from(*gw).into());
        if *gw == [0; 4] {
            // On the link. The gateway stays, as in upstream: without one, the interface
            // plugin would insert that of the address.
            route.scope = Some(SCOPE_LINK);
        }
        routes.push(route);
        value = rest;
    }
    (!routes.is_empty()).then_some(routes)
}

/// The times of a lease that was acknowledged at `now`. Times that are missing or not in
/// order are those of RFC 2131, section 4.4.5.
fn times(options: &Options, now: Time) -> Option<Times> {
    let lease = options
        .time(options::LEASE_TIME)
        .unwrap_or(Some(DEFAULT_TIME))?
        .max(SHORTEST * 2);
    let given = |code| options.time(code).flatten().filter(|time| *time < lease);
    let rebind = given(options::REBINDING_TIME).unwrap_or(lease * 7 / 8);
    let renew = given(options::RENEWAL_TIME).filter(|time| *time <= rebind);
    let renew = renew.unwrap_or(lease / 2).min(rebind).max(SHORTEST);
    Some(Times {
        renew: now + renew,
        rebind: now + rebind.max(renew),
        expiry: now + lease,
    })
}
