//! Encodes netlink attributes.
//!
//! Fixed headers are the typed ones of netlink-packet-route. Attributes are
//! written as type and bytes: that crate's attribute enums would link the encoders
//! of every kind of link, a hundred kilobytes per plugin. The tests decode what is
//! written here with those enums.

use std::net::IpAddr;

use netlink_packet_core::Emitable;

use super::attr::align;

const NESTED: u16 = 0x8000;

/// A message body or nested attribute under construction.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    bytes: Vec<u8>,
    problem: Option<&'static str>,
}

impl Builder {
    pub(crate) fn new(header: &impl Emitable) -> Builder {
        Builder::with_raw_header(&header_bytes(header))
    }

    /// A body that begins with a fixed header, given as its bytes.
    #[must_use]
    pub fn with_raw_header(header: &[u8]) -> Builder {
        Builder {
            bytes: header.to_vec(),
            problem: None,
        }
    }

    /// Appends an attribute with `value` as it is.
    pub fn raw(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value);
        self.close(start);
    }

    /// A number of one byte.
    pub fn u8(&mut self, kind: u16, value: u8) {
        self.raw(kind, &[value]);
    }

    /// A number of 16 bits in host byte order.
    pub fn u16(&mut self, kind: u16, value: u16) {
        self.raw(kind, &value.to_ne_bytes());
    }

    /// A number of 16 bits in network byte order.
    pub fn u16_be(&mut self, kind: u16, value: u16) {
        self.raw(kind, &value.to_be_bytes());
    }

    /// A number of 32 bits in host byte order.
    pub fn u32(&mut self, kind: u16, value: u32) {
        self.raw(kind, &value.to_ne_bytes());
    }

    /// A number of 32 bits in network byte order.
    pub fn u32_be(&mut self, kind: u16, value: u32) {
        self.raw(kind, &value.to_be_bytes());
    }

    /// A number of 64 bits in network byte order.
    pub fn u64_be(&mut self, kind: u16, value: u64) {
        self.raw(kind, &value.to_be_bytes());
    }

    /// A number of 64 bits.
    pub fn u64(&mut self, kind: u16, value: u64) {
        self.raw(kind, &value.to_ne_bytes());
    }

    /// Appends a zero-terminated string. A string that contains a zero byte, which
    /// the kernel would read as a shorter one, makes [`Builder::finish`] fail.
    pub fn text(&mut self, kind: u16, value: &str) {
        if value.as_bytes().contains(&0) {
            self.problem = Some("zero byte in a string");
            return;
        }
        let start = self.open(kind);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.close(start);
    }

    /// Appends an IP address of 4 or 16 bytes.
    pub fn ip(&mut self, kind: u16, value: IpAddr) {
        match value {
            IpAddr::V4(address) => self.raw(kind, &address.octets()),
            IpAddr::V6(address) => self.raw(kind, &address.octets()),
        }
    }

    pub(crate) fn opt_u32(&mut self, kind: u16, value: Option<u32>) {
        if let Some(value) = value {
            self.u32(kind, value);
        }
    }

    /// Appends a nested attribute (`NLA_F_NESTED`) with the attributes that `fill` appends.
    pub fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Builder)) {
        self.nested_after(kind, &[], fill);
    }

    /// Appends a nested attribute whose value starts with a fixed header.
    pub(crate) fn nested_after(
        &mut self,
        kind: u16,
        header: &[u8],
        fill: impl FnOnce(&mut Builder),
    ) {
        let start = self.open(kind | NESTED);
        self.bytes.extend_from_slice(header);
        fill(self);
        self.close(start);
    }

    /// Appends the attributes of another builder.
    pub fn append(&mut self, other: &Builder) {
        self.bytes.extend_from_slice(&other.bytes);
        self.problem = self.problem.or(other.problem);
    }

    /// Length in bytes so far, including the header.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was appended yet, not even a header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The finished bytes.
    ///
    /// # Errors
    /// When an attribute exceeds 64 KiB or a string contains a zero byte.
    pub fn finish(self) -> Result<Vec<u8>, &'static str> {
        match self.problem {
            Some(problem) => Err(problem),
            None => Ok(self.bytes),
        }
    }

    /// Starts an attribute; [`Builder::close`] fills in its length.
    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    /// Ends the attribute that starts at `start`.
    fn close(&mut self, start: usize) {
        // The length includes the attribute's header but not the padding.
        let len = self.bytes.len() - start;
        match u16::try_from(len) {
            Ok(len) => self.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes()),
            Err(_) => self.problem = Some("attribute too long"),
        }
        let padded = start + align(len);
        self.bytes.resize(padded, 0);
    }
}

/// The bytes of a typed header, for use inside a nested attribute.
pub(crate) fn header_bytes(header: &impl Emitable) -> Vec<u8> {
    let mut bytes = vec![0; header.buffer_len()];
    header.emit(&mut bytes);
    bytes
}
