//! Routes with all their attributes, for moving them between tables.

use std::net::IpAddr;

use super::{Exclusivity, NextHop, Route, RouteFilter, next_hops};
use crate::address::Family;
use crate::error::Error;
use crate::handle::Handle;
use crate::request::Request;
use crate::wire::attr::{align, u32_at};
use crate::wire::*;

/// `RTNH_F_ONLINK`: the only next hop flag that may be set in a request. The others
/// report state, and the kernel refuses a route with them.
const RTNH_F_ONLINK: u8 = 4;
/// Offsets of the table and the flags in `struct rtmsg`.
const TABLE: usize = 4;
const FLAGS: usize = 8;
/// Offset of the flags in `struct rtnexthop`.
const HOP_FLAGS: usize = 2;
/// Offset of the remaining lifetime in `struct rta_cacheinfo`, in hundredths of a second.
const EXPIRES: usize = 8;
const HUNDREDTHS: i32 = 100;

/// A route as the kernel reported it, which can be added again or to another table.
///
/// Unlike a [`RouteSpec`](crate::RouteSpec) it has all attributes: metrics, realms,
/// encapsulation, next hops, remaining lifetime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRoute {
    route: Route,
    /// `struct rtmsg` and attributes, as in a request.
    body: Vec<u8>,
}

impl RawRoute {
    /// The decoded attributes.
    #[must_use]
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// The same route in another table.
    #[must_use]
    pub fn in_table(&self, table: u32) -> RawRoute {
        let mut body = Builder::with_raw_header(&header(&self.body, table));
        body.u32(RTA_TABLE, table);
        for attribute in Attributes::after(&self.body, RTMSG_LEN) {
            if attribute.kind != RTA_TABLE {
                put(&mut body, attribute.kind, attribute.value);
            }
        }
        RawRoute {
            route: Route {
                table,
                ..self.route.clone()
            },
            // No attribute is larger than it was in the kernel's message.
            body: body.finish().unwrap_or_default(),
        }
    }

    /// Splits a multipath route into the part whose next hops are on the link `index` and
    /// the part whose next hops are not. Other routes, and those whose next hops are all
    /// of one kind, are returned whole.
    ///
    /// Only IPv6 routes are split: the kernel stores each next hop as a route of its own
    /// (`fib6_siblings`), which can be added and deleted without the others. The next
    /// hops of an IPv4 route, and those of a next hop object (`RTA_NH_ID`), exist only
    /// together.
    #[must_use]
    pub fn split_by_link(self, index: u32) -> Vec<RawRoute> {
        let is_split = self.route.family == Family::V6
            && self.route.uses_link(index)
            && self.route.hops.iter().any(|hop| hop.oif != index);
        if !is_split {
            return vec![self];
        }
        let parts = [
            self.with_next_hops(|hop| hop.oif != index),
            self.with_next_hops(|hop| hop.oif == index),
        ];
        match parts {
            [Some(others), Some(own)] => vec![others, own],
            _ => vec![self],
        }
    }

    /// The same route with only the next hops that `keep` selects. `None` if the
    /// message has no next hops, because it names a next hop object.
    fn with_next_hops(&self, keep: impl Fn(&NextHop) -> bool) -> Option<RawRoute> {
        let mut body = Builder::with_raw_header(self.body.get(..RTMSG_LEN)?);
        let mut has_hops = false;
        for attribute in Attributes::after(&self.body, RTMSG_LEN) {
            if attribute.kind != RTA_MULTIPATH {
                put(&mut body, attribute.kind, attribute.value);
                continue;
            }
            let mut kept = Vec::with_capacity(attribute.value.len());
            for hop in next_hops(attribute.value) {
                if NextHop::decode(hop).is_some_and(|hop| keep(&hop)) {
                    kept.extend_from_slice(hop);
                    kept.resize(align(kept.len()), 0);
                }
            }
            has_hops = !kept.is_empty();
            body.raw(RTA_MULTIPATH, &kept);
        }
        let body = body.finish().ok().filter(|_| has_hops)?;
        RawRoute::decode(&body)
    }

