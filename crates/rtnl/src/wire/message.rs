//! Framing: netlink messages in a datagram, and acknowledgements.

use netlink_packet_core::{Emitable, NetlinkHeader};

use super::attr::{Attributes, align, u16_at, u32_at};
use super::constants::*;

/// `sizeof(struct nlmsghdr)`.
pub(crate) const HEADER_LEN: usize = 16;

/// One received message.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags` (`NLM_F_*`).
    pub flags: u16,
    /// `nlmsg_seq`: that of the request in an answer, 0 in an event.
    pub sequence: u32,
    /// The payload: the protocol's fixed header, then attributes.
    pub body: &'a [u8],
}

/// The messages of one datagram.
pub struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    /// Iterates over the messages of a received datagram.
    pub fn new(datagram: &'a [u8]) -> Self {
        Messages(datagram)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let len = usize::try_from(u32_at(self.0, 0)?).ok()?;
        let message = Message {
            kind: u16_at(self.0, 4)?,
            flags: u16_at(self.0, 6)?,
            sequence: u32_at(self.0, 8)?,
            body: self.0.get(HEADER_LEN..len)?,
        };
        self.0 = self.0.get(align(len)..).unwrap_or_default();
        Some(message)
    }
}

/// The kernel's final answer to a request or dump.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// 0 for success, else a positive error number.
    pub errno: i32,
    /// Text of the extended acknowledgement; empty if there is none.
    pub text: String,
    /// Offset of the offending attribute from the start of the request's header
    /// (`NLMSGERR_ATTR_OFFS`).
    pub offset: Option<u32>,
}

impl Message<'_> {
    /// Reads an `NLMSG_ERROR` (`struct nlmsgerr`) or `NLMSG_DONE` body; `None`
    /// for another kind of message.
    ///
    /// A body too short to hold the error number reads as success: the kernel
    /// sends an empty `NLMSG_DONE` from some dumps.
    pub fn outcome(&self) -> Option<Outcome> {
        let attributes_at = match self.kind {
            NLMSG_DONE => 4,
            NLMSG_ERROR if self.flags & NLM_F_CAPPED != 0 => 4 + HEADER_LEN,
            // The failed request comes first, header and body.
            NLMSG_ERROR => {
                let request = u32_at(self.body, 4).unwrap_or(0);
                align(4usize.saturating_add(request as usize))
            }
            _ => return None,
        };
        let code = u32_at(self.body, 0).unwrap_or(0).cast_signed();
        let mut outcome = Outcome {
            errno: code.saturating_neg(),
            ..Outcome::default()
        };
        if self.flags & NLM_F_ACK_TLVS != 0 {
            for attribute in Attributes::after(self.body, attributes_at) {
                match attribute.kind {
                    NLMSGERR_ATTR_MSG => outcome.text = attribute.text(),
                    NLMSGERR_ATTR_OFFS => outcome.offset = attribute.u32(),
                    _ => {}
                }
            }
        }
        Some(outcome)
    }
}

/// Appends one request to a datagram.
pub fn write(datagram: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, body: &[u8]) {
    let start = datagram.len();
    let len = HEADER_LEN + body.len();
    let mut header = NetlinkHeader::default();
    // Bodies are built from attributes of at most 64 KiB, far from 4 GiB.
    header.length = u32::try_from(len).unwrap_or(u32::MAX);
    header.message_type = kind;
    header.flags = flags;
    header.sequence_number = sequence;
    datagram.resize(start + HEADER_LEN, 0);
    header.emit(&mut datagram[start..]);
    datagram.extend_from_slice(body);
    datagram.resize(start + align(len), 0);
}
