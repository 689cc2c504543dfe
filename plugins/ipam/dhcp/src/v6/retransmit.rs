//! Retransmission of DHCPv6 messages (RFC 8415, section 15).

use std::time::Duration;

use super::message::{Kind, Message};
use crate::random;
use crate::time::Time;

/// How long the answer to a transmission is awaited. The next one may be an hour away, and the number of open sockets is
/// bounded.
const LISTEN: Duration = Duration::from_secs(5);

/// Parameters of an exchange (RFC 8415, 7.6): initial and maximum retransmission time, and the greatest number of
/// transmissions. Zero stands for no limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameters {
    irt: u32,
    mrt: u32,
    mrc: u32,
}

impl Parameters {
    /// Those of a message of this type. `max_rt` is `SOL_MAX_RT` or `INF_MAX_RT` as the server has set it.
    pub(crate) fn of(kind: Kind, max_rt: u32) -> Parameters {
        let (irt, mrt, mrc) = match kind {
            Kind::Solicit | Kind::InformationRequest => (1, max_rt, 0),
            Kind::Request => (1, 30, 10),
            Kind::Renew | Kind::Rebind => (10, 600, 0),
            Kind::Release | Kind::Decline => (1, 0, 4),
            // Sent by servers.
            Kind::Advertise | Kind::Reply => (1, 0, 1),
        };
        Parameters { irt, mrt, mrc }
    }
}

/// `time`, shortened or lengthened at random by up to 10 %.
fn jittered(time: Duration) -> Duration {
    random::jittered(time, time / 10)
}

/// One exchange: a message that is sent until it is answered or given up.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) message: Message,
    parameters: Parameters,
    started: Time,
    /// When the exchange ends without success, whatever the number of transmissions.
    end: Option<Time>,
    sent: u32,
    timeout: Duration,
    due: Time,
    /// Until when an answer to the last transmission is expected.
    listens_until: Option<Time>,
}

/// What an exchange does next.
pub(crate) enum Next {
    Send(Vec<u8>),
    Wait,
    GiveUp,
}

impl Exchange {
    /// An exchange whose first transmission is due at once.
    pub(crate) fn new(message: Message, max_rt: u32, now: Time, end: Option<Time>) -> Exchange {
        Exchange {
            parameters: Parameters::of(message.kind, max_rt),
            message,
            started: now,
            end,
            sent: 0,
            timeout: Duration::ZERO,
            due: now,
            listens_until: None,
        }
    }

    /// The time at which [`Exchange::next`] has something to do.
    pub(crate) fn wake(&self) -> Time {
        let times = [Some(self.due), self.end, self.listens_until];
        times.into_iter().flatten().min().unwrap_or(self.due)
    }

    /// Whether an answer is expected.
    pub(crate) fn is_listening(&self) -> bool {
        self.listens_until.is_some()
    }

    /// Whether the first timeout has not passed: Advertise messages are being collected (RFC 8415, 18.2.1).
    pub(crate) fn is_first_round(&self, now: Time) -> bool {
        self.sent <= 1 && now < self.due
    }

    /// Changes the maximum retransmission time from the next transmission on.
    pub(crate) fn set_max_rt(&mut self, seconds: u32) {
        self.parameters.mrt = seconds;
    }

    /// Puts the first transmission off by about the initial retransmission time.
    pub(crate) fn delay(&mut self) {
        let irt = Duration::from_secs(self.parameters.irt.into());
        self.due = self.due + jittered(irt);
    }

    /// Advances the exchange to `now`.
    pub(crate) fn next(&mut self, now: Time) -> Next {
        if self.end.is_some_and(|end| now >= end) {
            return Next::GiveUp;
        }
        if now < self.due {
            self.listens_until.take_if(|until| *until <= now);
            return Next::Wait;
        }
        if self.parameters.mrc != 0 && self.sent >= self.parameters.mrc {
            return Next::GiveUp;
        }
        let irt = Duration::from_secs(self.parameters.irt.into());
        let mrt = Duration::from_secs(self.parameters.mrt.into());
        self.timeout = match self.sent {
            // The first Solicit is repeated no sooner than after IRT, so that all servers can answer.
            0 if self.message.kind == Kind::Solicit => irt + jittered(irt / 20),
            0 => jittered(irt),
            _ => self.timeout + jittered(self.timeout),
        };
        if !mrt.is_zero() && self.timeout > mrt {
            self.timeout = jittered(mrt);
        }
        self.due = now + self.timeout;
        self.listens_until = Some(now + LISTEN);
        self.sent += 1;
        let hundredths = (now - self.started).as_millis() / 10;
        self.message.elapsed = u16::try_from(hundredths).unwrap_or(u16::MAX);
        Next::Send(self.message.encode())
    }
}
