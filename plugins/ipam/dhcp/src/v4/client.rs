//! The state machine of a DHCPv4 client (RFC 2131, section 4.4).
//!
//! ```text
//!            DISCOVER          OFFER, REQUEST           ACK           (probe)
//!  selecting ────────► ... ────────────────► requesting ───► probing ────────► bound
//!      ▲                                         │ NAK          │ conflict      │ T1
//!      └──────────── waiting ◄───────────────────┴──────────────┘               ▼
//!      ▲                ▲                                                    renewing
//!      │ NAK            │ end of the lease                                      │ T2
//!  rebooting            └──────────────────── rebinding ◄───────────────────────┘
//! ```

use super::lease::Lease;
use super::message::{Kind, Message};
use super::outgoing::Request;
use super::{arp, options};
use crate::client::{Datagram, Destination, Mac, Output, SocketKind};
use crate::config::Config;
use crate::random;
use crate::time::Time;
use std::net::Ipv4Addr;
use std::time::Duration;

/// First wait for an answer (RFC 2131, section 4.1), unless `-timeout` is shorter.
const FIRST_WAIT: Duration = Duration::from_secs(4);
/// Shortest wait between two renewals (RFC 2131, section 4.4.5).
const RENEWAL_FLOOR: Duration = Duration::from_secs(60);
/// How long the answer to a renewal is awaited. The next one may be hours away, and the
/// number of open sockets is bounded.
const LISTEN: Duration = Duration::from_secs(10);
/// Wait after a DECLINE (RFC 2131, section 3.1, 5).
const AFTER_DECLINE: Duration = Duration::from_secs(10);
/// How often a REQUEST is sent before the client begins anew.
const REQUESTS: u32 = 4;
/// Shortest wait without IPv4 that a server can ask for (`MIN_V6ONLY_WAIT`, RFC 8925).
const IPV6_ONLY_FLOOR: Duration = Duration::from_secs(300);

const EVERYONE: Destination = Destination::V4(Ipv4Addr::BROADCAST);
pub(super) const WITHOUT_ADDRESS: SocketKind = SocketKind::Packet(Ipv4Addr::UNSPECIFIED);

/// What a client knows of its interface.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The hardware type, `ARPHRD_*` of linux/if_arp.h.
    pub(crate) hardware_type: u8,
    /// The hardware address, if it is an Ethernet address.
    pub(crate) mac: Option<Mac>,
    /// The value of option 61.
    pub(crate) client_id: Vec<u8>,
    /// Whether servers are asked to answer by broadcast.
    pub(crate) broadcast: bool,
    /// Waits for answers.
    pub(crate) timing: Timing,
}

/// Waits for answers, the flags of the daemon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// Longest first wait.
    pub(crate) timeout: Duration,
    /// Longest wait.
    pub(crate) resend_max: Duration,
    /// Longest time for a lease.
    pub(crate) resend_timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Waits before it begins (anew).
    Waiting,
    Selecting,
    Requesting(Ipv4Addr, Ipv4Addr),
    Rebooting,
    Probing,
    Bound,
    Renewing,
    Rebinding,
    /// The server wants the network to be IPv6 only (RFC 8925).
    Ipv6Only,
    Failed,
}

/// The client.
pub(crate) struct V4Client {
    pub(super) config: Config,
    pub(super) settings: Settings,
    pub(super) state: State,
    pub(super) xid: u32,
    /// When the exchange began, for the field `secs`.
    started: Time,
    pub(super) wake: Option<Time>,
    /// Messages sent in this state.
    pub(super) sent: u32,
    /// When a renewal is sent again, and whether an answer to it is still awaited.
    resend: Time,
    pub(super) is_listening: bool,
    /// Exchanges that failed in a row.
    failures: u32,
    /// Until when there must be a lease.
    pub(super) deadline: Option<Time>,
    pub(super) lease: Option<Lease>,
    /// Whether the interface has been configured with a lease before.
    pub(super) is_attached: bool,
    pub(super) failure: String,
    pub(super) outputs: Vec<Output>,
}

