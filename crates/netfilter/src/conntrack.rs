//! Deletes connection tracking entries, so that NAT is decided anew for their next
//! packets. NAT is decided for the first packet of a connection only, and a UDP
//! connection may never end.
//!
//! Uses ctnetlink (`linux/netfilter/nfnetlink_conntrack.h`).

use std::net::IpAddr;

use nix::libc::{EINVAL, ENOENT};
use rtnl::netlink::{
    Attribute, Attributes, Builder, Connection, Messages, NLM_F_ACK, NLM_F_REQUEST, write_message,
};

use crate::error::{Culprit, Error};
use crate::nfnetlink::{NFGENMSG_LEN, NFPROTO_IPV4, NFPROTO_IPV6, Socket, header};

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = NFNL_SUBSYS_CTNETLINK << 8 | 1;
const IPCTNL_MSG_CT_DELETE: u16 = NFNL_SUBSYS_CTNETLINK << 8 | 2;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
/// `CTA_FILTER_FLAG(CTA_PROTO_NUM)`, `(CTA_PROTO_DST_PORT)` (`nf_internals.h`).
const FILTER_PROTOCOL: u32 = 1 << 3;
const FILTER_DST_PORT: u32 = 1 << 5;

/// Deletions per datagram: their answers fit the socket's receive buffer.
const AT_ONCE: usize = 64;

/// Selects connections by all fields that are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// IPv6 instead of IPv4.
    pub ipv6: bool,
    /// The transport protocol (`IPPROTO_*`), 17 for UDP.
    pub protocol: u8,
    /// The destination port of the first packet.
    pub port: Option<u16>,
    /// The destination address of the first packet.
    pub destination: Option<IpAddr>,
    /// The source address of replies: the destination after NAT.
    pub answered_by: Option<IpAddr>,
}

impl Filter {
    /// Selects all connections of a protocol.
    #[must_use]
    pub fn new(ipv6: bool, protocol: u8) -> Filter {
        Filter {
            ipv6,
            protocol,
            port: None,
            destination: None,
            answered_by: None,
        }
    }

    fn matches(&self, flow: &Flow) -> bool {
        let or_any = |wanted: Option<IpAddr>, found: Option<IpAddr>| {
            wanted.is_none_or(|wanted| found == Some(wanted))
        };
        self.protocol == flow.original.protocol
            && self
                .port
                .is_none_or(|port| flow.original.dport == Some(port))
            && or_any(self.destination, flow.original.dst)
            && or_any(self.answered_by, flow.reply.src)
    }
}

/// Deletes the connections that match any of the filters and returns their number. Dumps
/// the table once for each address family.
///
/// A kernel without connection tracking has none.
///
/// # Errors
/// The kernel's refusal ([`Error::is_permission`] without `CAP_NET_ADMIN`).
pub fn delete(filters: &[Filter]) -> Result<usize, Error> {
    delete_if(filters, |_| true)
}

/// As [`delete`], only for connections with an original destination address for which
/// `to` returns `true`.
///
/// # Errors
/// As [`delete`].
pub fn delete_if(filters: &[Filter], to: impl Fn(IpAddr) -> bool) -> Result<usize, Error> {
    if filters.is_empty() {
        return Ok(0);
    }
    let connection = Socket::open()?;
    let mut count = 0;
    for ipv6 in [false, true] {
        let wanted: Vec<Filter> = filters
            .iter()
            .filter(|filter| filter.ipv6 == ipv6)
            .copied()
            .collect();
        if !wanted.is_empty() {
            count += delete_family(&connection, ipv6, &wanted, &to)?;
        }
    }
    Ok(count)
}

/// Returns `NFPROTO_IPV4` or `NFPROTO_IPV6`.
fn family(ipv6: bool) -> u8 {
    if ipv6 { NFPROTO_IPV6 } else { NFPROTO_IPV4 }
}

fn delete_family(
    connection: &Connection,
    ipv6: bool,
    filters: &[Filter],
    to: &dyn Fn(IpAddr) -> bool,
) -> Result<usize, Error> {
    // Since Linux 5.9 the kernel filters by what the filters have in common. Older ones
    // ignore that or refuse it.
    let flows = match list(connection, ipv6, filters, true) {
        Err(error) if error.errno() == Some(EINVAL) => list(connection, ipv6, filters, false),
        result => result,
    };
    let mut flows = match flows {
        Ok(flows) => flows,
        Err(error) if error.errno() == Some(EINVAL) => {
            log::debug!("no connection tracking in this kernel: {error}");
            return Ok(0);
        }
        Err(error) => return Err(error),
    };
    flows.retain(|flow| flow.original.dst.is_some_and(to));
    let mut deleted = 0;
    for part in flows.chunks(AT_ONCE) {
        deleted += delete_flows(connection, ipv6, part)?;
    }
    Ok(deleted)
}

fn list(
    connection: &Connection,
    ipv6: bool,
    filters: &[Filter],
    in_kernel: bool,
) -> Result<Vec<Flow>, Error> {
    const WHAT: &str = "list connections";
    let mut body = Builder::with_raw_header(&header(family(ipv6), 0));
    if in_kernel {
        write_common(&mut body, filters);
    }
    let body = body
        .finish()
        .map_err(|problem| Error::invalid(problem, WHAT))?;
    let flows = connection.dump(IPCTNL_MSG_CT_GET, &body, WHAT, |message, flows| {
        let flow = Flow::decode(message.body);
        flows.extend(flow.filter(|flow| filters.iter().any(|filter| filter.matches(flow))));
    })?;
    Ok(flows)
}

