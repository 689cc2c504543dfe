//! The DHCPv6 client's state machine for one identity association (RFC 8415, section 18.2).
//!
//! It does no input and output of its own: datagrams and the time come in, datagrams and events go out.
//!
//! ```text
//!            Advertise              Reply                 T1            T2
//! soliciting ----------> requesting -----> bound -----> renewing ---> rebinding
//!     |  Reply with rapid commit             ^  <----- Reply ----'         |
//!     '--------------------------------------'  <----- Reply --------------'
//!     ^                                                                    |
//!     '------------- the last address has become invalid ------------------'
//! ```

use super::lease::Lease;
use super::message::{IaAddress, IaNa, Kind, Message};
use super::retransmit::{Exchange, Next};
use crate::random;
use crate::time::Time;

/// `SOL_MAX_RT` and `INF_MAX_RT` until a server says otherwise (RFC 8415, 7.6), in seconds.
const MAX_RT: u32 = 3600;

/// The greatest number of notes in an exchange: a hostile host must not fill the log.
const NOTES: u8 = 5;

/// Preference of a server that need not be compared with others (RFC 8415, 18.2.1).
const BEST: u8 = 255;

/// Who the client is: the same for the whole life of an attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) duid: Vec<u8>,
    pub(crate) iaid: u32,
}

/// What the client reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Send this datagram to all servers.
    Send(Vec<u8>),
    /// A new or extended lease.
    Leased(Lease),
    /// Information without addresses: DNS servers and search list.
    Informed(Message),
    /// The last address has become invalid. The client goes on soliciting.
    Expired,
    /// The release or decline has been confirmed, or nobody confirmed it.
    Done,
    /// Something for the log.
    Note(String),
}

#[derive(Debug)]
pub(super) enum State {
    /// Holds nothing and does nothing.
    Idle,
    Soliciting {
        best: Option<Message>,
    },
    Requesting,
    Bound,
    Renewing,
    Rebinding,
    Releasing,
    Declining,
    Informing,
}

/// The client.
#[derive(Debug)]
pub(crate) struct DhcpClient {
    pub(super) identity: Identity,
    pub(super) rapid_commit: bool,
    pub(super) state: State,
    pub(super) exchange: Option<Exchange>,
    pub(super) lease: Option<Lease>,
    pub(super) sol_max_rt: u32,
    pub(super) inf_max_rt: u32,
    /// Notes that may still be reported of the current exchange.
    pub(super) notes_left: u8,
    pub(super) events: Vec<Event>,
}

impl DhcpClient {
    /// A client that does nothing yet.
    pub(crate) fn new(identity: Identity, rapid_commit: bool) -> DhcpClient {
        DhcpClient {
            identity,
            rapid_commit,
            state: State::Idle,
            exchange: None,
            lease: None,
            sol_max_rt: MAX_RT,
            inf_max_rt: MAX_RT,
            notes_left: NOTES,
            events: Vec::new(),
        }
    }

    /// Asks for addresses.
    pub(crate) fn solicit(&mut self, now: Time) {
        self.lease = None;
        let mut message = self.message(Kind::Solicit, &[]);
        message.rapid_commit = self.rapid_commit;
        self.state = State::Soliciting { best: None };
        self.begin(message, now, None);
    }

    /// Asks for addresses, but not at once: the answer to the last time led to nothing, and neither a broken nor a hostile
    /// server may keep the client busy (RFC 8415, 14.1).
    pub(crate) fn solicit_later(&mut self, now: Time) {
        self.solicit(now);
        self.delay();
    }

    pub(super) fn delay(&mut self) {
        if let Some(exchange) = &mut self.exchange {
            exchange.delay();
        }
    }

    /// Asks for information without addresses.
    pub(crate) fn inform(&mut self, now: Time) {
        let mut message = self.message(Kind::InformationRequest, &[]);
        message.associations.clear();
        self.state = State::Informing;
        self.begin(message, now, None);
    }

    /// Goes on with a lease that was stored.
    pub(crate) fn resume(&mut self, lease: Lease) {
        self.exchange = None;
        self.lease = Some(lease);
        self.state = State::Bound;
    }

    /// Gives the addresses back. [`Event::Done`] follows.
    pub(crate) fn release(&mut self, now: Time) {
        self.give_back(Kind::Release, now);
    }

    /// Reports that another node uses the addresses. [`Event::Done`] follows.
    pub(crate) fn decline(&mut self, now: Time) {
        self.give_back(Kind::Decline, now);
    }

    /// Stops whatever is going on, and forgets the lease.
    pub(crate) fn stop(&mut self) {
        self.state = State::Idle;
        self.exchange = None;
        self.lease = None;
    }

    /// Stops asking for information.
    pub(crate) fn stop_informing(&mut self) {
        if matches!(self.state, State::Informing) {
            self.stop();
        }
    }

    fn give_back(&mut self, kind: Kind, now: Time) {
        let Some(lease) = self.lease.take() else {
            self.state = State::Idle;
            self.exchange = None;
            self.events.push(Event::Done);
            return;
        };
        self.state = match kind {
            Kind::Decline => State::Declining,
            _ => State::Releasing,
        };
        let mut message = self.message(kind, &addresses(&lease));
        message.server = lease.server;
        self.begin(message, now, None);
    }