impl V4Client {
    /// Returns a client that begins at `now`, and fails after `-resendtimeout`.
    pub(crate) fn new(config: Config, settings: Settings, now: Time) -> V4Client {
        let deadline = Some(now + settings.timing.resend_timeout);
        V4Client {
            config,
            settings,
            state: State::Waiting,
            xid: 0,
            started: now,
            wake: Some(now),
            sent: 0,
            resend: now,
            is_listening: false,
            failures: 0,
            deadline,
            lease: None,
            is_attached: false,
            failure: String::new(),
            outputs: Vec::new(),
        }
    }

    /// Returns the client of a recorded attachment. It asks the server at `start` whether it
    /// still holds (INIT-REBOOT).
    pub(crate) fn resumed(
        config: Config,
        settings: Settings,
        lease: Option<Lease>,
        start: Time,
    ) -> V4Client {
        let mut client = V4Client::new(config, settings, start);
        client.deadline = None;
        client.is_attached = true;
        if lease.is_some() {
            client.lease = lease;
            client.state = State::Rebooting;
            client.renumber(start);
        }
        client
    }

    fn renumber(&mut self, now: Time) {
        self.xid = random::u32();
        self.started = now;
        self.sent = 0;
    }

    /// Enters a state at `now`, with a transaction of its own.
    pub(super) fn begin(&mut self, state: State, now: Time) {
        self.state = state;
        self.renumber(now);
        self.wake = Some(now);
    }

    /// Begins anew, after a wait that grows with each failure in a row.
    fn begin_anew(&mut self, now: Time) {
        let wait = match self.failures {
            0 => Duration::ZERO,
            failures => self.wait(failures - 1),
        };
        self.failures = self.failures.saturating_add(1);
        self.begin(State::Waiting, now);
        self.wake = Some(now + wait);
    }

    pub(super) fn fail(&mut self, why: impl Into<String>) {
        self.state = State::Failed;
        self.failure = why.into();
        self.wake = None;
    }

    fn note(&mut self, text: String) {
        self.outputs.push(Output::Note(text));
    }

    fn secs(&self, now: Time) -> u16 {
        u16::try_from((now - self.started).as_secs()).unwrap_or(u16::MAX)
    }

    /// The wait after the message number `sent`, from 0: doubled each time up to
    /// `-resendmax`, and spread by a second, or a quarter of a shorter wait.
    fn wait(&self, sent: u32) -> Duration {
        let timing = &self.settings.timing;
        let doubled = timing
            .timeout
            .min(FIRST_WAIT)
            .saturating_mul(1 << sent.min(16));
        let wait = doubled.min(timing.resend_max);
        random::jittered(wait, (wait / 4).min(Duration::from_secs(1)))
    }

    pub(super) fn send(&mut self, message: &Message, to: Destination, by: SocketKind) {
        let payload = message.encode();
        self.outputs
            .push(Output::Send(Datagram { payload, to, by }));
        self.sent += 1;
    }

    /// Sends a message of a client that has no address yet.
    fn broadcast(&mut self, message: &Message) {
        self.send(message, EVERYONE, WITHOUT_ADDRESS);
    }

    /// Gives up an address that the interface has.
    fn lose(&mut self) {
        if let Some(lease) = self.lease.take()
            && self.is_attached
        {
            self.outputs.push(Output::Remove(lease.cidr()));
            self.outputs.push(Output::Save);
        }
    }

    pub(super) fn discover_again(&mut self, now: Time) {
        if self.state == State::Waiting {
            self.begin(State::Selecting, now);
        }
        let message = self.discover(self.secs(now));
        self.broadcast(&message);
        self.wake = Some(now + self.wait(self.sent - 1));
    }

    pub(super) fn request_again(&mut self, address: Ipv4Addr, server: Ipv4Addr, now: Time) {
        if self.sent >= REQUESTS {
            return self.begin_anew(now);
        }
        let message = self.request(Request::Selecting(address, server), self.secs(now));
        self.broadcast(&message);
        self.wake = Some(now + self.wait(self.sent - 1));
    }

