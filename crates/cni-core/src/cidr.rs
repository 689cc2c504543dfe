//! IP addresses, and CIDR addresses with their host bits.
//!
//! Parsing is strict, so that a configuration means the same to every implementation: an
//! address without prefix length, a netmask, octets with leading zeros and zones are
//! refused.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnetwork::IpNetwork;
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An IP address with its prefix length. Host bits are kept.
///
/// As everywhere in CNI, an IPv4-mapped IPv6 address becomes an IPv4 address, with a
/// prefix length that is 96 bits shorter.
///
/// ```
/// use cni_core::Cidr;
///
/// let address: Cidr = "10.1.2.3/16".parse()?;
/// assert_eq!(address.to_string(), "10.1.2.3/16");
/// assert_eq!(address.masked().to_string(), "10.1.0.0/16");
///
/// let mapped: Cidr = "::ffff:1.2.3.4/120".parse()?;
/// assert_eq!(mapped.to_string(), "1.2.3.4/24");
///
/// assert!("10.1.2.3".parse::<Cidr>().is_err());
/// # Ok::<(), cni_core::cidr::ParseCidrError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Cidr(IpNetwork);

impl Cidr {
    /// Returns `addr` with a prefix length of `prefix` bits; `None` if that is longer than
    /// the addresses of the family.
    pub fn new(addr: IpAddr, prefix: u8) -> Option<Cidr> {
        let network = IpNetwork::new(addr, prefix).ok()?;
        let network = match canonical(addr) {
            v4 @ IpAddr::V4(_) if addr.is_ipv6() => {
                IpNetwork::new(v4, prefix.saturating_sub(96)).ok()?
            }
            _ => network,
        };
        Some(Cidr(network))
    }

    /// Returns `addr` with the full prefix length, 32 or 128.
    pub fn host(addr: IpAddr) -> Cidr {
        Cidr(IpNetwork::from(canonical(addr)))
    }

    /// Returns the address with its host bits.
    pub fn addr(&self) -> IpAddr {
        self.0.ip()
    }

    /// Returns the prefix length in bits, 0 to 32 or 0 to 128.
    pub fn prefix(&self) -> u8 {
        self.0.prefix()
    }

    /// Returns the address of the network: the host bits are zero.
    pub fn network(&self) -> IpAddr {
        self.0.network()
    }

    /// Returns the network: address with zero host bits, and prefix length.
    #[must_use]
    pub fn masked(&self) -> Cidr {
        // Never an error: the prefix length is valid for the family.
        Cidr(IpNetwork::new(self.0.network(), self.0.prefix()).unwrap_or(self.0))
    }

    /// Returns the last address of the network, which is the broadcast address in IPv4.
    pub fn broadcast(&self) -> IpAddr {
        self.0.broadcast()
    }

    /// Returns whether `addr` lies in the network. An IPv4-mapped address counts as IPv4.
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.0.contains(canonical(addr))
    }

    /// Returns whether this is IPv4; otherwise it is IPv6.
    pub fn is_ipv4(&self) -> bool {
        self.0.is_ipv4()
    }

    /// Returns whether this is the destination of a default route, `0.0.0.0/0` or `::/0`.
    pub fn is_default(&self) -> bool {
        self.prefix() == 0 && self.addr().is_unspecified()
    }

    /// Returns the netmask in hexadecimal, `ffffff00` for an IPv4 /24.
    pub fn mask_hex(&self) -> String {
        match self.0.mask() {
            IpAddr::V4(mask) => format!("{:08x}", mask.to_bits()),
            IpAddr::V6(mask) => format!("{:032x}", mask.to_bits()),
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr(), self.prefix())
    }
}

/// The error of a text that is not an address with a prefix length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseCidrError(String);

impl fmt::Display for ParseCidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid CIDR address: {}", self.0)
    }
}

impl std::error::Error for ParseCidrError {}

impl FromStr for Cidr {
    type Err = ParseCidrError;

    /// Parses `<address>/<prefix length>`. As in upstream, the prefix length may have
    /// leading zeros, and the octets of the address may not.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_cidr(text).ok_or_else(|| ParseCidrError(text.to_owned()))
    }
}

fn parse_cidr(text: &str) -> Option<Cidr> {
    let (addr, prefix) = text.split_once('/')?;
    // The standard library refuses leading zeros, zones and short forms of IPv4.
    let addr: IpAddr = addr.parse().ok()?;
    // The integer parser would accept a sign.
    if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = prefix.trim_start_matches('0');
    let prefix = if digits.is_empty() {
        0
    } else {
        digits.parse().ok()?
    };
    Cidr::new(addr, prefix)
}

