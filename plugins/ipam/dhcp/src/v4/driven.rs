//! The client as the event loop drives it.

use super::client::{State, V4Client, WITHOUT_ADDRESS};
use super::message::Kind;
use super::{Lease, arp};
use crate::client::{Client, Destination, Mac, Output, Progress, SocketKind, Status};
use crate::random;
use crate::time::Time;
use cni_core::AddResult;

impl Client for V4Client {
    fn received(&mut self, now: Time, datagram: &[u8], mac: Option<Mac>) {
        match (self.state, &self.lease) {
            (State::Probing, Some(lease)) => {
                if arp::is_conflict(datagram, self.settings.mac, lease.address) {
                    self.decline(now);
                }
            }
            _ => self.message_received(now, datagram, mac),
        }
    }

    fn tick(&mut self, now: Time) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            // Upstream's text, which programs match.
            return self.fail("no more tries");
        }
        if self.wake.is_none_or(|wake| now < wake) {
            return;
        }
        match self.state {
            State::Waiting | State::Selecting => self.discover_again(now),
            State::Requesting(address, server) => self.request_again(address, server, now),
            State::Rebooting => self.reboot_again(now),
            State::Probing => self.probe(now),
            State::Bound | State::Renewing | State::Rebinding => self.extend(now),
            State::Ipv6Only => self.begin(State::Waiting, now),
            State::Failed => self.wake = None,
        }
    }

    fn wake(&self) -> Option<Time> {
        match (self.wake, self.deadline) {
            (Some(wake), Some(deadline)) => Some(wake.min(deadline)),
            (wake, deadline) => wake.or(deadline),
        }
        .filter(|_| self.state != State::Failed)
    }

    fn socket(&self) -> Option<SocketKind> {
        let address = self.lease.as_ref().map(|lease| lease.address);
        match self.state {
            State::Selecting | State::Requesting(..) => Some(WITHOUT_ADDRESS),
            State::Rebooting => (self.sent > 0).then_some(WITHOUT_ADDRESS),
            State::Probing => Some(SocketKind::Arp),
            State::Renewing | State::Rebinding => {
                address.filter(|_| self.is_listening).map(SocketKind::Udp)
            }
            State::Waiting | State::Bound | State::Ipv6Only | State::Failed => None,
        }
    }

    fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    fn release(&mut self, _: Time) {
        self.state = State::Failed;
        let Some(lease) = self.lease.clone() else {
            return;
        };
        self.xid = random::u32();
        let message = self.give_back(Kind::Release, lease.address, lease.server);
        let to = match lease.via {
            Some(mac) => Destination::V4Via(lease.server, mac),
            None => Destination::V4(lease.server),
        };
        self.send(&message, to, SocketKind::Packet(lease.address));
    }

    fn progress(&self) -> Progress {
        match self.state {
            State::Failed => Progress::Failed(self.failure.clone()),
            _ if self.is_attached => Progress::Bound,
            _ => Progress::Acquiring,
        }
    }

    fn add_to(&self, result: &mut AddResult) {
        if let Some(lease) = &self.lease {
            lease.add_to(&self.config, result);
        }
    }

    fn record(&self) -> Option<serde_json::Value> {
        serde_json::to_value(self.lease.as_ref()?).ok()
    }

    fn status(&self, now: Time) -> Status {
        let times = self.lease.as_ref().and_then(|lease| lease.times);
        Status {
            state: match self.state {
                State::Waiting => "waiting",
                State::Selecting => "selecting",
                State::Requesting(..) => "requesting",
                State::Rebooting => "rebooting",
                State::Probing => "probing",
                State::Bound => "bound",
                State::Renewing => "renewing",
                State::Rebinding => "rebinding",
                State::Ipv6Only => "ipv6-only",
                State::Failed => "failed",
            },
            address: self.lease.as_ref().map(Lease::cidr),
            server: self.lease.as_ref().map(|lease| lease.server.into()),
            expires_in: times.map(|times| times.expiry - now),
            renews_in: times.map(|times| times.renew - now),
        }
    }
}
