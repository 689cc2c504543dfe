//! What the DHCPv6 client does with the messages of servers (RFC 8415, sections 18.2.9 and 18.2.10).

use std::net::Ipv6Addr;

use super::dhcp::{DhcpClient, Event, Identity, State};
use super::lease::{self, Lease};
use super::message::{Kind, Message, Status};
use crate::time::Time;

impl DhcpClient {
    /// Handles a datagram of a server. What is malformed or not meant for this client is ignored.
    pub(crate) fn received(&mut self, datagram: &[u8], now: Time) {
        let Some(exchange) = &self.exchange else {
            return;
        };
        let message = match Message::decode(datagram) {
            Ok(message) => message,
            Err(err) => return self.note(format!("ignoring a malformed DHCPv6 message: {err}")),
        };
        // RFC 8415, 16.3 and 16.10: both identifiers must be there. Before the first transmission nothing can be an
        // answer.
        let sent = &exchange.message;
        let is_answer = message.xid == sent.xid
            && message.client == self.identity.duid
            && !message.server.is_empty()
            && (sent.server.is_empty() || sent.server == message.server);
        if !is_answer {
            return;
        }
        if let Some(seconds) = message.sol_max_rt {
            self.sol_max_rt = seconds;
        }
        if let Some(seconds) = message.inf_max_rt {
            self.inf_max_rt = seconds;
        }
        match message.kind {
            Kind::Advertise => self.advertised(message, now),
            _ => self.replied(&message, now),
        }
    }

    fn advertised(&mut self, offer: Message, now: Time) {
        let State::Soliciting { best } = &mut self.state else {
            return;
        };
        if let Some(exchange) = &mut self.exchange {
            exchange.set_max_rt(self.sol_max_rt);
        }
        if Lease::granted(&offer, self.identity.iaid, now).is_none() {
            let note = format!(
                "a server offers no address{}",
                reason(&offer, &self.identity)
            );
            return self.note(note);
        }
        let is_better = best
            .as_ref()
            .is_none_or(|best| offer.preference > best.preference);
        if is_better {
            *best = Some(offer);
        }
        self.choose(now);
    }

    fn replied(&mut self, reply: &Message, now: Time) {
        match self.state {
            State::Releasing | State::Declining => {
                self.exchange = None;
                self.state = State::Idle;
                self.events.push(Event::Done);
            }
            State::Informing => {
                self.exchange = None;
                self.state = State::Idle;
                self.events.push(Event::Informed(reply.clone()));
            }
            // A Reply to a Solicit commits only with this option (RFC 8415, 18.2.10).
            State::Soliciting { .. } if self.rapid_commit && reply.rapid_commit => {
                self.assigned(reply, now);
            }
            State::Requesting | State::Renewing | State::Rebinding => self.assigned(reply, now),
            State::Soliciting { .. } | State::Bound | State::Idle => {}
        }
    }

    /// Handles a Reply about addresses (RFC 8415, 18.2.10.1).
    fn assigned(&mut self, reply: &Message, now: Time) {
        let association = reply.association(self.identity.iaid);
        let status = association
            .and_then(|ia| ia.status.as_ref())
            .filter(|status| status.code != Status::SUCCESS)
            .or(reply.status.as_ref())
            .map_or(Status::SUCCESS, |status| status.code);
        if status != Status::SUCCESS {
            return self.refused(status, reply, now);
        }
        let withdrawn = association.map(lease::withdrawn).unwrap_or_default();
        let Some(mut lease) = Lease::granted(reply, self.identity.iaid, now) else {
            return self.not_extended(&withdrawn, reply, now);
        };
        if let Some(before) = &self.lease {
            lease.keep(before, &withdrawn, now);
        }
        self.exchange = None;
        self.lease = Some(lease.clone());
        self.state = State::Bound;
        self.events.push(Event::Leased(lease));
    }

    fn refused(&mut self, status: u16, reply: &Message, now: Time) {
        let note = format!(
            "the server refuses in state {}{}",
            self.state(),
            reason(reply, &self.identity)
        );
        self.note(note);
        match (status, &self.state) {
            // The server has forgotten the lease: it may still grant it.
            (Status::NO_BINDING, State::Renewing | State::Rebinding) => {
                self.request(&reply.server, now);
            }
            // The addresses do not belong to this link.
            (Status::NOT_ON_LINK, State::Requesting | State::Rebinding | State::Renewing) => {
                self.lose(now);
            }
            (_, State::Requesting) => self.pause(now),
            // Another server may answer; the same message is repeated when it is due.
            _ => {}
        }
    }

    /// Handles a Reply without a usable address.
    fn not_extended(&mut self, withdrawn: &[Ipv6Addr], reply: &Message, now: Time) {
        let is_lost = self.lease.as_ref().is_some_and(|lease| {
            let all = &mut lease.addresses.iter();
            all.all(|address| withdrawn.contains(&address.address))
        });
        if is_lost {
            let note = "the server has withdrawn all addresses".to_owned();
            self.note(note);
            return self.lose(now);
        }
        let note = format!(
            "a Reply in state {} has no usable address{}",
            self.state(),
            reason(reply, &self.identity)
        );
        self.note(note);
        if matches!(self.state, State::Requesting) {
            self.pause(now);
        }
    }

    /// Gives up what is held and begins anew.
    fn lose(&mut self, now: Time) {
        if self.lease.is_some() {
            self.events.push(Event::Expired);
        }
        self.solicit_later(now);
    }

    /// Begins anew after a refused request.
    fn pause(&mut self, now: Time) {
        self.restart(now);
        self.delay();
    }
}

/// Status codes of a message, for the log.
fn reason(message: &Message, identity: &Identity) -> String {
    let association = message.association(identity.iaid);
    let status = association
        .and_then(|ia| ia.status.as_ref())
        .or(message.status.as_ref());
    status.map_or(String::new(), |status| format!(": {status}"))
}
