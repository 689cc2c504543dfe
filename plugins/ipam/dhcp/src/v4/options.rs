//! DHCPv4 options: numbers, names, and the list of a message (RFC 2132, RFC 3396).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

pub(crate) const SUBNET_MASK: u8 = 1;
pub(crate) const ROUTERS: u8 = 3;
pub(crate) const NAME_SERVERS: u8 = 6;
pub(crate) const DOMAIN_NAME: u8 = 15;
pub(crate) const INTERFACE_MTU: u8 = 26;
pub(crate) const STATIC_ROUTES: u8 = 33;
pub(crate) const REQUESTED_ADDRESS: u8 = 50;
pub(crate) const LEASE_TIME: u8 = 51;
pub(crate) const OVERLOAD: u8 = 52;
pub(crate) const MESSAGE_TYPE: u8 = 53;
pub(crate) const SERVER_ID: u8 = 54;
pub(crate) const PARAMETER_LIST: u8 = 55;
pub(crate) const MESSAGE: u8 = 56;
pub(crate) const MAX_SIZE: u8 = 57;
pub(crate) const RENEWAL_TIME: u8 = 58;
pub(crate) const REBINDING_TIME: u8 = 59;
pub(crate) const CLIENT_ID: u8 = 61;
pub(crate) const IPV6_ONLY: u8 = 108;
pub(crate) const DOMAIN_SEARCH: u8 = 119;
pub(crate) const CLASSLESS_ROUTES: u8 = 121;

const PAD: u8 = 0;
const END: u8 = 255;

/// Longest value of one option in a message; a longer one is split (RFC 3396).
const LONGEST: usize = 255;

/// Names in a configuration. The first six are upstream's, the others those of dnsmasq and
/// ISC dhclient.
const NAMES: &[(&str, u8)] = &[
    ("dhcp-client-identifier", CLIENT_ID),
    ("subnet-mask", SUBNET_MASK),
    ("routers", ROUTERS),
    ("host-name", 12),
    ("user-class", 77),
    ("vendor-class-identifier", 60),
    ("domain-name-servers", NAME_SERVERS),
    ("domain-name", DOMAIN_NAME),
    ("domain-search", DOMAIN_SEARCH),
    ("interface-mtu", INTERFACE_MTU),
    ("static-routes", STATIC_ROUTES),
    ("classless-static-routes", CLASSLESS_ROUTES),
    ("ipv6-only-preferred", IPV6_ONLY),
];

/// Returns the number of the option with this name, or number, in a configuration.
///
/// # Errors
/// Upstream's text.
pub(crate) fn number(name: &str) -> Result<u8, String> {
    if let Some((_, code)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*code);
    }
    let is_number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    let why = match (is_number, name.parse()) {
        (true, Ok(code)) => return Ok(code),
        (true, Err(_)) => "value out of range",
        (false, _) => "invalid syntax",
    };
    let quoted = cni_core::quote::quote(name);
    Err(format!(
        "Can not parse option {quoted}: Can not parse option: strconv.ParseUint: parsing {quoted}: {why}"
    ))
}

/// Returns the names that a configuration may use, for messages.
pub(crate) fn names() -> String {
    let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

/// The options of a message, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Options(BTreeMap<u8, Vec<u8>>);

impl Options {
    /// Reads a field of options. The value of an option that occurs several times is the
    /// concatenation (RFC 3396, section 7).
    ///
    /// # Errors
    /// When an option is longer than the field.
    pub(crate) fn read(&mut self, mut field: &[u8]) -> Result<(), &'static str> {
        while let [code, rest @ ..] = field {
            field = rest;
            match *code {
                PAD => continue,
                END => break,
                _ => {}
            }
            let (length, rest) = field.split_first().ok_or("an option without a length")?;
            let (value, rest) = rest
                .split_at_checked(usize::from(*length))
                .ok_or("an option that is longer than the message")?;
            self.0.entry(*code).or_default().extend(value);
            field = rest;
        }
        Ok(())
    }

    /// Appends the options in the order of their numbers, and the end mark.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        for (code, value) in &self.0 {
            let parts: Vec<&[u8]> = match value.is_empty() {
                true => vec![&[]],
                false => value.chunks(LONGEST).collect(),
            };
            for part in parts {
                // A part has at most 255 bytes.
                bytes.extend([*code, u8::try_from(part.len()).unwrap_or(u8::MAX)]);
                bytes.extend(part);
            }
        }
        bytes.push(END);
    }

    /// Sets an option, in place of its former value.
    pub(crate) fn set(&mut self, code: u8, value: impl Into<Vec<u8>>) {
        self.0.insert(code, value.into());
    }

    /// Returns the value of an option.
    pub(crate) fn get(&self, code: u8) -> Option<&[u8]> {
        self.0.get(&code).map(Vec::as_slice)
    }

    /// Keeps only the options with these numbers.
    pub(crate) fn retain(&mut self, codes: &[u8]) {
        self.0.retain(|code, _| codes.contains(code));
    }

    /// Returns a value of one byte.
    pub(crate) fn byte(&self, code: u8) -> Option<u8> {
        match self.get(code)? {
            [byte] => Some(*byte),
            _ => None,
        }
    }

    /// Returns a value of two bytes.
    pub(crate) fn u16(&self, code: u8) -> Option<u16> {
        self.get(code)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// Returns a value of four bytes.
    pub(crate) fn u32(&self, code: u8) -> Option<u32> {
        self.get(code)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// Returns a time in seconds; `None` in the inner place for one without end.
    pub(crate) fn time(&self, code: u8) -> Option<Option<Duration>> {
        let seconds = self.u32(code)?;
        let finite = (seconds != u32::MAX).then(|| Duration::from_secs(seconds.into()));
        Some(finite)
    }

    /// Returns the addresses of a list; an incomplete one at the end is ignored.
    pub(crate) fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let (whole, _) = self.get(code).unwrap_or_default().as_chunks::<4>();
        whole.iter().map(|octets| Ipv4Addr::from(*octets)).collect()
    }
}
