//! MAC addresses of Ethernet interfaces.

use cni_core::{Code, Error};
use rand::TryRng;
use std::fmt;
use std::str::FromStr;

/// A 48-bit MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Returns a random unicast, locally administered address (IEEE 802, section 8.4: the
    /// two lowest bits of the first octet).
    ///
    /// # Errors
    /// When the system's random number generator fails.
    pub fn random() -> anyhow::Result<Self> {
        let mut octets = [0; 6];
        rand::rngs::SysRng
            .try_fill_bytes(&mut octets)
            .map_err(|e| anyhow::anyhow!("failed to generate random hardware address: {e}"))?;
        octets[0] = octets[0] & 0xfc | 0x02;
        Ok(MacAddress(octets))
    }
}

impl FromStr for MacAddress {
    type Err = Error;

    /// Parses `aa:bb:cc:dd:ee:ff`, `aa-bb-cc-dd-ee-ff`, `aabb.ccdd.eeff` or `aabbccddeeff`.
    ///
    /// # Errors
    /// For a malformed address, and for a multicast or all-zero one, which an interface
    /// cannot have.
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = |details: &str| {
            let msg = format!("address {text}: invalid MAC address");
            Error::new(Code::INTERNAL, msg).with_details(details)
        };
        let octets = parse(text).ok_or_else(|| invalid(""))?;
        if octets[0] & 1 == 1 {
            return Err(invalid("it is a multicast address"));
        }
        if octets == [0; 6] {
            return Err(invalid("it is all zero"));
        }
        Ok(MacAddress(octets))
    }
}

fn parse(text: &str) -> Option<[u8; 6]> {
    let (separator, digits) = match () {
        () if text.contains(':') => (':', 2),
        () if text.contains('-') => ('-', 2),
        () if text.contains('.') => ('.', 4),
        () => ('.', 12),
    };
    let mut hex = String::with_capacity(12);
    for group in text.split(separator) {
        if group.len() != digits || !group.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        hex.push_str(group);
    }
    if hex.len() != 12 {
        return None;
    }
    let mut octets = [0; 6];
    for (octet, pair) in octets.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *octet = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(octets)
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_notations_are_accepted() {
        for text in [
            "c2:B0:57:49:47:f1",
            "c2-b0-57-49-47-f1",
            "c2b0.5749.47F1",
            "c2b0574947f1",
        ] {
            assert_eq!(
                text.parse::<MacAddress>().unwrap().to_string(),
                "c2:b0:57:49:47:f1"
            );
        }
        for text in [
            "",
            "c2:b0:57:49:47",
            "c2:b0:57:49:47:f1:00",
            "c2b057494 7f1",
            "c2:b0:57:49:47:g1",
            "c2b0:5749:47f1",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
            "c2:b0:57-49:47:f1",
            "02:00:00:00:5e:10:00:00",
        ] {
            let error = text.parse::<MacAddress>().unwrap_err();
            assert_eq!(error.msg, format!("address {text}: invalid MAC address"));
        }
    }

    #[test]
    fn random_addresses_are_valid() {
        let random: Vec<_> = (0..64).map(|_| MacAddress::random().unwrap()).collect();
        for mac in &random {
            assert_eq!(mac.to_string().parse::<MacAddress>().unwrap(), *mac);
            assert_eq!(mac.0[0] & 0x03, 0x02, "{mac}");
        }
        assert!(random.iter().any(|mac| *mac != random[0]));
    }
}
