//! Addresses of links (`RTM_*ADDR`, if_addr.h).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::AddressHeader;

use crate::error::Error;
use crate::handle::Handle;
use crate::netlink::Dumped;
use crate::request::Request;
use crate::wire::attr::u32_at;
use crate::wire::*;

/// `IFA_F_NODAD`: IPv6 duplicate address detection is skipped.
const IFA_F_NODAD: u32 = 0x02;
/// `IFA_F_DADFAILED`: duplicate address detection found another owner of the address.
const IFA_F_DADFAILED: u32 = 0x08;
/// `IFA_F_TENTATIVE`: duplicate address detection has not completed.
const IFA_F_TENTATIVE: u32 = 0x40;
/// `IFA_F_PERMANENT`: the address has no lifetime.
const IFA_F_PERMANENT: u32 = 0x80;
/// `IFA_F_MANAGETEMPADDR`: temporary (privacy) addresses are derived from this one.
pub const IFA_F_MANAGETEMPADDR: u32 = 0x100;
/// `IFA_F_NOPREFIXROUTE`: the kernel adds no route for the prefix.
pub const IFA_F_NOPREFIXROUTE: u32 = 0x200;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        }
    }

    /// The metric of a route that is added without one: `IP6_RT_PRIO_USER`
    /// (`linux/ipv6_route.h`) for IPv6.
    #[must_use]
    pub const fn default_metric(self) -> u32 {
        match self {
            Family::V4 => 0,
            Family::V6 => 1024,
        }
    }

    pub(crate) fn number(self) -> u8 {
        match self {
            Family::V4 => AF_INET,
            Family::V6 => AF_INET6,
        }
    }

    pub(crate) fn header(self) -> AddressFamily {
        match self {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Family> {
        [Family::V4, Family::V6]
            .into_iter()
            .find(|family| family.number() == number)
    }
}

/// Scope of an address or route (`RT_SCOPE_*`, rtnetlink.h). Values other than the
/// constants are allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope(pub u8);

impl Scope {
    /// Global.
    pub const UNIVERSE: Scope = Scope(0);
    /// Valid in the site; IPv6 only.
    pub const SITE: Scope = Scope(200);
    /// Valid on the link.
    pub const LINK: Scope = Scope(253);
    /// Valid on this host.
    pub const HOST: Scope = Scope(254);
    /// Nowhere; matches every scope when an IPv4 route is deleted.
    pub const NOWHERE: Scope = Scope(255);
}

/// The broadcast address of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Broadcast {
    /// All host bits set, for IPv4 prefixes shorter than 31 bits; else none.
    #[default]
    Auto,
    /// None.
    None,
    /// This one.
    Address(Ipv4Addr),
}

/// An address to be added to a link, by [`Request::add_address`].
#[derive(Clone, Debug)]
pub struct AddressSpec {
    /// The address.
    pub addr: IpAddr,
    /// Prefix length in bits.
    pub prefix: u8,
    /// The other end of a point-to-point link; `None` for all other links.
    pub peer: Option<IpAddr>,
    /// Whether to skip IPv6 duplicate address detection.
    pub nodad: bool,
    /// Further `IFA_F_*` flags.
    pub flags: u32,
    /// The broadcast address.
    pub broadcast: Broadcast,
    /// Scope. For IPv6 the kernel derives it from the address.
    pub scope: Scope,
    /// How long it is valid, in whole seconds; the kernel then removes it. `None` is
    /// without end.
    pub valid: Option<Duration>,
    /// How long new connections use it; `None` is as long as it is valid.
    pub preferred: Option<Duration>,
}

impl AddressSpec {
    /// An address with the usual attributes: broadcast address for IPv4, global scope,
    /// duplicate address detection enabled.
    #[must_use]
    pub fn new(addr: IpAddr, prefix: u8) -> AddressSpec {
        AddressSpec {
            addr,
            prefix,
            peer: None,
            nodad: false,
            flags: 0,
            broadcast: Broadcast::Auto,
            scope: Scope::UNIVERSE,
            valid: None,
            preferred: None,
        }
    }