    pub(super) fn reboot_again(&mut self, now: Time) {
        let Some(lease) = self.lease.clone().filter(|lease| !lease.has_expired(now)) else {
            self.lose();
            return self.begin_anew(now);
        };
        if self.sent >= REQUESTS {
            // RFC 2131, section 3.2, 3: without an answer the lease may be used to its end.
            return self.be_bound();
        }
        let message = self.request(Request::Rebooting(&lease), self.secs(now));
        self.broadcast(&message);
        self.wake = Some(now + self.wait(self.sent - 1));
    }

    /// Renews or rebinds the lease, which is due at `now`.
    pub(super) fn extend(&mut self, now: Time) {
        if self.is_listening && now < self.resend {
            self.is_listening = false;
            self.wake = Some(self.resend);
            return;
        }
        let Some((lease, times)) = self.lease.clone().and_then(|lease| {
            let times = lease.times?;
            Some((lease, times))
        }) else {
            return self.be_bound();
        };
        if lease.has_expired(now) {
            self.note(format!(
                "the lease of {} has ended without an answer of a server",
                lease.address
            ));
            self.lose();
            self.failures = 0;
            return self.begin_anew(now);
        }
        let (state, until) = match now < times.rebind {
            true => (State::Renewing, times.rebind),
            false => (State::Rebinding, times.expiry),
        };
        if self.state != state {
            self.begin(state, now);
        }
        let message = self.request(Request::Extending(&lease), self.secs(now));
        let by = SocketKind::Udp(lease.address);
        match state {
            State::Renewing => self.send(&message, Destination::V4(lease.server), by),
            _ => self.send(&message, EVERYONE, by),
        }
        let wait = ((until - now) / 2).max(RENEWAL_FLOOR);
        self.resend = (now + wait).min(until);
        self.is_listening = true;
        self.wake = Some((now + LISTEN).min(self.resend));
    }

    fn be_bound(&mut self) {
        self.state = State::Bound;
        self.deadline = None;
        self.failures = 0;
        self.sent = 0;
        self.is_listening = false;
        self.wake = self
            .lease
            .as_ref()
            .and_then(|lease| Some(lease.times?.renew));
    }

    fn offered(&mut self, reply: &Message, now: Time) {
        let Some(server) = reply.options.u32(options::SERVER_ID).map(Ipv4Addr::from) else {
            return log::debug!("offer of {} without a server identifier", reply.yiaddr);
        };
        if self.config.requests(options::IPV6_ONLY)
            && let Some(seconds) = reply.options.u32(options::IPV6_ONLY)
        {
            let wait = Duration::from_secs(seconds.into()).max(IPV6_ONLY_FLOOR);
            self.begin(State::Ipv6Only, now);
            self.deadline = None;
            self.is_attached = true;
            self.wake = Some(now + wait);
            return;
        }
        if !is_host(reply.yiaddr) {
            return log::debug!("offer of {}, which is not a host's address", reply.yiaddr);
        }
        // The transaction and `secs` stay those of the DISCOVER (section 4.4.1).
        self.state = State::Requesting(reply.yiaddr, server);
        self.sent = 0;
        self.request_again(reply.yiaddr, server, now);
    }

    fn acknowledged(&mut self, reply: &Message, mac: Option<Mac>, now: Time) {
        let named = reply.options.u32(options::SERVER_ID).map(Ipv4Addr::from);
        let before = self.lease.clone();
        let server = match (self.state, named, &before) {
            (State::Requesting(_, server), Some(named), _) if named != server => return,
            (_, Some(named), _) => named,
            (State::Requesting(_, server), None, _) => server,
            (_, None, Some(before)) => before.server,
            (_, None, None) => return,
        };
        if !is_host(reply.yiaddr) {
            return log::debug!(
                "acknowledgement of {}, which is not a host's address",
                reply.yiaddr
            );
        }
        let lease = match Lease::granted(reply, server, mac, before.as_ref(), now) {
            Ok(lease) => lease,
            Err(why) if self.is_attached => return self.note(why),
            Err(why) => {
                let message = self.give_back(Kind::Release, reply.yiaddr, server);
                self.broadcast(&message);
                return self.fail(why);
            }
        };
        self.lease = Some(lease);
        if self.config.probe.is_some() && matches!(self.state, State::Requesting(..)) {
            return self.begin(State::Probing, now);
        }
        self.accept(before.as_ref(), now);
    }

