//! A client of an attachment with its socket, and its place in the queue for one.

use crate::client::{Client, Datagram};
use crate::socket::Socket;
use crate::time::Time;

/// A client with its socket.
pub(super) struct Slot {
    /// The name in records and in `dhcp status`.
    pub(super) name: &'static str,
    pub(super) client: Box<dyn Client>,
    pub(super) socket: Option<Socket>,
    /// When a socket is tried again, and what is to be sent then.
    pub(super) retry: Option<Time>,
    pub(super) unsent: Vec<Datagram>,
}

impl Slot {
    /// Returns a slot without a socket.
    pub(super) fn new((name, client): (&'static str, Box<dyn Client>)) -> Slot {
        Slot {
            name,
            client,
            socket: None,
            retry: None,
            unsent: Vec::new(),
        }
    }

    /// Returns when something is due.
    pub(super) fn due(&self) -> Option<Time> {
        self.client.wake().into_iter().chain(self.retry).min()
    }

    /// Returns when something can be done. While the daemon is short of sockets, a client
    /// without one is left alone: else it would wait for the answer to a message that was not
    /// sent. Only the end of its lease does not wait.
    pub(super) fn wake(&self, is_short: bool, now: Time) -> Option<Time> {
        let due = self.due()?;
        if !is_short || self.socket.is_some() || due > now {
            return Some(due);
        }
        let left = self.client.status(now).expires_in;
        left.map(|left| now + left)
    }

    /// Has the client do what is due. Returns whether its outputs and its socket are to be
    /// seen to.
    pub(super) fn tick(&mut self, is_short: bool, now: Time) -> bool {
        let is_due = |time: Option<Time>| time.is_some_and(|time| time <= now);
        if !is_due(self.wake(is_short, now)) {
            return false;
        }
        if is_due(self.client.wake()) {
            self.client.tick(now);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::v4::V4Client;
    use crate::v4::client::{Settings, Timing};
    use serde_json::json;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    /// A slot with a recorded lease whose T1 is over at `now` and which ends 500 s later.
    fn slot(now: Time) -> Slot {
        let settings = Settings {
            hardware_type: 1,
            mac: Some([2, 0, 0, 0, 0, 7]),
            client_id: vec![0, 7],
            broadcast: false,
            timing: Timing {
                timeout: 10 * SECOND,
                resend_max: 62 * SECOND,
                resend_timeout: 208 * SECOND,
            },
        };
        let times =
            json!({"renew": now, "rebind": now + 300 * SECOND, "expiry": now + 500 * SECOND});
        let lease = json!({
            "address": "10.0.0.5", "prefix": 24, "server": "10.0.0.1", "via": null, "options": {}, "times": times,
        });
        let config = Config::load(&json!({}), "").unwrap();
        let lease = serde_json::from_value(lease).unwrap();
        let client = V4Client::resumed(config, settings, Some(lease), now);
        Slot::new(("ipv4", Box::new(client)))
    }

    #[test]
    fn a_lease_that_waits_for_a_socket_sends_nothing_and_has_its_turn_later() {
        let start = Time::now();
        let mut slot = slot(start);
        // Longer than the answer to a message is awaited: time must not pass for the client.
        for second in 0..60 {
            let now = start + second * SECOND;
            assert_eq!(slot.wake(true, now), Some(start + 500 * SECOND));
            assert!(!slot.tick(true, now));
        }
        assert_eq!(slot.client.take(), []);
        assert_eq!(slot.due(), Some(start), "its place in the queue");
        let now = start + 60 * SECOND;
        assert!(slot.wake(false, now).is_some_and(|wake| wake <= now));
        assert!(slot.tick(false, now));
        assert_eq!(slot.client.take().len(), 1, "asks for its address");
    }

    #[test]
    fn the_end_of_a_lease_waits_for_no_socket() {
        let start = Time::now();
        let mut slot = slot(start);
        let end = start + 500 * SECOND;
        assert!(slot.tick(true, end));
        assert!(slot.client.take().iter().any(|output| matches!(
            output,
            crate::client::Output::Remove(address) if address.to_string() == "10.0.0.5/24"
        )));
        assert!(
            slot.client.socket().is_none(),
            "and goes back into the queue"
        );
    }
}
