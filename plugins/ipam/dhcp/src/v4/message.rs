//! The DHCPv4 message (RFC 2131, section 2).

use super::options::{self, Options};
use std::net::Ipv4Addr;

/// `op`: message of a client.
pub(crate) const BOOTREQUEST: u8 = 1;
/// `op`: message of a server.
pub(crate) const BOOTREPLY: u8 = 2;
/// The broadcast bit of `flags`.
pub(crate) const BROADCAST: u16 = 0x8000;

/// Length of the fixed fields in bytes, before the magic cookie.
const FIXED: usize = 236;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Offsets of the fields `sname` and `file`, which may contain options.
const SNAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..236;
/// Shortest message that is sent, in bytes: BOOTP relays drop shorter ones (RFC 1542,
/// section 2.1).
const SHORTEST: usize = 300;

/// The type of a message, option 53.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Decline = 4,
    Ack = 5,
    Nak = 6,
    Release = 7,
}

impl Kind {
    fn from_number(number: u8) -> Option<Kind> {
        Some(match number {
            1 => Kind::Discover,
            2 => Kind::Offer,
            3 => Kind::Request,
            4 => Kind::Decline,
            5 => Kind::Ack,
            6 => Kind::Nak,
            7 => Kind::Release,
            _ => return None,
        })
    }
}

/// A message. The fields have the names of the RFC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) op: u8,
    pub(crate) htype: u8,
    pub(crate) hlen: u8,
    pub(crate) xid: u32,
    pub(crate) secs: u16,
    pub(crate) flags: u16,
    pub(crate) ciaddr: Ipv4Addr,
    pub(crate) yiaddr: Ipv4Addr,
    pub(crate) chaddr: [u8; 16],
    pub(crate) options: Options,
}

impl Message {
    /// Reads a message, with the options in `file` and `sname` if option 52 says so.
    ///
    /// # Errors
    /// The reason why it is malformed.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Message, &'static str> {
        let (fixed, rest) = bytes
            .split_at_checked(FIXED)
            .ok_or("shorter than 236 bytes")?;
        let area = rest
            .strip_prefix(&COOKIE)
            .ok_or("no options: the magic cookie is missing")?;
        let mut options = Options::default();
        options.read(area)?;
        // RFC 3396, section 5: options, then file, then sname are one aggregate.
        let overload = options.byte(options::OVERLOAD).unwrap_or(0);
        if overload & 1 != 0 {
            options.read(&fixed[FILE])?;
        }
        if overload & 2 != 0 {
            options.read(&fixed[SNAME])?;
        }
        let u16_at = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let four_at = |at: usize| [fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]];
        let mut chaddr = [0; 16];
        chaddr.copy_from_slice(&fixed[28..44]);
        Ok(Message {
            op: fixed[0],
            htype: fixed[1],
            hlen: fixed[2],
            xid: u32::from_be_bytes(four_at(4)),
            secs: u16_at(8),
            flags: u16_at(10),
            ciaddr: four_at(12).into(),
            yiaddr: four_at(16).into(),
            chaddr,
            options,
        })
    }

    /// Returns the message as it is sent. `hops`, `siaddr`, `giaddr`, `sname` and `file`
    /// are zero, as a client sends them.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SHORTEST);
        bytes.extend([self.op, self.htype, self.hlen, 0]);
        bytes.extend(self.xid.to_be_bytes());
        bytes.extend(self.secs.to_be_bytes());
        bytes.extend(self.flags.to_be_bytes());
        bytes.extend(self.ciaddr.octets());
        bytes.extend(self.yiaddr.octets());
        bytes.extend([0; 8]);
        bytes.extend(self.chaddr);
        bytes.resize(FIXED, 0);
        bytes.extend(COOKIE);
        self.options.write(&mut bytes);
        if bytes.len() < SHORTEST {
            bytes.resize(SHORTEST, 0);
        }
        bytes
    }

    /// Returns the type of the message.
    pub(crate) fn kind(&self) -> Option<Kind> {
        self.options
            .byte(options::MESSAGE_TYPE)
            .and_then(Kind::from_number)
    }
}
