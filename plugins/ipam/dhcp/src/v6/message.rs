//! DHCPv6 messages as a client sends and receives them (RFC 8415, sections 8 and 21).

use std::net::Ipv6Addr;

use super::wire::{Malformed, Reader, Writer};
use crate::domain;

/// Types of messages (RFC 8415, 7.3) between a client and a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Solicit = 1,
    Advertise = 2,
    Request = 3,
    Renew = 5,
    Rebind = 6,
    Reply = 7,
    Release = 8,
    Decline = 9,
    InformationRequest = 11,
}

/// Codes of options (RFC 8415, 21; RFC 3646).
mod code {
    pub(super) const CLIENT_ID: u16 = 1;
    pub(super) const SERVER_ID: u16 = 2;
    pub(super) const IA_NA: u16 = 3;
    pub(super) const IA_ADDRESS: u16 = 5;
    pub(super) const OPTION_REQUEST: u16 = 6;
    pub(super) const PREFERENCE: u16 = 7;
    pub(super) const ELAPSED_TIME: u16 = 8;
    pub(super) const STATUS_CODE: u16 = 13;
    pub(super) const RAPID_COMMIT: u16 = 14;
    pub(super) const DNS_SERVERS: u16 = 23;
    pub(super) const DOMAIN_LIST: u16 = 24;
    pub(super) const SOL_MAX_RT: u16 = 82;
    pub(super) const INF_MAX_RT: u16 = 83;
}

/// Asked for in every message: DNS servers, search list, `SOL_MAX_RT`, which RFC 8415 requires, and `INF_MAX_RT`, which
/// it requires of an Information-request.
const REQUESTED: [u16; 4] = [
    code::DNS_SERVERS,
    code::DOMAIN_LIST,
    code::SOL_MAX_RT,
    code::INF_MAX_RT,
];

/// The range that `SOL_MAX_RT` and `INF_MAX_RT` must be in (RFC 8415, 21.24); values outside are ignored.
const MAX_RT_RANGE: std::ops::RangeInclusive<u32> = 60..=86_400;

/// The largest identifier: two bytes of type and 128 of value (RFC 8415, 11.1).
const LONGEST_DUID: usize = 130;

/// A status code (RFC 8415, 21.13) and the server's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) code: u16,
    pub(crate) text: String,
}

impl Status {
    pub(crate) const SUCCESS: u16 = 0;
    pub(crate) const NO_BINDING: u16 = 3;
    pub(crate) const NOT_ON_LINK: u16 = 4;
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.code {
            0 => "Success",
            1 => "UnspecFail",
            2 => "NoAddrsAvail",
            3 => "NoBinding",
            4 => "NotOnLink",
            5 => "UseMulticast",
            _ => "unknown status",
        };
        write!(f, "{name} ({})", self.code)?;
        if !self.text.is_empty() {
            write!(f, ": {:?}", self.text)?;
        }
        Ok(())
    }
}

/// An address of an identity association. Lifetimes are in seconds; `u32::MAX` means infinity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IaAddress {
    pub(crate) address: Ipv6Addr,
    pub(crate) preferred: u32,
    pub(crate) valid: u32,
    pub(crate) status: Option<Status>,
}

/// An identity association for non-temporary addresses. T1 and T2 are in seconds; 0 leaves the choice to the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IaNa {
    pub(crate) iaid: u32,
    pub(crate) t1: u32,
    pub(crate) t2: u32,
    pub(crate) addresses: Vec<IaAddress>,
    pub(crate) status: Option<Status>,
}

/// A message and those of its options that a client uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    /// The transaction ID, 24 bits.
    pub(crate) xid: u32,
    pub(crate) client: Vec<u8>,
    pub(crate) server: Vec<u8>,
    pub(crate) associations: Vec<IaNa>,
    /// Hundredths of a second since the exchange began; only sent.
    pub(crate) elapsed: u16,
    /// Received; 0 if missing (RFC 8415, 18.2.1).
    pub(crate) preference: u8,
    pub(crate) rapid_commit: bool,
    pub(crate) status: Option<Status>,
    pub(crate) dns: Vec<Ipv6Addr>,
    pub(crate) search: Vec<String>,
    pub(crate) sol_max_rt: Option<u32>,
    pub(crate) inf_max_rt: Option<u32>,
}

impl Message {
    /// A message without options.
    pub(crate) fn new(kind: Kind, xid: u32) -> Message {
        Message {
            kind,
            xid,
            client: Vec::new(),
            server: Vec::new(),
            associations: Vec::new(),
            elapsed: 0,
            preference: 0,
            rapid_commit: false,
            status: None,
            dns: Vec::new(),
            search: Vec::new(),
            sol_max_rt: None,
            inf_max_rt: None,
        }
    }

