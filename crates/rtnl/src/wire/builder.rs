//! Writing of netlink attributes.
//!
//! Fixed headers are the typed ones of netlink-packet-route. Attributes are
//! written as type and bytes: the crate's attribute enums would bring the
//! encoders of every kind of link along, a hundred kilobytes a plugin pays for
//! and does not use. The tests decode what is written here with those enums.

use std::net::IpAddr;

use netlink_packet_core::{DefaultNla, Emitable};

const NESTED: u16 = 0x8000;
/// The 16-bit length of an attribute counts its own 4-byte header.
const MAX_VALUE: usize = u16::MAX as usize - 4;

/// A message body or nested attribute under construction.
#[derive(Default)]
pub(crate) struct Builder {
    bytes: Vec<u8>,
    problem: Option<&'static str>,
}

impl Builder {
    pub(crate) fn new(header: &impl Emitable) -> Builder {
        let mut builder = Builder::default();
        builder.emit(header);
        builder
    }

    /// For a header that netlink-packet-route has no type for.
    pub(crate) fn with_raw_header(header: &[u8]) -> Builder {
        Builder {
            bytes: header.to_vec(),
            problem: None,
        }
    }

    fn emit(&mut self, part: &impl Emitable) {
        let start = self.bytes.len();
        self.bytes.resize(start + part.buffer_len(), 0);
        part.emit(&mut self.bytes[start..]);
    }

    pub(crate) fn raw(&mut self, kind: u16, value: &[u8]) {
        if value.len() > MAX_VALUE {
            self.problem = Some("attribute too long");
            return;
        }
        self.emit(&DefaultNla::new(kind, value.to_vec()));
    }

    pub(crate) fn u8(&mut self, kind: u16, value: u8) {
        self.raw(kind, &[value]);
    }

    pub(crate) fn u16(&mut self, kind: u16, value: u16) {
        self.raw(kind, &value.to_ne_bytes());
    }

    pub(crate) fn u16_be(&mut self, kind: u16, value: u16) {
        self.raw(kind, &value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, kind: u16, value: u32) {
        self.raw(kind, &value.to_ne_bytes());
    }

    pub(crate) fn u64(&mut self, kind: u16, value: u64) {
        self.raw(kind, &value.to_ne_bytes());
    }

    /// A zero-terminated string. A zero byte inside would make the kernel act
    /// on another, shorter name; it is refused instead.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        if value.as_bytes().contains(&0) {
            self.problem = Some("zero byte in a name");
            return;
        }
        let mut bytes = Vec::with_capacity(value.len() + 1);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
        self.raw(kind, &bytes);
    }

    pub(crate) fn ip(&mut self, kind: u16, value: IpAddr) {
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

    pub(crate) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Builder)) {
        self.nested_after(kind, &[], fill);
    }

    /// A nested attribute whose value begins with a fixed header.
    pub(crate) fn nested_after(
        &mut self,
        kind: u16,
        header: &[u8],
        fill: impl FnOnce(&mut Builder),
    ) {
        let mut inner = Builder::with_raw_header(header);
        fill(&mut inner);
        self.problem = self.problem.or(inner.problem);
        self.raw(kind | NESTED, &inner.bytes);
    }

    /// The finished bytes, or what is wrong with them.
    pub(crate) fn finish(self) -> Result<Vec<u8>, &'static str> {
        match self.problem {
            Some(problem) => Err(problem),
            None => Ok(self.bytes),
        }
    }
}

/// The bytes of a typed header, for use inside a nested attribute.
pub(crate) fn header_bytes(header: &impl Emitable) -> Vec<u8> {
    let mut bytes = vec![0; header.buffer_len()];
    header.emit(&mut bytes);
    bytes
}
