//! Requests that add and delete routes (`RTM_*ROUTE`, rtnetlink.h).

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
    /// Next hop, of the same family.
    pub gateway: Option<IpAddr>,
    /// Index of the link to send by.
    pub oif: Option<u32>,
    /// Routing table; [`RT_TABLE_MAIN`] if in doubt. Any 32-bit number but 0.
    pub table: u32,
    /// Reach. `None` is universe when adding and any when deleting.
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
    /// Whether the gateway is taken to be on the link though no address of the
    /// link says so.
    pub onlink: bool,
    /// Who made the route. `None` is [`RTPROT_BOOT`] when adding and any when
    /// deleting.
    pub protocol: Option<u8>,
    /// Type, `RTN_*`. [`RTN_UNICAST`] if in doubt.
    pub kind: u8,
}

impl RouteSpec {
    /// A unicast route of the main table, all else left open.
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
            // Tables that do not fit are named by the attribute alone.
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

/// What becomes of a route that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusivity {
    /// One with the same destination, metric and table is an error, `EEXIST`
    /// (CREATE and EXCL).
    Exclusive,
    /// Only an identical one is an error (CREATE). Another next hop makes, for
    /// IPv4, a second route in front of the present one; for IPv6, a sibling
    /// that shares the traffic.
    Shared,
    /// The same, but the second route for IPv4 comes behind the present one (CREATE
    /// and APPEND).
    Behind,
    /// One with the same destination, metric and table gives way (CREATE and
    /// REPLACE).
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

    /// Deletes the first route that matches what `spec` says (`RTM_DELROUTE`).
    ///
    /// Errors: `ESRCH` if none does.
    #[must_use]
    pub fn del_route(spec: &RouteSpec) -> Request<'fd> {
        let scope = spec.scope.unwrap_or(Scope::NOWHERE);
        let body = spec.encode(scope, spec.protocol.unwrap_or(0));
        Request::new(RTM_DELROUTE, 0, body, spec.describe("delete"))
    }
}