    /// The encoded route, valid on this host until it reboots.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.body
    }

    /// Decodes the result of [`RawRoute::as_bytes`]; `None` for anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<RawRoute> {
        RawRoute::decode(bytes)
    }

    /// Converts the body of an `RTM_NEWROUTE` into that of a request.
    fn decode(message: &[u8]) -> Option<RawRoute> {
        let route = Route::decode(message)?;
        let table = route.table;
        let mut body = Builder::with_raw_header(&header(message, table));
        body.u32(RTA_TABLE, table);
        // A next hop object is named by its ID alone.
        let by_number =
            Attributes::after(message, RTMSG_LEN).any(|attribute| attribute.kind == RTA_NH_ID);
        for attribute in Attributes::after(message, RTMSG_LEN) {
            match attribute.kind {
                RTA_TABLE => {}
                RTA_GATEWAY | RTA_VIA | RTA_OIF | RTA_MULTIPATH | RTA_ENCAP | RTA_ENCAP_TYPE
                    if by_number => {}
                RTA_CACHEINFO => {
                    let left = u32_at(attribute.value, EXPIRES).unwrap_or(0).cast_signed();
                    if left >= HUNDREDTHS {
                        body.u32(RTA_EXPIRES, (left / HUNDREDTHS).cast_unsigned());
                    }
                }
                RTA_MULTIPATH => body.raw(RTA_MULTIPATH, &stateless(attribute.value)),
                kind => put(&mut body, kind, attribute.value),
            }
        }
        Some(RawRoute {
            route,
            body: body.finish().ok()?,
        })
    }

    fn describe(&self, verb: &str) -> String {
        let Route {
            dst, prefix, table, ..
        } = &self.route;
        format!("{verb} route {dst}/{prefix} of table {table}")
    }

    fn builder(&self) -> Builder {
        Builder::with_raw_header(&self.body)
    }

    /// Whether both have the same key in one table: destination, type of service and
    /// metric.
    #[must_use]
    pub fn same_entry(&self, other: &RawRoute) -> bool {
        let (a, b) = (&self.route, &other.route);
        let tos = |copy: &RawRoute| copy.body.get(3).copied();
        (a.table, a.dst, a.prefix, a.priority) == (b.table, b.dst, b.prefix, b.priority)
            && tos(self) == tos(other)
    }

    /// The gateways of all next hops.
    pub fn gateways(&self) -> impl Iterator<Item = IpAddr> {
        let hops = self.route.hops.iter().filter_map(|hop| hop.gateway);
        self.route.gateway.into_iter().chain(hops)
    }
}

/// `struct rtmsg` of a request.
fn header(message: &[u8], table: u32) -> Vec<u8> {
    let mut header = message[..RTMSG_LEN.min(message.len())].to_vec();
    header.resize(RTMSG_LEN, 0);
    // A table number above 255 is in the attribute only.
    header[TABLE] = u8::try_from(table).unwrap_or(0);
    let onlink = u32_at(&header, FLAGS).unwrap_or(0) & u32::from(RTNH_F_ONLINK);
    header[FLAGS..].copy_from_slice(&onlink.to_ne_bytes());
    header
}

fn put(body: &mut Builder, kind: u16, value: &[u8]) {
    match kind {
        RTA_METRICS | RTA_ENCAP => body.nested_after(kind, value, |_| {}),
        _ => body.raw(kind, value),
    }
}

/// `RTA_MULTIPATH` without the state of the next hops.
fn stateless(hops: &[u8]) -> Vec<u8> {
    let mut copy = Vec::with_capacity(hops.len());
    for hop in next_hops(hops) {
        let start = copy.len();
        copy.extend_from_slice(hop);
        copy[start + HOP_FLAGS] &= RTNH_F_ONLINK;
        copy.resize(align(copy.len()), 0);
    }
    copy
}

impl<'fd> Request<'fd> {
    /// Adds a route (`RTM_NEWROUTE`).
    ///
    /// Errors: as for [`Request::add_route`].
    #[must_use]
    pub fn add_raw_route(copy: &RawRoute, exclusivity: Exclusivity) -> Request<'fd> {
        let (flags, what) = (exclusivity.flags(), copy.describe("add"));
        Request::new(RTM_NEWROUTE, flags, copy.builder(), what)
    }

    /// Deletes this route (`RTM_DELROUTE`).
    ///
    /// Errors: `ESRCH` if it does not exist.
    #[must_use]
    pub fn del_raw_route(copy: &RawRoute) -> Request<'fd> {
        Request::new(RTM_DELROUTE, 0, copy.builder(), copy.describe("delete"))
    }
}

impl Handle {
    /// As [`Handle::routes`], with all attributes.
    ///
    /// # Errors
    /// As [`Handle::addresses`].
    pub fn raw_routes(&self, filter: &RouteFilter) -> Result<Vec<RawRoute>, Error> {
        self.list_routes(filter, |body| {
            RawRoute::decode(body).filter(|copy| filter.wants(&copy.route))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(copy) = RawRoute::from_bytes(&bytes) {
                let moved = copy.in_table(70_000);
                prop_assert_eq!(moved.route().table, 70_000);
                let again = RawRoute::from_bytes(moved.as_bytes());
                prop_assert!(again.is_some_and(|again| again.as_bytes() == moved.as_bytes()));
            }
        }
    }
}
