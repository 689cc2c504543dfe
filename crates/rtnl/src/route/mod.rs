//! Routes: listing and looking up (`RTM_GETROUTE`, rtnetlink.h). Adding and deleting
//! them is in [`spec`], moving them between tables in [`raw`].

mod raw;
mod spec;

pub use raw::RawRoute;
pub use spec::{Exclusivity, RouteSpec};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::route::RouteHeader;
use nix::libc;

use crate::address::{Family, Scope};
use crate::errno;
use crate::error::Error;
use crate::handle::Handle;
use crate::wire::attr::{Attribute, align, u16_at, u32_at};
use crate::wire::*;

/// `RT_TABLE_DEFAULT`: the table looked up last; empty by default.
pub const RT_TABLE_DEFAULT: u32 = 253;
/// `RT_TABLE_MAIN`: the table of routes without an explicit table.
pub const RT_TABLE_MAIN: u32 = 254;
/// `RT_TABLE_LOCAL`: the kernel's table of local and broadcast addresses.
pub const RT_TABLE_LOCAL: u32 = 255;
/// `RTPROT_KERNEL`: installed by the kernel.
pub const RTPROT_KERNEL: u8 = 2;
/// `RTPROT_BOOT`: installed during boot or by a tool without a protocol of its own.
pub const RTPROT_BOOT: u8 = 3;
/// `RTN_UNICAST`: a route to a gateway or a direct one.
pub const RTN_UNICAST: u8 = 1;
/// `RTN_LOCAL`: the destination is this host.
pub const RTN_LOCAL: u8 = 2;

/// Which routes to list; `None` does not filter.
#[derive(Clone, Debug, Default)]
pub struct RouteFilter {
    /// Family; `None` lists IPv4, then IPv6.
    pub family: Option<Family>,
    /// Routing table, such as [`RT_TABLE_MAIN`].
    pub table: Option<u32>,
    /// Index of the output link of any next hop.
    pub oif: Option<u32>,
    /// Destination network and its prefix length in bits.
    pub dst: Option<(IpAddr, u8)>,
}

/// A route of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Family.
    pub family: Family,
    /// Destination network; all zero for a default route.
    pub dst: IpAddr,
    /// Prefix length of the destination in bits; 0 is a default route.
    pub prefix: u8,
    /// Gateway; of the other family for an IPv4 route via an IPv6 gateway. `None` for a
    /// directly connected route and for a multipath route, see `hops`.
    pub gateway: Option<IpAddr>,
    /// Index of the output link; `None` for a multipath route, see `hops`.
    pub oif: Option<u32>,
    /// The next hops of a multipath route, else empty.
    pub hops: Vec<NextHop>,
    /// Routing table.
    pub table: u32,
    /// Scope; always universe for IPv6.
    pub scope: Scope,
    /// Metric; the lowest wins.
    pub priority: u32,
    /// Preferred source address.
    pub src: Option<IpAddr>,
    /// MTU of the path in bytes.
    pub mtu: Option<u32>,
    /// Largest TCP segment to advertise, in bytes.
    pub advmss: Option<u32>,
    /// Origin of the route, `RTPROT_*`.
    pub protocol: u8,
    /// Type, `RTN_*`.
    pub kind: u8,
    /// `RTNH_F_*` and `RTM_F_*` flags.
    pub flags: u32,
}

/// A next hop of a multipath route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The gateway; `None` for a directly connected one.
    pub gateway: Option<IpAddr>,
    /// Index of the output link.
    pub oif: u32,
    /// Weight, 1 to 256.
    pub weight: u16,
    /// `RTNH_F_*` flags.
    pub flags: u8,
}