/// The error of a text that is not an IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseIpError(String);

impl fmt::Display for ParseIpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid IP address: {}", self.0)
    }
}

impl std::error::Error for ParseIpError {}

/// Parses an address as strictly as [`Cidr`]: without leading zeros or a zone. An
/// IPv4-mapped address becomes IPv4.
///
/// # Errors
/// `invalid IP address: <text>`.
pub fn parse_ip(text: &str) -> Result<IpAddr, ParseIpError> {
    text.parse()
        .map(canonical)
        .map_err(|_| ParseIpError(text.to_owned()))
}

/// Returns the IPv4 address of an IPv4-mapped IPv6 address, and any other address as it
/// is, also one that embeds an IPv4 address in another way (`::1.2.3.4`).
pub fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

impl From<Ipv4Addr> for Cidr {
    fn from(addr: Ipv4Addr) -> Self {
        Cidr::host(addr.into())
    }
}

impl From<Ipv6Addr> for Cidr {
    fn from(addr: Ipv6Addr) -> Self {
        Cidr::host(addr.into())
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(CidrVisitor)
    }
}

struct CidrVisitor;

impl Visitor<'_> for CidrVisitor {
    type Value = Cidr;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CIDR address such as \"10.1.2.3/16\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Cidr, E> {
        text.parse().map_err(E::custom)
    }
}

