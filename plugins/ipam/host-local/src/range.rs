//! Ranges of addresses and sets of ranges.
//!
//! Arithmetic is on 128-bit numbers, so that an IPv6 /64 takes no longer than an IPv4 /24
//! and nothing overflows at the ends of the address space.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni_core::Cidr;

mod exclude;

pub(crate) use exclude::Exclusion;

/// The addresses from `start` to `end` (inclusive) of one subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// The subnet. Every allocated address has its prefix length.
    subnet: Cidr,
    start: IpAddr,
    end: IpAddr,
    /// The gateway, which is never allocated; it may lie outside the subnet.
    gateway: IpAddr,
}

/// A range as configured. All keys but the subnet have defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RangeSpec {
    /// The subnet as text; checked by [`Range::new`].
    pub(crate) subnet: Option<SubnetText>,
    /// First address; default: the one after the subnet's own.
    pub(crate) start: Option<IpAddr>,
    /// Last address; default: the one before the broadcast address, or for IPv6
    /// the last of the subnet.
    pub(crate) end: Option<IpAddr>,
    /// Gateway; default: the one after the subnet's own.
    pub(crate) gateway: Option<IpAddr>,
}

/// A subnet as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubnetText {
    /// The subnet.
    pub(crate) cidr: Cidr,
    /// Whether it was written as an IPv4-mapped IPv6 network, which is refused.
    pub(crate) mapped: bool,
}

/// An invalid range or set of ranges, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RangeError(String);

impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RangeError {}

fn refuse<T>(text: String) -> Result<T, RangeError> {
    Err(RangeError(text))
}

impl Range {
    /// Validates a configured range and fills in defaults.
    pub(crate) fn new(spec: &RangeSpec) -> Result<Range, RangeError> {
        let Some(SubnetText { cidr, mapped }) = spec.subnet else {
            return refuse("IP <nil> not v4 nor v6".into());
        };
        let bits = if cidr.is_ipv4() { 32 } else { 128 };
        if cidr.prefix() > bits - 2 {
            return refuse(format!("Network {cidr} too small to allocate from"));
        }
        if mapped {
            return refuse("IPNet IP and Mask version mismatch".into());
        }
        let network = cidr.network();
        if cidr.addr() != network {
            return refuse(format!(
                "Network has host bits set. For a subnet mask of length {} the network address is {network}",
                cidr.prefix()
            ));
        }
        // The subnet has at least four addresses, so these exist.
        let first = offset(network, 1);
        let last = match cidr.broadcast() {
            broadcast @ IpAddr::V4(_) => from_number(to_number(broadcast) - 1, broadcast),
            last => last,
        };
        let gateway = spec.gateway.unwrap_or(first);
        if gateway.is_ipv4() != cidr.is_ipv4() {
            return refuse(format!(
                "gateway {gateway} and network {cidr} are of different address families"
            ));
        }
        if let Some(start) = spec.start {
            let above = spec.end.is_some_and(|end| start > end);
            if !cidr.contains(start) || above {
                return refuse(format!("RangeStart {start} not in network {cidr}"));
            }
        }
        let start = spec.start.unwrap_or(first);
        if let Some(end) = spec.end
            && (!cidr.contains(end) || end < start)
        {
            return refuse(format!("RangeEnd {end} not in network {cidr}"));
        }
        let end = spec.end.unwrap_or(last);
        // The start is above the default end only if it is the broadcast address.
        let end = end.max(start);
        Ok(Range {
            subnet: cidr,
            start,
            end,
            gateway,
        })
    }

    /// Returns the gateway for the addresses of this range.
    pub(crate) fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// Returns an address of this range with the subnet's prefix length.
    pub(crate) fn with_prefix(&self, ip: IpAddr) -> Cidr {
        // The family is the subnet's, so its prefix length always fits.
        Cidr::new(ip, self.subnet.prefix()).unwrap_or_else(|| Cidr::host(ip))
    }

    /// Returns whether `ip` lies in this range, gateway included.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.start.is_ipv4() && self.start <= ip && ip <= self.end
    }

    fn overlaps(&self, other: &Range) -> bool {
        self.start.is_ipv4() == other.start.is_ipv4()
            && self.start <= other.end
            && other.start <= self.end
    }

    /// Returns the number of addresses that can be allocated, at most 2^128 - 1.
    fn capacity(&self) -> u128 {
        self.size() - u128::from(self.contains(self.gateway))
    }

    /// Returns the number of addresses, gateway included.
    fn size(&self) -> u128 {
        (to_number(self.end) - to_number(self.start)).saturating_add(1)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

/// Ranges of one address family that do not overlap. An ADD takes one address
/// from each set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RangeSet {
    /// As configured.
    ranges: Vec<Range>,
    /// What exclusions leave of the ranges, in the same order.
    pieces: Vec<Range>,
}

impl RangeSet {
    /// Validates the ranges of a set: one address family, and no overlap.
    pub(crate) fn new(specs: &[RangeSpec]) -> Result<RangeSet, RangeError> {
        let mut ranges: Vec<Range> = Vec::with_capacity(specs.len());
        for spec in specs {
            let range = Range::new(spec)?;
            if let Some(first) = ranges.first()
                && first.start.is_ipv4() != range.start.is_ipv4()
            {
                return refuse("mixed address families".into());
            }
            ranges.push(range);
        }
        if ranges.is_empty() {
            return refuse("empty range set".into());
        }
        for (i, a) in ranges.iter().enumerate() {
            if let Some(b) = ranges.iter().skip(i + 1).find(|b| a.overlaps(b)) {
                return refuse(format!("subnets {a} and {b} overlap"));
            }
        }
        let pieces = ranges.clone();
        Ok(RangeSet { ranges, pieces })
    }

