//! Addresses that are never allocated (`ipam.exclude`).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use cni_core::Cidr;
use cni_core::cidr::parse_ip;

use super::{Range, RangeSet, from_number, offset, to_number};

/// The addresses from `start` to `end`, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exclusion {
    start: IpAddr,
    end: IpAddr,
}

/// A text that is not an exclusion.
#[derive(Debug)]
pub(crate) struct BadExclusion(String);

impl fmt::Display for BadExclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is neither an address, nor a CIDR, nor a range such as 10.1.2.10-10.1.2.19",
            self.0
        )
    }
}

impl std::error::Error for BadExclusion {}

impl FromStr for Exclusion {
    type Err = BadExclusion;

    fn from_str(text: &str) -> Result<Exclusion, BadExclusion> {
        let bounds = if text.contains('/') {
            let cidr = text.parse::<Cidr>().ok();
            cidr.map(|cidr| (cidr.network(), last_of(cidr)))
        } else if let Some((start, end)) = text.split_once('-') {
            parse_ip(start.trim()).ok().zip(parse_ip(end.trim()).ok())
        } else {
            parse_ip(text).ok().map(|ip| (ip, ip))
        };
        let bounds = bounds.filter(|(start, end)| start.is_ipv4() == end.is_ipv4() && start <= end);
        let (start, end) = bounds.ok_or_else(|| BadExclusion(text.to_owned()))?;
        Ok(Exclusion { start, end })
    }
}

/// Returns the last address of a network.
fn last_of(cidr: Cidr) -> IpAddr {
    let host_bits = if cidr.is_ipv4() { 32 } else { 128 } - u32::from(cidr.prefix());
    let hosts = 1u128.checked_shl(host_bits).map_or(u128::MAX, |n| n - 1);
    from_number(to_number(cidr.network()) | hosts, cidr.network())
}

impl RangeSet {
    /// Returns the set without the excluded addresses. Order, subnets and gateways stay.
    pub(crate) fn without(mut self, exclusions: &[Exclusion]) -> RangeSet {
        for exclusion in exclusions {
            let pieces = self.pieces.iter();
            self.pieces = pieces.flat_map(|piece| cut(piece, *exclusion)).collect();
        }
        self
    }
}

/// Returns what is left of a range: the parts before and after the exclusion.
fn cut(range: &Range, exclusion: Exclusion) -> Vec<Range> {
    let same_family = range.start.is_ipv4() == exclusion.start.is_ipv4();
    if !same_family || exclusion.end < range.start || range.end < exclusion.start {
        return vec![range.clone()];
    }
    let mut left = Vec::with_capacity(2);
    if range.start < exclusion.start {
        let end = from_number(to_number(exclusion.start) - 1, range.end);
        left.push(Range {
            end,
            ..range.clone()
        });
    }
    if exclusion.end < range.end {
        let start = offset(exclusion.end, 1);
        left.push(Range {
            start,
            ..range.clone()
        });
    }
    left
}

#[cfg(test)]
mod tests {
    use super::super::tests::set;

    fn walked(ranges: &[&str], exclude: &[&str], last: Option<&str>) -> String {
        let exclude: Vec<_> = exclude.iter().map(|text| text.parse().unwrap()).collect();
        let set = set(ranges).unwrap().without(&exclude);
        let last = last.map(|ip| ip.parse().unwrap());
        let walked: Vec<_> = set.walk(last).collect();
        assert_eq!(walked.len() as u128, set.capacity());
        assert!(walked.iter().all(|ip| set.offers(*ip)));
        let texts: Vec<String> = walked.iter().map(ToString::to_string).collect();
        texts.join(" ").replace("10.0.0.", "")
    }

    #[test]
    fn excluded_addresses_are_skipped() {
        let eight = &["10.0.0.0/29"][..];
        let two = &["10.0.0.0/29 - 10.0.0.3", "10.0.0.8/29"][..];
        for (ranges, exclude, last, expected) in [
            (eight, &[][..], None, "2 3 4 5 6"),
            (eight, &["10.0.0.4"], None, "2 3 5 6"),
            (eight, &["10.0.0.4"], Some("10.0.0.4"), "5 6 2 3"),
            (eight, &["10.0.0.4-10.0.0.9"], Some("10.0.0.5"), "2 3"),
            (eight, &["10.0.0.0/30"], Some("10.0.0.2"), "4 5 6"),
            (eight, &["10.0.0.2", "10.0.0.6", "10.0.0.4"], None, "3 5"),
            // At the start, and at the end, of what is left.
            (eight, &["10.0.0.2", "10.0.0.3"], None, "4 5 6"),
            (eight, &["10.0.0.6", "10.0.0.5"], None, "2 3 4"),
            (eight, &["10.0.0.1", "fd00::/8"], None, "2 3 4 5 6"),
            (eight, &["0.0.0.0/0"], None, ""),
            (two, &["10.0.0.10-10.0.0.13"], None, "2 3 14"),
            (two, &["10.0.0.2/31"], Some("10.0.0.3"), "10 11 12 13 14"),
            (two, &["10.0.0.14"], Some("10.0.0.14"), "2 3 10 11 12 13"),
        ] {
            assert_eq!(
                walked(ranges, exclude, last),
                expected,
                "{exclude:?} {last:?}"
            );
        }
    }

    #[test]
    fn whole_address_spaces_can_be_excluded() {
        assert_eq!(walked(&["::/0"], &["::/0"], None), "");
        assert_eq!(
            walked(
                &["::/0"],
                &["::3-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
                None
            ),
            "::2"
        );
    }

    #[test]
    fn invalid_exclusions_are_refused() {
        for text in [
            "",
            "10.0.0",
            "10.0.0.1/33",
            "10.0.0.2-10.0.0.1",
            "10.0.0.2-fd00::1",
            "10.0.0.2-",
            "10.0.0.1 10.0.0.2",
        ] {
            text.parse::<super::Exclusion>().unwrap_err();
        }
    }
}
