//! Decodes netlink attributes (`struct nlattr`, netlink.h).
//!
//! The kernel may be of any version: a truncated attribute ends the iteration, an
//! attribute of unexpected size reads as absent. No input panics.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bits of an attribute's type that are flags (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const TYPE_MASK: u16 = 0x3fff;
const HEADER_LEN: usize = 4;

/// Iterates over the attributes in a byte slice.
#[derive(Clone, Copy)]
pub struct Attributes<'a>(&'a [u8]);

/// An attribute: its type without flag bits, and its value.
#[derive(Clone, Copy)]
pub struct Attribute<'a> {
    /// Its type (`NLA_TYPE_MASK`).
    pub kind: u16,
    /// Its value, without header and padding.
    pub value: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Iterates over the attributes in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Attributes(bytes)
    }

    /// Iterates over the attributes after a fixed header of `header_len` bytes; none
    /// if `bytes` is shorter than that.
    pub fn after(bytes: &'a [u8], header_len: usize) -> Self {
        Attributes(bytes.get(header_len..).unwrap_or_default())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let header = self.0.get(..HEADER_LEN)?;
        let len = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & TYPE_MASK;
        let value = self.0.get(HEADER_LEN..len)?;
        self.0 = self.0.get(align(len)..).unwrap_or_default();
        Some(Attribute { kind, value })
    }
}

impl<'a> Attribute<'a> {
    /// The first byte of the value; `None` if it is empty.
    pub fn u8(&self) -> Option<u8> {
        self.value.first().copied()
    }

    /// A number of 16 bits in host byte order.
    pub fn u16(&self) -> Option<u16> {
        Some(u16::from_ne_bytes(self.value.try_into().ok()?))
    }

    /// A number of 16 bits in network byte order.
    pub fn u16_be(&self) -> Option<u16> {
        Some(u16::from_be_bytes(self.value.try_into().ok()?))
    }

    /// A number of 32 bits in host byte order.
    pub fn u32(&self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.value.try_into().ok()?))
    }

    /// A number of 32 bits in network byte order.
    pub fn u32_be(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.value.try_into().ok()?))
    }

    /// A number of 64 bits in network byte order.
    pub fn u64_be(&self) -> Option<u64> {
        Some(u64::from_be_bytes(self.value.try_into().ok()?))
    }

    /// A signed number of 32 bits in host byte order.
    pub fn i32(&self) -> Option<i32> {
        Some(i32::from_ne_bytes(self.value.try_into().ok()?))
    }

    pub(crate) fn u64(&self) -> Option<u64> {
        Some(u64::from_ne_bytes(self.value.try_into().ok()?))
    }

    /// A string up to its first zero byte. Bytes that are not UTF-8, which the kernel
    /// allows in names, are replaced.
    pub fn text(&self) -> String {
        let end = self.value.iter().position(|byte| *byte == 0);
        let bytes = &self.value[..end.unwrap_or(self.value.len())];
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// An IP address, whose family follows from its length.
    pub fn ip(&self) -> Option<IpAddr> {
        if let Ok(octets) = <[u8; 4]>::try_from(self.value) {
            return Some(IpAddr::V4(Ipv4Addr::from(octets)));
        }
        let octets = <[u8; 16]>::try_from(self.value).ok()?;
        Some(IpAddr::V6(Ipv6Addr::from(octets)))
    }

    /// The attributes nested in this one.
    pub fn nested(&self) -> Attributes<'a> {
        Attributes(self.value)
    }
}

/// Rounds up to a multiple of 4 (`NLA_ALIGN`).
pub(crate) fn align(len: usize) -> usize {
    len.saturating_add(3) & !3
}

/// The 32-bit number in host byte order at `offset`, if `bytes` is long enough.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let end = offset.checked_add(4)?;
    let bytes = bytes.get(offset..end)?.try_into().ok()?;
    Some(u32::from_ne_bytes(bytes))
}

/// As [`u32_at`], in network byte order.
pub(crate) fn u32_be_at(bytes: &[u8], offset: usize) -> Option<u32> {
    u32_at(bytes, offset).map(u32::from_be)
}

/// As [`u32_at`], 16 bits wide.
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let end = offset.checked_add(2)?;
    let bytes = bytes.get(offset..end)?.try_into().ok()?;
    Some(u16::from_ne_bytes(bytes))
}