/// Writes what all filters have in common, for the kernel to filter by.
fn write_common(body: &mut Builder, filters: &[Filter]) {
    let Some(first) = filters.first() else {
        return;
    };
    if filters.iter().any(|other| other.protocol != first.protocol) {
        return;
    }
    let port = first
        .port
        .filter(|_| filters.iter().all(|other| other.port == first.port));
    body.nested(CTA_TUPLE_ORIG, |tuple| {
        tuple.nested(CTA_TUPLE_PROTO, |protocol| {
            protocol.u8(CTA_PROTO_NUM, first.protocol);
            if let Some(port) = port {
                protocol.u16_be(CTA_PROTO_DST_PORT, port);
            }
        });
    });
    let flags = FILTER_PROTOCOL | port.map_or(0, |_| FILTER_DST_PORT);
    body.nested(CTA_FILTER, |filter| {
        filter.u32(CTA_FILTER_ORIG_FLAGS, flags)
    });
}

/// Deletes connections, by their IDs so that a newer connection with the same tuple stays.
fn delete_flows(connection: &Connection, ipv6: bool, flows: &[Flow]) -> Result<usize, Error> {
    const WHAT: &str = "delete a connection";
    #[cfg(feature = "fault-injection")]
    if let Some(error) = rtnl::netlink::injected_fault(WHAT) {
        return Err(error.into());
    }
    let mut datagram = Vec::new();
    let mut pending = Vec::new();
    for flow in flows {
        let mut body = Builder::with_raw_header(&header(family(ipv6), 0));
        for (kind, value) in &flow.identity {
            body.raw(*kind, value);
        }
        let body = body
            .finish()
            .map_err(|problem| Error::invalid(problem, WHAT))?;
        let sequence = connection.next_sequence();
        let flags = NLM_F_REQUEST | NLM_F_ACK;
        write_message(&mut datagram, IPCTNL_MSG_CT_DELETE, flags, sequence, &body);
        pending.push(sequence);
    }
    connection.send_datagram(&datagram, WHAT)?;
    let mut deleted = 0;
    let mut failure = None;
    while !pending.is_empty() {
        connection.receive(WHAT, |datagram| {
            for message in Messages::new(datagram) {
                let place = pending.iter().position(|n| *n == message.sequence);
                let (Some(place), Some(outcome)) = (place, message.outcome()) else {
                    continue;
                };
                pending.swap_remove(place);
                match outcome.errno {
                    0 => deleted += 1,
                    // The connection has ended meanwhile.
                    ENOENT => {}
                    errno => {
                        failure.get_or_insert((errno, outcome.text));
                    }
                }
            }
        })?;
    }
    match failure {
        None => Ok(deleted),
        Some((errno, text)) => Err(Error::kernel(errno, text, Culprit::Unknown, WHAT)),
    }
}

/// A connection.
#[derive(Debug, Default)]
struct Flow {
    original: Tuple,
    reply: Tuple,
    /// The attributes that identify it in a deletion, as the kernel sent them.
    identity: Vec<(u16, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct Tuple {
    src: Option<IpAddr>,
    dst: Option<IpAddr>,
    protocol: u8,
    dport: Option<u16>,
}

impl Flow {
    fn decode(body: &[u8]) -> Option<Flow> {
        let mut flow = Flow::default();
        for attribute in Attributes::after(body, NFGENMSG_LEN) {
            match attribute.kind {
                CTA_TUPLE_ORIG => flow.original = Tuple::decode(&attribute),
                CTA_TUPLE_REPLY => flow.reply = Tuple::decode(&attribute),
                _ => {}
            }
            let kind = match attribute.kind {
                // Nested attributes need the flag NLA_F_NESTED.
                CTA_TUPLE_ORIG => CTA_TUPLE_ORIG | 0x8000,
                kind @ (CTA_ID | CTA_ZONE) => kind,
                _ => continue,
            };
            flow.identity.push((kind, attribute.value.to_vec()));
        }
        // Without a tuple the kernel would delete all connections.
        let whole = flow.original.src.is_some() && flow.original.dst.is_some();
        whole.then_some(flow)
    }
}

impl Tuple {
    fn decode(attribute: &Attribute<'_>) -> Tuple {
        let mut tuple = Tuple::default();
        for part in attribute.nested() {
            for inner in part.nested() {
                match (part.kind, inner.kind) {
                    (CTA_TUPLE_IP, CTA_IP_V4_SRC | CTA_IP_V6_SRC) => tuple.src = inner.ip(),
                    (CTA_TUPLE_IP, CTA_IP_V4_DST | CTA_IP_V6_DST) => tuple.dst = inner.ip(),
                    (CTA_TUPLE_PROTO, CTA_PROTO_NUM) => {
                        tuple.protocol = inner.u8().unwrap_or(0);
                    }
                    (CTA_TUPLE_PROTO, CTA_PROTO_DST_PORT) => tuple.dport = inner.u16_be(),
                    _ => {}
                }
            }
        }
        tuple
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_flow_without_its_tuple_is_not_deleted() {
        assert!(Flow::decode(&[2, 0, 0, 0]).is_none());
        let mut body = Builder::with_raw_header(&[2, 0, 0, 0]);
        body.u32_be(CTA_ID, 7);
        assert!(Flow::decode(&body.finish().unwrap()).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Flow::decode(&bytes);
        }
    }
}