    /// The lease that the client holds.
    pub(crate) fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// The state's name, for `dhcp status`.
    pub(crate) fn state(&self) -> &'static str {
        match self.state {
            State::Idle => "idle",
            State::Soliciting { .. } => "soliciting",
            State::Requesting => "requesting",
            State::Bound => "bound",
            State::Renewing => "renewing",
            State::Rebinding => "rebinding",
            State::Releasing => "releasing",
            State::Declining => "declining",
            State::Informing => "informing",
        }
    }

    /// Whether a release has not been confirmed yet, nor given up.
    pub(crate) fn is_releasing(&self) -> bool {
        matches!(self.state, State::Releasing)
    }

    /// Whether the client waits for an answer and needs a socket.
    pub(crate) fn is_listening(&self) -> bool {
        self.exchange.as_ref().is_some_and(Exchange::is_listening)
    }

    /// The time at which [`DhcpClient::tick`] has something to do; `None` if never.
    pub(crate) fn wake(&self) -> Option<Time> {
        let exchange = self.exchange.as_ref().map(Exchange::wake);
        let lease = self.lease.as_ref().and_then(|lease| match self.state {
            State::Bound => lease.renew_at.or(lease.rebind_at).or(lease.end()),
            State::Renewing => lease.rebind_at.or(lease.end()),
            State::Rebinding => lease.end(),
            _ => None,
        });
        exchange.into_iter().chain(lease).min()
    }

    /// Takes what the client has to report.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Does what is due at `now`.
    pub(crate) fn tick(&mut self, now: Time) {
        self.follow_lease(now);
        if self.choose(now) {
            return;
        }
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        match exchange.next(now) {
            Next::Send(datagram) => self.events.push(Event::Send(datagram)),
            Next::Wait => {}
            Next::GiveUp => self.give_up(now),
        }
    }

    /// Changes the state when a time of the lease has come.
    fn follow_lease(&mut self, now: Time) {
        let Some(lease) = &self.lease else {
            return;
        };
        let has_come = |time: Option<Time>| time.is_some_and(|time| time <= now);
        let holds = matches!(
            self.state,
            State::Bound | State::Renewing | State::Rebinding
        );
        if !holds {
            return;
        }
        if has_come(lease.end()) {
            self.events.push(Event::Expired);
            // Not at once: others may have all sockets of the daemon.
            self.solicit_later(now);
        } else if has_come(lease.rebind_at) && !matches!(self.state, State::Rebinding) {
            let message = self.message(Kind::Rebind, &addresses(lease));
            let end = lease.end();
            self.state = State::Rebinding;
            self.begin(message, now, end);
        } else if has_come(lease.renew_at) && matches!(self.state, State::Bound) {
            let mut message = self.message(Kind::Renew, &addresses(lease));
            message.server.clone_from(&lease.server);
            let end = lease.rebind_at.or(lease.end());
            self.state = State::Renewing;
            self.begin(message, now, end);
        }
    }

    /// Requests the best offer once the time to collect offers has passed. Returns whether it did.
    pub(super) fn choose(&mut self, now: Time) -> bool {
        let State::Soliciting { best } = &mut self.state else {
            return false;
        };
        let collecting = self
            .exchange
            .as_ref()
            .is_some_and(|exchange| exchange.is_first_round(now));
        match best.take_if(|best| !collecting || best.preference == BEST) {
            Some(offer) => self.request(&offer.server, now),
            None => return false,
        }
        true
    }

    pub(super) fn request(&mut self, server: &[u8], now: Time) {
        let held = self.lease.as_ref().map(addresses).unwrap_or_default();
        let mut message = self.message(Kind::Request, &held);
        message.server = server.to_vec();
        let end = self.lease.as_ref().and_then(Lease::end);
        self.state = State::Requesting;
        self.begin(message, now, end);
        self.tick(now);
    }

    /// The exchange has ended without an answer.
    fn give_up(&mut self, now: Time) {
        self.exchange = None;
        match self.state {
            State::Releasing | State::Declining => {
                let note = format!("no server has confirmed; state {}", self.state());
                self.note(note);
                self.state = State::Idle;
                self.events.push(Event::Done);
            }
            State::Requesting => {
                let note = "the server that made the offer does not answer the request";
                self.note(note.to_owned());
                self.restart(now);
            }
            // The next state follows from the lease.
            _ => self.follow_lease(now),
        }
    }

    /// Begins again: with any server while a lease is held, else with a Solicit.
    pub(super) fn restart(&mut self, now: Time) {
        match self.lease {
            Some(_) => self.rebind(now),
            None => self.solicit(now),
        }
    }

    pub(super) fn rebind(&mut self, now: Time) {
        if let Some(lease) = &self.lease {
            let message = self.message(Kind::Rebind, &addresses(lease));
            let end = lease.end();
            self.state = State::Rebinding;
            self.begin(message, now, end);
        }
    }

    pub(super) fn note(&mut self, note: String) {
        if let Some(left) = self.notes_left.checked_sub(1) {
            self.notes_left = left;
            self.events.push(Event::Note(note));
        }
    }

    fn begin(&mut self, mut message: Message, now: Time, end: Option<Time>) {
        self.notes_left = NOTES;
        message.xid = random::u32() & 0x00ff_ffff;
        let max_rt = match message.kind {
            Kind::InformationRequest => self.inf_max_rt,
            _ => self.sol_max_rt,
        };
        self.exchange = Some(Exchange::new(message, max_rt, now, end));
    }

    fn message(&self, kind: Kind, addresses: &[IaAddress]) -> Message {
        let mut message = Message::new(kind, 0);
        message.client.clone_from(&self.identity.duid);
        message.associations.push(IaNa {
            iaid: self.identity.iaid,
            addresses: addresses.to_vec(),
            ..IaNa::default()
        });
        message
    }
}

/// The addresses of a lease for a message: lifetimes are 0 (RFC 8415, 21.6), the server decides.
fn addresses(lease: &Lease) -> Vec<IaAddress> {
    let all = lease.addresses.iter();
    all.map(|address| IaAddress {
        address: address.address,
        preferred: 0,
        valid: 0,
        status: None,
    })
    .collect()
}
