//! Adding and deleting routes (`RTM_*ROUTE`, rtnetlink.h).

use std::net::IpAddr;

use netlink_packet_route::route::{RouteFlags, RouteHeader};

use super::{RT_TABLE_MAIN, RTN_UNICAST, RTPROT_BOOT};
use crate::address::{Family, Scope};
use crate::request::Request;
use crate::wire::*;

/// A route to be added or deleted.
#[derive(Clone, Debug)]
pub struct RouteSpec {
    /// Destination network; its host bits must be 0.
    pub dst: IpAddr,
    /// Prefix length of the destination in bits; 0 is the default route.
    pub prefix: u8,
    /// Gateway, of the same family.
    pub gateway: Option<IpAddr>,
    /// Index of the output link.
    pub oif: Option<u32>,
    /// Routing table, usually [`RT_TABLE_MAIN`]. Any 32-bit number but 0.
    pub table: u32,
    /// Scope. `None` is universe when adding and any when deleting.
    pub scope: Option<Scope>,
    /// Metric; the lowest wins. `None` is 0 for IPv4 and 1024 for IPv6 when
    /// adding, and any when deleting.
    pub priority: Option<u32>,
    /// Preferred source address.
    pub src: Option<IpAddr>,
    /// MTU of the path in bytes.
    pub mtu: Option<u32>,
    /// Largest TCP segment to advertise, in bytes.
    pub advmss: Option<u32>,
    /// Whether the gateway is on the link even if no prefix of the link contains it.
    pub onlink: bool,
    /// Origin, `RTPROT_*`. `None` is [`RTPROT_BOOT`] when adding and any when deleting.
    pub protocol: Option<u8>,
    /// Type, `RTN_*`, usually [`RTN_UNICAST`].
    pub kind: u8,
}

impl RouteSpec {
    /// A unicast route of the main table with the kernel's defaults.
    #[must_use]
    pub fn new(dst: IpAddr, prefix: u8) -> RouteSpec {
        RouteSpec {
            dst,
            prefix,
            gateway: None,
            oif: None,
            table: RT_TABLE_MAIN,
            scope: None,
            priority: None,
            src: None,
            mtu: None,
            advmss: None,
            onlink: false,
            protocol: None,
            kind: RTN_UNICAST,
        }
    }

    fn encode(&self, scope: Scope, protocol: u8) -> Builder {
        let flags = if self.onlink {
            RouteFlags::Onlink
        } else {
            RouteFlags::empty()
        };
        let header = RouteHeader {
            address_family: Family::of(self.dst).header(),
            destination_prefix_length: self.prefix,
            // A table number above 255 is in the attribute only.
            table: u8::try_from(self.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC),
            protocol: protocol.into(),
            scope: scope.0.into(),
            kind: self.kind.into(),
            flags,
            ..RouteHeader::default()
        };
        let mut body = Builder::new(&header);
        if self.prefix > 0 {
            body.ip(RTA_DST, self.dst);
        }
        if header.table == RouteHeader::RT_TABLE_UNSPEC {
            body.u32(RTA_TABLE, self.table);
        }
        if let Some(gateway) = self.gateway {
            body.ip(RTA_GATEWAY, gateway);
        }
        body.opt_u32(RTA_OIF, self.oif);
        body.opt_u32(RTA_PRIORITY, self.priority);
        if let Some(src) = self.src {
            body.ip(RTA_PREFSRC, src);
        }
        if self.mtu.is_some() || self.advmss.is_some() {
            body.nested(RTA_METRICS, |metrics| {
                metrics.opt_u32(RTAX_MTU, self.mtu);
                metrics.opt_u32(RTAX_ADVMSS, self.advmss);
            });
        }
        body
    }

    fn describe(&self, verb: &str) -> String {
        format!("{verb} route {}/{}", self.dst, self.prefix)
    }
}

/// What happens to an existing route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusivity {
    /// One with the same destination, metric and table is an error, `EEXIST`
    /// (CREATE and EXCL).
    Exclusive,
    /// Only an identical one is an error (CREATE). With another next hop, an IPv4 route
    /// is inserted before the existing one, and an IPv6 route becomes another next hop of
    /// the existing one.
    Shared,
    /// The same, but an IPv4 route is inserted after the existing one (CREATE and
    /// APPEND).
    Behind,
    /// One with the same destination, metric and table is replaced (CREATE and REPLACE).
    Replace,
}

impl Exclusivity {
    pub(crate) fn flags(self) -> u16 {
        match self {
            Exclusivity::Exclusive => NLM_F_CREATE | NLM_F_EXCL,
            Exclusivity::Shared => NLM_F_CREATE,
            Exclusivity::Behind => NLM_F_CREATE | NLM_F_APPEND,
            Exclusivity::Replace => NLM_F_CREATE | NLM_F_REPLACE,
        }
    }
}

impl<'fd> Request<'fd> {
    /// Adds a route (`RTM_NEWROUTE`).
    ///
    /// Errors: `EEXIST`, see [`Exclusivity`]; `ENETUNREACH` if the gateway
    /// cannot be reached directly; `EINVAL` if host bits are set.
    #[must_use]
    pub fn add_route(spec: &RouteSpec, exclusivity: Exclusivity) -> Request<'fd> {
        let scope = spec.scope.unwrap_or(Scope::UNIVERSE);
        let body = spec.encode(scope, spec.protocol.unwrap_or(RTPROT_BOOT));
        Request::new(
            RTM_NEWROUTE,
            exclusivity.flags(),
            body,
            spec.describe("add"),
        )
    }

    /// Deletes the first route that matches `spec` (`RTM_DELROUTE`).
    ///
    /// Errors: `ESRCH` if no route matches.
    #[must_use]
    pub fn del_route(spec: &RouteSpec) -> Request<'fd> {
        let scope = spec.scope.unwrap_or(Scope::NOWHERE);
        let body = spec.encode(scope, spec.protocol.unwrap_or(0));
        Request::new(RTM_DELROUTE, 0, body, spec.describe("delete"))
    }
}