    /// Encodes a message of a client.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        to.u32(u32::from(self.kind as u8) << 24 | self.xid & 0x00ff_ffff);
        to.option(code::CLIENT_ID, |to| to.bytes(&self.client));
        if !self.server.is_empty() {
            to.option(code::SERVER_ID, |to| to.bytes(&self.server));
        }
        to.option(code::ELAPSED_TIME, |to| to.u16(self.elapsed));
        for association in &self.associations {
            to.option(code::IA_NA, |to| association.encode(to));
        }
        if self.rapid_commit {
            to.option(code::RAPID_COMMIT, |_| {});
        }
        // Neither Release nor Decline asks for options (RFC 8415, 18.2.7 and 18.2.8).
        if !matches!(self.kind, Kind::Release | Kind::Decline) {
            to.option(code::OPTION_REQUEST, |to| {
                REQUESTED.iter().for_each(|code| to.u16(*code));
            });
        }
        to.into_bytes()
    }

    /// Decodes a message of a server: Advertise or Reply. Unknown options are ignored, and of an option that may occur
    /// once the first one counts.
    ///
    /// # Errors
    ///
    /// When it is cut off, has another type, or an option has a wrong length.
    pub(crate) fn decode(datagram: &[u8]) -> Result<Message, Malformed> {
        let mut from = Reader::new(datagram);
        let head = from.u32()?;
        let kind = match head >> 24 {
            2 => Kind::Advertise,
            7 => Kind::Reply,
            other => return Err(Malformed::new("message type", other)),
        };
        let mut message = Message::new(kind, head & 0x00ff_ffff);
        let mut has_preference = false;
        while let Some((code, body)) = from.option()? {
            match code {
                code::CLIENT_ID => identifier(&mut message.client, body)?,
                code::SERVER_ID => identifier(&mut message.server, body)?,
                code::IA_NA => message.associations.push(IaNa::decode(body)?),
                code::PREFERENCE if !has_preference => {
                    message.preference = body.only(Reader::u8)?;
                    has_preference = true;
                }
                code::RAPID_COMMIT => message.rapid_commit = true,
                code::STATUS_CODE => status(&mut message.status, body)?,
                code::DNS_SERVERS => message.dns.extend(addresses(body)?),
                code::DOMAIN_LIST => message.search.extend(domain::list(body.rest())),
                code::SOL_MAX_RT => message.sol_max_rt = max_rt(body)?,
                code::INF_MAX_RT => message.inf_max_rt = max_rt(body)?,
                _ => {}
            }
        }
        Ok(message)
    }

    /// The association of `iaid`, if the message has it.
    pub(crate) fn association(&self, iaid: u32) -> Option<&IaNa> {
        self.associations.iter().find(|ia| ia.iaid == iaid)
    }
}

impl IaNa {
    fn encode(&self, to: &mut Writer) {
        to.u32(self.iaid);
        to.u32(self.t1);
        to.u32(self.t2);
        for address in &self.addresses {
            to.option(code::IA_ADDRESS, |to| {
                to.bytes(&address.address.octets());
                to.u32(address.preferred);
                to.u32(address.valid);
            });
        }
    }

    fn decode(mut from: Reader<'_>) -> Result<IaNa, Malformed> {
        let mut association = IaNa {
            iaid: from.u32()?,
            t1: from.u32()?,
            t2: from.u32()?,
            ..IaNa::default()
        };
        while let Some((code, body)) = from.option()? {
            match code {
                code::IA_ADDRESS => association.addresses.push(IaAddress::decode(body)?),
                code::STATUS_CODE => status(&mut association.status, body)?,
                _ => {}
            }
        }
        Ok(association)
    }
}

impl IaAddress {
    fn decode(mut from: Reader<'_>) -> Result<IaAddress, Malformed> {
        let mut address = IaAddress {
            address: from.address()?,
            preferred: from.u32()?,
            valid: from.u32()?,
            status: None,
        };
        while let Some((code, body)) = from.option()? {
            if code == code::STATUS_CODE {
                status(&mut address.status, body)?;
            }
        }
        Ok(address)
    }
}

fn identifier(into: &mut Vec<u8>, from: Reader<'_>) -> Result<(), Malformed> {
    let duid = from.rest();
    if duid.len() < 3 || duid.len() > LONGEST_DUID {
        return Err(Malformed::new("DUID length", duid.len()));
    }
    if into.is_empty() {
        into.extend_from_slice(duid);
    }
    Ok(())
}

fn status(into: &mut Option<Status>, mut from: Reader<'_>) -> Result<(), Malformed> {
    let code = from.u16()?;
    let text = String::from_utf8_lossy(from.rest()).into_owned();
    into.get_or_insert(Status { code, text });
    Ok(())
}

fn addresses(mut from: Reader<'_>) -> Result<Vec<Ipv6Addr>, Malformed> {
    let mut list = Vec::new();
    while !from.is_empty() {
        list.push(from.address()?);
    }
    Ok(list)
}

fn max_rt(from: Reader<'_>) -> Result<Option<u32>, Malformed> {
    let seconds = from.only(Reader::u32)?;
    Ok(Some(seconds).filter(|seconds| MAX_RT_RANGE.contains(seconds)))
}