    /// Uses the lease: for the interface's first one, the interface plugin configures the
    /// address; later ones the daemon.
    fn accept(&mut self, before: Option<&Lease>, now: Time) {
        let Some(lease) = &self.lease else {
            return self.begin_anew(now);
        };
        if self.is_attached {
            if let Some(before) = before.filter(|before| before.cidr() != lease.cidr()) {
                self.outputs.push(Output::Remove(before.cidr()));
            }
            self.outputs
                .push(Output::Configure(lease.configuration(&self.config, now)));
        }
        if let Some(mtu) = lease.mtu(&self.config) {
            self.outputs.push(Output::SetMtu(mtu));
        }
        self.outputs.push(Output::Save);
        self.is_attached = true;
        self.be_bound();
    }

    fn refused(&mut self, reply: &Message, now: Time) {
        let named = reply.options.u32(options::SERVER_ID).map(Ipv4Addr::from);
        if let State::Requesting(_, server) = self.state
            && named.is_some_and(|named| named != server)
        {
            return;
        }
        let text = reply.options.get(options::MESSAGE).unwrap_or_default();
        let text = String::from_utf8_lossy(text);
        self.note(format!("server rejected request with Nak (msg: {text:?})"));
        self.lose();
        self.begin_anew(now);
    }

    /// Sends the next ARP probe, or accepts the address after the last wait.
    pub(super) fn probe(&mut self, now: Time) {
        let (Some(lease), Some(time), Some(mac)) =
            (&self.lease, self.config.probe, self.settings.mac)
        else {
            return self.accept(None, now);
        };
        if self.sent >= arp::PROBES {
            return self.accept(None, now);
        }
        let payload = arp::probe(mac, lease.address);
        self.outputs.push(Output::Send(Datagram {
            payload,
            to: Destination::Arp,
            by: SocketKind::Arp,
        }));
        self.sent += 1;
        self.wake = Some(now + time / arp::PROBES);
    }

    /// Declines the address, which another station uses.
    pub(super) fn decline(&mut self, now: Time) {
        if let Some(lease) = self.lease.take() {
            self.note(format!(
                "address {} is in use by another station; declined",
                lease.address
            ));
            self.xid = random::u32();
            let message = self.give_back(Kind::Decline, lease.address, lease.server);
            self.broadcast(&message);
        }
        self.failures += 1;
        self.state = State::Waiting;
        self.wake = Some(now + AFTER_DECLINE.min(self.settings.timing.resend_max));
    }

    pub(super) fn message_received(&mut self, now: Time, datagram: &[u8], mac: Option<Mac>) {
        let reply = match Message::decode(datagram) {
            Ok(reply) if self.is_answer(&reply) => reply,
            Ok(_) => return,
            Err(why) => return log::debug!("malformed DHCP message: {why}"),
        };
        match (self.state, reply.kind()) {
            (State::Selecting, Some(Kind::Offer)) => self.offered(&reply, now),
            (
                State::Requesting(..) | State::Rebooting | State::Renewing | State::Rebinding,
                Some(kind @ (Kind::Ack | Kind::Nak)),
            ) => match kind {
                Kind::Ack => self.acknowledged(&reply, mac, now),
                _ => self.refused(&reply, now),
            },
            _ => {}
        }
    }
}

/// Whether an address can be a host's.
fn is_host(address: Ipv4Addr) -> bool {
    !(address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_broadcast())
}
