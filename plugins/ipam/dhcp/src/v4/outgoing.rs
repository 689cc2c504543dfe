//! Messages of the client, with the fields and options that RFC 2131, table 5, prescribes.

use super::client::V4Client;
use super::message::{BOOTREQUEST, BROADCAST, Kind, Message};
use super::options::{self, Options};
use super::{Lease, message};
use std::net::Ipv4Addr;

/// Largest message that the client accepts, option 57, as in upstream.
const MAX_SIZE: u16 = 1500;

/// The situation in which a REQUEST is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    /// In answer to an offer of an address by a server.
    Selecting(Ipv4Addr, Ipv4Addr),
    /// After a restart (INIT-REBOOT).
    Rebooting(&'a Lease),
    /// To extend the lease, by unicast or broadcast.
    Extending(&'a Lease),
}

impl V4Client {
    pub(super) fn discover(&self, secs: u16) -> Message {
        let mut message = self.message(Kind::Discover, secs);
        message.flags = self.broadcast_flag();
        self.add_parameters(&mut message.options);
        message
    }

    pub(super) fn request(&self, request: Request<'_>, secs: u16) -> Message {
        let mut message = self.message(Kind::Request, secs);
        self.add_parameters(&mut message.options);
        let mut ask_for = |address: Ipv4Addr| {
            message
                .options
                .set(options::REQUESTED_ADDRESS, address.octets());
        };
        match request {
            Request::Selecting(address, server) => {
                ask_for(address);
                message.options.set(options::SERVER_ID, server.octets());
            }
            Request::Rebooting(lease) => ask_for(lease.address),
            Request::Extending(lease) => {
                // Neither option 50 nor 54: servers take the message for one in answer to
                // an offer otherwise, and the one of systemd-networkd ignores it.
                message.ciaddr = lease.address;
                return message;
            }
        }
        message.flags = self.broadcast_flag();
        message
    }

    /// RELEASE, or DECLINE of an address that is in use.
    pub(super) fn give_back(&self, kind: Kind, address: Ipv4Addr, server: Ipv4Addr) -> Message {
        let mut message = self.message(kind, 0);
        message.options.set(options::SERVER_ID, server.octets());
        match kind {
            Kind::Decline => message
                .options
                .set(options::REQUESTED_ADDRESS, address.octets()),
            _ => message.ciaddr = address,
        }
        message
    }

    fn message(&self, kind: Kind, secs: u16) -> Message {
        let mut chaddr = [0; 16];
        // Without an Ethernet address the server answers by broadcast, and option 61 alone
        // tells clients apart (as RFC 4390, section 2.1, has it for InfiniBand).
        let mut hlen = 0;
        if let Some(mac) = self.settings.mac {
            chaddr[..6].copy_from_slice(&mac);
            hlen = 6;
        }
        let mut options = Options::default();
        options.set(options::MESSAGE_TYPE, [kind as u8]);
        options.set(options::CLIENT_ID, self.settings.client_id.as_slice());
        Message {
            op: BOOTREQUEST,
            htype: self.settings.hardware_type,
            hlen,
            xid: self.xid,
            secs,
            flags: 0,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            chaddr,
            options,
        }
    }

    /// Adds the parameter request list, the greatest message size, and what the
    /// configuration provides, which wins over everything else but the kind of message.
    fn add_parameters(&self, options: &mut Options) {
        options.set(options::MAX_SIZE, MAX_SIZE.to_be_bytes());
        options.set(
            options::PARAMETER_LIST,
            self.config.parameter_list.as_slice(),
        );
        for (code, value) in &self.config.provided {
            if ![
                options::MESSAGE_TYPE,
                options::SERVER_ID,
                options::REQUESTED_ADDRESS,
            ]
            .contains(code)
            {
                options.set(*code, value.as_slice());
            }
        }
    }

    fn broadcast_flag(&self) -> u16 {
        let needed = self.settings.broadcast || self.settings.mac.is_none();
        if needed { BROADCAST } else { 0 }
    }

    /// Returns whether a message is an answer to this client's.
    pub(super) fn is_answer(&self, reply: &Message) -> bool {
        let is_own_address = self.settings.mac.is_none_or(|mac| reply.chaddr[..6] == mac);
        // RFC 6842: servers return the identifier; older ones leave it out.
        let id = reply.options.get(options::CLIENT_ID);
        let is_own_id = id.is_none_or(|id| id == self.settings.client_id);
        reply.op == message::BOOTREPLY && reply.xid == self.xid && is_own_address && is_own_id
    }
}