    /// Returns whether the set is IPv4; otherwise it is IPv6.
    pub(crate) fn is_ipv4(&self) -> bool {
        self.ranges
            .first()
            .is_some_and(|range| range.start.is_ipv4())
    }

    /// Returns the range that `ip` lies in.
    pub(crate) fn range_of(&self, ip: IpAddr) -> Option<&Range> {
        self.ranges.iter().find(|range| range.contains(ip))
    }

    /// Returns whether `ip` lies in any of the ranges.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        self.range_of(ip).is_some()
    }

    /// Returns whether a range of this set overlaps with one of `other`. Only start and end
    /// are compared, since two sets may share a subnet.
    pub(crate) fn overlaps(&self, other: &RangeSet) -> bool {
        let overlaps = |a: &Range| other.ranges.iter().any(|b| a.overlaps(b));
        self.ranges.iter().any(overlaps)
    }

    /// Returns whether an address can be allocated: it lies in the set, and is neither
    /// excluded nor the gateway.
    pub(crate) fn offers(&self, ip: IpAddr) -> bool {
        let piece = self.pieces.iter().find(|piece| piece.contains(ip));
        piece.is_some_and(|piece| piece.gateway != ip)
    }

    /// Returns whether an address lies in the set and is excluded.
    pub(crate) fn excludes(&self, ip: IpAddr) -> bool {
        self.contains(ip) && !self.pieces.iter().any(|piece| piece.contains(ip))
    }

    /// Returns an address of the set for any number, each for about as many numbers. `None`
    /// if there is none.
    pub(crate) fn at(&self, number: u128) -> Option<IpAddr> {
        let total = self.pieces.iter().map(Range::size);
        let total = total.fold(0, u128::saturating_add);
        let mut at = number.checked_rem(total)?;
        for piece in &self.pieces {
            match at.checked_sub(piece.size()) {
                Some(beyond) => at = beyond,
                None => return Some(offset(piece.start, at)),
            }
        }
        None
    }

    /// Returns the number of addresses that can be allocated, gateways and exclusions
    /// left out.
    pub(crate) fn capacity(&self) -> u128 {
        self.pieces
            .iter()
            .fold(0, |sum, range| sum.saturating_add(range.capacity()))
    }

    /// Returns the candidates in the order of round robin: from the address after `last`
    /// cyclically through all ranges, `last` itself at the end. If `last` is not in this
    /// set, they begin at the start of the first range.
    pub(crate) fn walk(&self, last: Option<IpAddr>) -> Walk<'_> {
        let place = last.and_then(|ip| {
            let at = self.pieces.iter().position(|piece| piece.contains(ip))?;
            Some((at, ip))
        });
        let at = place.map(|(at, _)| at);
        Walk {
            ranges: &self.pieces,
            at: at.or_else(|| self.piece_after(last?)).unwrap_or(0),
            current: place.map(|(_, ip)| ip),
            first: None,
        }
    }

    /// Returns the position of the first piece after an excluded address.
    fn piece_after(&self, ip: IpAddr) -> Option<usize> {
        let range = |ip| self.ranges.iter().position(|range| range.contains(ip));
        let place = (range(ip)?, ip);
        let mut pieces = self.pieces.iter();
        pieces.position(|piece| {
            let of_piece = range(piece.start).map(|range| (range, piece.start));
            of_piece.is_some_and(|of_piece| of_piece > place)
        })
    }
}

impl fmt::Display for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.ranges.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            range.fmt(f)?;
        }
        Ok(())
    }
}

/// Iterator over the candidates, see [`RangeSet::walk`].
pub(crate) struct Walk<'a> {
    ranges: &'a [Range],
    /// Index of the range that `current` lies in.
    at: usize,
    current: Option<IpAddr>,
    /// First candidate; the iteration ends when it is reached again.
    first: Option<IpAddr>,
}

impl Iterator for Walk<'_> {
    type Item = IpAddr;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut range = self.ranges.get(self.at)?;
            let ip = match self.current {
                None => range.start,
                Some(ip) if ip == range.end => {
                    self.at = (self.at + 1) % self.ranges.len();
                    range = self.ranges.get(self.at)?;
                    range.start
                }
                Some(ip) => offset(ip, 1),
            };
            if self.first == Some(ip) {
                return None;
            }
            self.first.get_or_insert(ip);
            self.current = Some(ip);
            if ip != range.gateway {
                return Some(ip);
            }
        }
    }
}

/// Returns the address as a number.
fn to_number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// Returns the number as an address of the same family as `like`. A number too large for
/// IPv4 becomes the last IPv4 address.
fn from_number(number: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(number).into(),
    }
}

/// Returns the address `distance` further on, at most the last one of the family.
fn offset(ip: IpAddr, distance: u128) -> IpAddr {
    from_number(to_number(ip).saturating_add(distance), ip)
}

#[cfg(test)]
mod tests;