    /// `struct ifa_cacheinfo`: lifetimes in seconds, and two times that the kernel ignores.
    fn cache_info(&self) -> [u8; 16] {
        let seconds = |time: Option<Duration>| {
            let seconds = time.map(|time| u32::try_from(time.as_secs()));
            // u32::MAX is without end.
            seconds.and_then(Result::ok).unwrap_or(u32::MAX)
        };
        let mut info = [0; 16];
        info[..4].copy_from_slice(&seconds(self.preferred.or(self.valid)).to_ne_bytes());
        info[4..8].copy_from_slice(&seconds(self.valid).to_ne_bytes());
        info
    }

    fn broadcast_address(&self) -> Option<Ipv4Addr> {
        match (self.broadcast, self.addr) {
            (Broadcast::Address(address), IpAddr::V4(_)) => Some(address),
            (Broadcast::Auto, IpAddr::V4(address)) if self.prefix < 31 => {
                let host_bits = u32::MAX >> self.prefix;
                Some(Ipv4Addr::from(u32::from(address) | host_bits))
            }
            _ => None,
        }
    }
}

/// An address of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of the link.
    pub index: u32,
    /// The address.
    pub addr: IpAddr,
    /// Prefix length in bits.
    pub prefix: u8,
    /// The other end of a point-to-point link.
    pub peer: Option<IpAddr>,
    /// Broadcast address, IPv4 only.
    pub broadcast: Option<IpAddr>,
    /// Scope.
    pub scope: Scope,
    /// `IFA_F_*` flags.
    pub flags: u32,
    /// Label, IPv4 only; empty if there is none.
    pub label: String,
}

impl Address {
    /// Whether duplicate address detection has not completed. Also true after it
    /// failed.
    #[must_use]
    pub fn is_tentative(&self) -> bool {
        self.flags & IFA_F_TENTATIVE != 0
    }

    /// Whether duplicate address detection found the address in use.
    #[must_use]
    pub fn is_dad_failed(&self) -> bool {
        self.flags & IFA_F_DADFAILED != 0
    }

    /// Whether the address has no lifetime.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.flags & IFA_F_PERMANENT != 0
    }

    /// Reads the body of an `RTM_NEWADDR`: `struct ifaddrmsg` and attributes.
    pub(crate) fn decode(body: &[u8]) -> Option<Address> {
        let header = body.get(..IFADDRMSG_LEN)?;
        let mut local = None;
        let mut remote = None;
        let mut broadcast = None;
        let mut flags = u32::from(header[2]);
        let mut label = String::new();
        for attribute in Attributes::after(body, IFADDRMSG_LEN) {
            match attribute.kind {
                IFA_LOCAL => local = attribute.ip(),
                IFA_ADDRESS => remote = attribute.ip(),
                IFA_BROADCAST => broadcast = attribute.ip(),
                IFA_FLAGS => flags = attribute.u32().unwrap_or(flags),
                IFA_LABEL => label = attribute.text(),
                _ => {}
            }
        }
        // IPv6 reports a local address only with a peer.
        let addr = local.or(remote)?;
        Some(Address {
            index: u32_at(header, 4)?,
            addr,
            prefix: header[1],
            peer: remote.filter(|remote| *remote != addr),
            broadcast,
            scope: Scope(header[3]),
            flags,
            label,
        })
    }
}

