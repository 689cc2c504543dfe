//! Bounds-checked reading and writing of big-endian fields and DHCPv6 options.

use std::fmt;
use std::net::Ipv6Addr;

/// A packet that is not what it claims to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(String);

impl Malformed {
    /// A field with a value that it cannot have.
    pub(crate) fn new(field: &str, value: impl fmt::Display) -> Malformed {
        Malformed(format!("invalid {field} {value}"))
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

/// The unread part of a packet or an option.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Everything that has not been read.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let left = self.0.len();
        let (bytes, rest) = self
            .0
            .split_at_checked(count)
            .ok_or_else(|| Malformed(format!("cut off: {left} bytes where {count} are needed")))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn address(&mut self) -> Result<Ipv6Addr, Malformed> {
        self.array::<16>().map(Ipv6Addr::from)
    }

    /// The value of an option that consists of one field.
    pub(crate) fn only<T>(
        mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<T, Malformed> {
        let value = read(&mut self)?;
        match self.is_empty() {
            true => Ok(value),
            false => Err(Malformed(format!("{} bytes too many", self.0.len()))),
        }
    }

    /// The code and body of the next option; `None` at the end.
    pub(crate) fn option(&mut self) -> Result<Option<(u16, Reader<'a>)>, Malformed> {
        if self.is_empty() {
            return Ok(None);
        }
        let code = self.u16()?;
        let length = self.u16()?;
        let body = self.bytes(length.into())?;
        Ok(Some((code, Reader(body))))
    }
}

/// A packet under construction.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// Appends an option whose body `write` appends. Bodies of a client are far below the limit of 64 KiB.
    pub(crate) fn option(&mut self, code: u16, write: impl FnOnce(&mut Writer)) {
        self.u16(code);
        let at = self.0.len();
        self.u16(0);
        write(self);
        let length = u16::try_from(self.0.len() - at - 2).unwrap_or(u16::MAX);
        self.0[at..at + 2].copy_from_slice(&length.to_be_bytes());
    }
}