impl Route {
    /// Whether this is a default route.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.prefix == 0
    }

    /// Whether any next hop of the route is on the link `index`.
    #[must_use]
    pub fn uses_link(&self, index: u32) -> bool {
        self.oif == Some(index) || self.hops.iter().any(|hop| hop.oif == index)
    }

    /// Reads the body of an `RTM_NEWROUTE`: `struct rtmsg` and attributes.
    pub(crate) fn decode(body: &[u8]) -> Option<Route> {
        let header = body.get(..RTMSG_LEN)?;
        let family = Family::from_number(header[0])?;
        let any = match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let mut route = Route {
            family,
            dst: any,
            prefix: header[1],
            gateway: None,
            oif: None,
            hops: Vec::new(),
            table: u32::from(header[4]),
            protocol: header[5],
            scope: Scope(header[6]),
            kind: header[7],
            flags: u32_at(header, 8)?,
            priority: 0,
            src: None,
            mtu: None,
            advmss: None,
        };
        for attribute in Attributes::after(body, RTMSG_LEN) {
            match attribute.kind {
                RTA_DST => route.dst = attribute.ip().unwrap_or(any),
                RTA_GATEWAY | RTA_VIA => route.gateway = gateway(attribute),
                RTA_OIF => route.oif = attribute.u32(),
                RTA_PRIORITY => route.priority = attribute.u32().unwrap_or(0),
                RTA_PREFSRC => route.src = attribute.ip(),
                RTA_TABLE => route.table = attribute.u32().unwrap_or(route.table),
                RTA_MULTIPATH => {
                    route.hops = next_hops(attribute.value)
                        .filter_map(NextHop::decode)
                        .collect();
                }
                RTA_METRICS => {
                    for metric in attribute.nested() {
                        match metric.kind {
                            RTAX_MTU => route.mtu = metric.u32(),
                            RTAX_ADVMSS => route.advmss = metric.u32(),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Some(route)
    }
}

/// Reads `RTA_GATEWAY`, or `RTA_VIA` (`struct rtvia`: family, then address).
fn gateway(attribute: Attribute<'_>) -> Option<IpAddr> {
    match attribute.kind {
        RTA_VIA => Attribute {
            kind: RTA_GATEWAY,
            value: attribute.value.get(2..)?,
        }
        .ip(),
        _ => attribute.ip(),
    }
}

/// The `struct rtnexthop`s of `RTA_MULTIPATH`, each with its attributes.
pub(crate) fn next_hops(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(bytes, 0)?);
        let hop = bytes.get(..len).filter(|hop| hop.len() >= RTNEXTHOP_LEN)?;
        bytes = bytes.get(align(len)..).unwrap_or_default();
        Some(hop)
    })
}

impl NextHop {
    /// Reads a `struct rtnexthop` and its attributes.
    pub(crate) fn decode(hop: &[u8]) -> Option<NextHop> {
        let gateway = Attributes::after(hop, RTNEXTHOP_LEN)
            .filter(|attribute| matches!(attribute.kind, RTA_GATEWAY | RTA_VIA))
            .find_map(gateway);
        Some(NextHop {
            gateway,
            oif: u32_at(hop, 4)?,
            // `rtnh_hops` is the weight minus 1.
            weight: u16::from(*hop.get(3)?) + 1,
            flags: *hop.get(2)?,
        })
    }
}

impl RouteFilter {
    /// Whether the filter matches. Kernels before 4.20 ignore filters and send the
    /// routes of all tables and links.
    pub(crate) fn wants(&self, route: &Route) -> bool {
        route.flags & RTM_F_CLONED == 0
            && self.table.is_none_or(|table| route.table == table)
            && self.oif.is_none_or(|oif| route.uses_link(oif))
            && self
                .dst
                .is_none_or(|(dst, prefix)| route.dst == dst && route.prefix == prefix)
    }

    fn body(&self, family: Family) -> Builder {
        let mut body = Builder::new(&RouteHeader {
            address_family: family.header(),
            ..RouteHeader::default()
        });
        body.opt_u32(RTA_TABLE, self.table);
        body.opt_u32(RTA_OIF, self.oif);
        body
    }
}

impl Handle {
    /// The routes that match `filter`, in the kernel's order. Empty for a table or link
    /// that does not exist.
    ///
    /// # Errors
    /// As [`Handle::addresses`].
    pub fn routes(&self, filter: &RouteFilter) -> Result<Vec<Route>, Error> {
        self.list_routes(filter, |body| {
            Route::decode(body).filter(|route| filter.wants(route))
        })
    }

    /// Dumps routes; `read` converts the body of each `RTM_NEWROUTE`.
    pub(crate) fn list_routes<T>(
        &self,
        filter: &RouteFilter,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let mut routes = Vec::new();
        for family in [Family::V4, Family::V6] {
            let of_dst = filter.dst.is_none_or(|(dst, _)| Family::of(dst) == family);
            if of_dst && filter.family.is_none_or(|wanted| wanted == family) {
                routes.append(&mut self.routes_of(filter, family, &read)?);
            }
        }
        Ok(routes)
    }

    /// The route of a packet from this host to `address`, with all rules and tables
    /// applied (`ip route get`). `None` if there is none, or the kernel lacks the address
    /// family.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn route_to(&self, address: IpAddr) -> Result<Option<Route>, Error> {
        const WHAT: &str = "look up a route";
        let mut body = Builder::new(&RouteHeader {
            address_family: Family::of(address).header(),
            destination_prefix_length: if address.is_ipv4() { 32 } else { 128 },
            ..RouteHeader::default()
        });
        body.ip(RTA_DST, address);
        let body = body
            .finish()
            .map_err(|problem| Error::invalid(problem.to_owned(), WHAT))?;
        let found = self.connection().get(RTM_GETROUTE, &body, WHAT, |message| {
            Route::decode(message.body)
        });
        match found {
            Err(error)
                if matches!(
                    error.errno(),
                    Some(
                        libc::ENETUNREACH
                            | libc::EHOSTUNREACH
                            | errno::ESRCH
                            | errno::EOPNOTSUPP
                            | errno::EAFNOSUPPORT
                    )
                ) =>
            {
                Ok(None)
            }
            found => found,
        }
    }

    fn routes_of<T>(
        &self,
        filter: &RouteFilter,
        family: Family,
        read: &impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        const WHAT: &str = "list routes";
        let body = filter
            .body(family)
            .finish()
            .map_err(|problem| Error::invalid(problem.to_owned(), WHAT))?;
        let list = self
            .connection()
            .dump(RTM_GETROUTE, &body, WHAT, |message, routes| {
                // A kernel without the family answers with the routes of all others
                // (`rtnetlink_rcv_msg` falls back to `PF_UNSPEC`).
                let of_family = message.body.first() == Some(&family.number());
                if message.kind == RTM_NEWROUTE && of_family {
                    routes.extend(read(message.body));
                }
            });
        match list {
            // The table or link does not exist.
            Err(error) if matches!(error.errno(), Some(errno::ENOENT | errno::ENODEV)) => {
                Ok(Vec::new())
            }
            list => list,
        }
    }
}