impl<'fd> Request<'fd> {
    /// Adds an address to the link `index` (`RTM_NEWADDR`, CREATE and EXCL).
    ///
    /// Errors: `EEXIST` if the link has it already, `EACCES` for an IPv6
    /// address where IPv6 is disabled, `ENODEV` if the link does not exist.
    #[must_use]
    pub fn add_address(index: u32, spec: &AddressSpec) -> Request<'fd> {
        new_address(index, spec, "add", NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Adds an address to the link `index`, or changes the lifetimes of the one it has
    /// (`RTM_NEWADDR`, CREATE and REPLACE).
    ///
    /// Errors: `EACCES` for an IPv6 address where IPv6 is disabled, `EINVAL` for one that
    /// is valid for less than a second, `ENODEV` if the link does not exist.
    #[must_use]
    pub fn replace_address(index: u32, spec: &AddressSpec) -> Request<'fd> {
        new_address(index, spec, "replace", NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Deletes an address of the link `index` (`RTM_DELADDR`).
    ///
    /// Errors: `EADDRNOTAVAIL` if the link does not have it with this prefix
    /// length.
    #[must_use]
    pub fn del_address(index: u32, addr: IpAddr, prefix: u8) -> Request<'fd> {
        let mut body = address_body(index, addr, prefix, Scope::UNIVERSE);
        body.ip(IFA_LOCAL, addr);
        let what = format!("delete address {addr}/{prefix} of link {index}");
        Request::new(RTM_DELADDR, 0, body, what)
    }
}

fn new_address<'fd>(
    index: u32,
    spec: &AddressSpec,
    verb: &str,
    request_flags: u16,
) -> Request<'fd> {
    let mut body = address_body(index, spec.addr, spec.prefix, spec.scope);
    body.ip(IFA_LOCAL, spec.addr);
    body.ip(IFA_ADDRESS, spec.peer.unwrap_or(spec.addr));
    if let Some(broadcast) = spec.broadcast_address() {
        body.ip(IFA_BROADCAST, broadcast.into());
    }
    let mut flags = spec.flags;
    if spec.nodad {
        flags |= IFA_F_NODAD;
    }
    if flags != 0 {
        body.u32(IFA_FLAGS, flags);
    }
    if spec.valid.is_some() || request_flags & NLM_F_REPLACE != 0 {
        body.raw(IFA_CACHEINFO, &spec.cache_info());
    }
    let what = format!(
        "{verb} address {}/{} to link {index}",
        spec.addr, spec.prefix
    );
    Request::new(RTM_NEWADDR, request_flags, body, what)
}

fn address_body(index: u32, addr: IpAddr, prefix: u8, scope: Scope) -> Builder {
    Builder::new(&AddressHeader {
        family: Family::of(addr).header(),
        prefix_len: prefix,
        scope: scope.0.into(),
        index,
        ..AddressHeader::default()
    })
}

impl Handle {
    /// The addresses of the link `index`, of one family or of both, IPv4 first, in the
    /// kernel's order. Empty if the link does not exist.
    ///
    /// # Errors
    /// Errors of the kernel and of the socket; a table that changed during each of ten
    /// dumps.
    pub fn addresses(&self, index: u32, family: Option<Family>) -> Result<Vec<Address>, Error> {
        let dumped = self.dump_addresses(index, index, family)?;
        // In a dump of one link the kernel does not detect changes between two
        // datagrams (`inet_dump_addr` sets no `cb->seq` there); in a dump of all
        // links it does. A single datagram, some four hundred addresses, is always
        // consistent.
        if dumped.parts > 1 {
            return Ok(self.dump_addresses(0, index, family)?.list);
        }
        Ok(dumped.list)
    }

    /// Dumps the addresses of the link `asked`, 0 for all links, and keeps those of
    /// the link `index`.
    fn dump_addresses(
        &self,
        asked: u32,
        index: u32,
        family: Option<Family>,
    ) -> Result<Dumped<Address>, Error> {
        let mut header = AddressHeader {
            index: asked,
            ..AddressHeader::default()
        };
        if let Some(family) = family {
            header.family = family.header();
        }
        let what = format!("list addresses of link {index}");
        let body = crate::wire::builder::header_bytes(&header);
        let dumped = self
            .connection()
            .dump_parts(RTM_GETADDR, &body, &what, |message, list| {
                if message.kind != RTM_NEWADDR {
                    return;
                }
                let Some(address) = Address::decode(message.body) else {
                    return;
                };
                // Kernels before 4.20 send the addresses of all links.
                let of_family = family.is_none_or(|family| family == Family::of(address.addr));
                if address.index == index && of_family {
                    list.push(address);
                }
            });
        match dumped {
            Err(error) if error.errno() == Some(crate::errno::ENODEV) => Ok(Dumped::default()),
            dumped => dumped,
        }
    }
}