/// Deserializes an optional address, for `#[serde(deserialize_with = "…")]`. An empty
/// string is `None`.
///
/// # Errors
/// `invalid IP address: <text>`, or the deserializer's error for a value that is not a
/// string.
pub fn deserialize_optional_ip<'de, D>(deserializer: D) -> Result<Option<IpAddr>, D::Error>
where
    D: Deserializer<'de>,
{
    match Option::<std::borrow::Cow<'de, str>>::deserialize(deserializer)?.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => parse_ip(text).map(Some).map_err(D::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts and the results of Go's `net.ParseCIDR`; `None` is an error.
    const CIDRS: &[(&str, Option<&str>)] = &[
        ("10.1.2.3/16", Some("10.1.2.3/16")),
        ("10.1.2.3/016", Some("10.1.2.3/16")),
        ("10.1.2.3/0000000000000000000016", Some("10.1.2.3/16")),
        ("10.1.2.3/0", Some("10.1.2.3/0")),
        ("10.1.2.3/000", Some("10.1.2.3/0")),
        ("0.0.0.0/0", Some("0.0.0.0/0")),
        ("10.1.2.3/32", Some("10.1.2.3/32")),
        ("10.1.2.3/33", None),
        ("10.1.2.3/256", None),
        ("10.1.2.3/99999999999999999999", None),
        ("10.1.2.3", None),
        ("10.1.2.3/", None),
        ("/24", None),
        ("", None),
        ("/", None),
        ("10.1.2.3/255.255.0.0", None),
        ("10.1.2.3/+16", None),
        ("10.1.2.3/-1", None),
        ("10.1.2.3/ 16", None),
        ("10.1.2.3/16 ", None),
        (" 10.1.2.3/16", None),
        ("10.1.2.3/16/16", None),
        ("10.1.2.3/1a", None),
        ("10.1.2.3/\u{661}", None),
        ("010.1.2.3/16", None),
        ("10.01.2.3/16", None),
        ("10.1.2.00/16", None),
        ("10.1.2/16", None),
        ("10.1.2.3.4/16", None),
        ("10.1.2.256/16", None),
        ("0x0a.1.2.3/16", None),
        ("2001:db8::1/64", Some("2001:db8::1/64")),
        ("2001:DB8:0:0:0:0:0:1/064", Some("2001:db8::1/64")),
        ("2001:db8::0001/128", Some("2001:db8::1/128")),
        ("2001:db8::00001/128", None),
        ("2001:db8::1/129", None),
        ("::/0", Some("::/0")),
        ("1:2:3:4::5:6:7:8/64", None),
        ("1:2:3:4:5:6:7::/64", Some("1:2:3:4:5:6:7:0/64")),
        ("fe80::1%eth0/64", None),
        ("fe80::1%25/64", None),
        ("[2001:db8::1]/64", None),
        ("::ffff:1.2.3.4/120", Some("1.2.3.4/24")),
        ("::ffff:1.2.3.4/128", Some("1.2.3.4/32")),
        ("::ffff:102:304/96", Some("1.2.3.4/0")),
        ("::ffff:1.2.3.4/64", Some("1.2.3.4/0")),
        ("::ffff:01.2.3.4/120", None),
        ("::1.2.3.4/128", Some("::102:304/128")),
        ("64:ff9b::1.2.3.4/96", Some("64:ff9b::102:304/96")),
    ];

    #[test]
    fn parses_the_same_cidrs_as_go() {
        for (text, expected) in CIDRS {
            let got = text.parse::<Cidr>();
            match expected {
                Some(expected) => {
                    let got = got.unwrap_or_else(|e| panic!("{text}: {e}"));
                    assert_eq!(got.to_string(), *expected, "{text}");
                    assert_eq!(got.to_string().parse::<Cidr>().unwrap(), got, "{text}");
                }
                None => assert_eq!(
                    got.map_err(|e| e.to_string()),
                    Err(format!("invalid CIDR address: {text}"))
                ),
            }
        }
    }

    #[test]
    fn parses_addresses() {
        let table = [
            ("1.1.1.1", Some("1.1.1.1")),
            ("::ffff:1.1.1.1", Some("1.1.1.1")),
            ("::FFFF:0101:0101", Some("1.1.1.1")),
            ("2001:DB8::1", Some("2001:db8::1")),
            ("::", Some("::")),
            ("", None),
            ("01.1.1.1", None),
            ("1.1.1", None),
            ("1.1.1.1/24", None),
            ("fe80::1%1", None),
            ("localhost", None),
            (" 1.1.1.1", None),
        ];
        for (text, expected) in table {
            match (parse_ip(text), expected) {
                (Ok(ip), Some(expected)) => assert_eq!(ip.to_string(), expected),
                (Err(e), None) => assert_eq!(e.to_string(), format!("invalid IP address: {text}")),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }

    #[test]
    fn network_broadcast_and_mask() {
        let c: Cidr = "10.1.2.3/20".parse().unwrap();
        assert_eq!(c.network().to_string(), "10.1.0.0");
        assert_eq!(c.masked().to_string(), "10.1.0.0/20");
        assert_eq!(c.broadcast().to_string(), "10.1.15.255");
        assert_eq!(c.mask_hex(), "fffff000");
        assert!(c.contains("10.1.15.255".parse().unwrap()));
        assert!(c.contains("::ffff:10.1.15.255".parse().unwrap()));
        assert!(!c.contains("10.1.16.0".parse().unwrap()));
        assert!(!c.contains("::1".parse().unwrap()));
        let c: Cidr = "2001:db8::1/64".parse().unwrap();
        assert_eq!(c.broadcast().to_string(), "2001:db8::ffff:ffff:ffff:ffff");
        assert_eq!(c.mask_hex(), "ffffffffffffffff0000000000000000");
        assert!(!c.contains("10.1.15.255".parse().unwrap()));
    }

    #[test]
    fn default_destinations() {
        for (text, expected) in [
            ("0.0.0.0/0", true),
            ("::/0", true),
            ("10.0.0.0/0", false),
            ("0.0.0.0/8", false),
        ] {
            assert_eq!(
                text.parse::<Cidr>().unwrap().is_default(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn mapped_addresses_become_ipv4() {
        let v4: IpAddr = "1.2.3.4".parse().unwrap();
        let mapped: IpAddr = "::ffff:1.2.3.4".parse().unwrap();
        assert_eq!(Cidr::new(v4, 33), None);
        assert_eq!(Cidr::new(mapped, 129), None);
        assert_eq!(Cidr::new(mapped, 112).unwrap().to_string(), "1.2.3.4/16");
        assert_eq!(Cidr::host(mapped).to_string(), "1.2.3.4/32");
        assert_eq!(Cidr::host("::1".parse().unwrap()).to_string(), "::1/128");
    }

    #[test]
    fn is_serialized_as_a_json_string() {
        let c: Cidr = serde_json::from_str("\"10.1.2.3/16\"").unwrap();
        assert_eq!(serde_json::to_string(&c).unwrap(), "\"10.1.2.3/16\"");
        let error = serde_json::from_str::<Cidr>("\"x\"")
            .unwrap_err()
            .to_string();
        assert!(error.contains("invalid CIDR address: x"), "{error}");
    }
}
