//! Neighbour table entries (`RTM_*NEIGH`, neighbour.h).

use std::net::IpAddr;

use netlink_packet_route::neighbour::NeighbourHeader;

use crate::address::Family;
use crate::errno;
use crate::error::Error;
use crate::handle::Handle;
use crate::request::Request;
use crate::wire::attr::{u16_at, u32_at};
use crate::wire::*;

/// `NUD_PERMANENT`: configured, never probed.
pub const NUD_PERMANENT: u16 = 0x80;

/// An entry of the neighbour table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Index of the link.
    pub index: u32,
    /// IP address of the neighbour.
    pub addr: IpAddr,
    /// Its hardware address; empty if not known.
    pub mac: Vec<u8>,
    /// `NUD_*` state.
    pub state: u16,
}

impl Neighbour {
    /// Reads the body of an `RTM_NEWNEIGH`: `struct ndmsg` and attributes.
    pub(crate) fn decode(body: &[u8]) -> Option<Neighbour> {
        let mut addr = None;
        let mut mac = Vec::new();
        for attribute in Attributes::after(body, NDMSG_LEN) {
            match attribute.kind {
                NDA_DST => addr = attribute.ip(),
                NDA_LLADDR => mac = attribute.value.to_vec(),
                _ => {}
            }
        }
        Some(Neighbour {
            index: u32_at(body, 4)?,
            addr: addr?,
            mac,
            state: u16_at(body, 8)?,
        })
    }
}

impl<'fd> Request<'fd> {
    /// Adds a permanent neighbour or makes an existing one permanent (`RTM_NEWNEIGH`,
    /// CREATE and REPLACE).
    ///
    /// Errors: `ENODEV` if the link does not exist.
    #[must_use]
    pub fn set_neighbour(index: u32, addr: IpAddr, mac: &[u8]) -> Request<'fd> {
        let mut body = neighbour_body(index, addr, NUD_PERMANENT);
        body.raw(NDA_LLADDR, mac);
        let what = format!("set neighbour {addr} of link {index}");
        Request::new(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body, what)
    }
}

fn neighbour_body(index: u32, addr: IpAddr, state: u16) -> Builder {
    let mut body = Builder::new(&NeighbourHeader {
        family: Family::of(addr).header(),
        ifindex: index,
        state: state.into(),
        ..NeighbourHeader::default()
    });
    body.ip(NDA_DST, addr);
    body
}

impl Handle {
    /// The neighbours on the link `index`, of one family or of both.
    ///
    /// # Errors
    /// As [`Handle::addresses`].
    pub fn neighbours(&self, index: u32, family: Option<Family>) -> Result<Vec<Neighbour>, Error> {
        let mut header = NeighbourHeader::default();
        if let Some(family) = family {
            header.family = family.header();
        }
        let mut body = Builder::new(&header);
        body.u32(NDA_IFINDEX, index);
        let what = format!("list neighbours of link {index}");
        let body = body
            .finish()
            .map_err(|problem| Error::invalid(problem.to_owned(), &what))?;
        let list = self
            .connection()
            .dump(RTM_GETNEIGH, &body, &what, |message, list| {
                if message.kind != RTM_NEWNEIGH {
                    return;
                }
                let Some(neighbour) = Neighbour::decode(message.body) else {
                    return;
                };
                let of_family = family.is_none_or(|family| family == Family::of(neighbour.addr));
                if neighbour.index == index && of_family {
                    list.push(neighbour);
                }
            });
        match list {
            Err(error) if error.errno() == Some(errno::ENODEV) => Ok(Vec::new()),
            list => list,
        }
    }
}
