//! Waits for state changes of links and addresses through netlink events.

use std::time::Instant;

use netlink_sys::protocols::NETLINK_ROUTE;
use nix::libc::ENOBUFS;

use crate::address::{Address, Family};
use crate::errno;
use crate::error::Error;
use crate::handle::Handle;
use crate::link::Link;
use crate::link::lookup::get_body;
use crate::socket::Socket;
use crate::wire::attr::u32_at;
use crate::wire::*;

/// Outcome of a wait, with the last state seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitOutcome<T> {
    /// The condition holds.
    Met(T),
    /// The deadline passed first.
    TimedOut(T),
}

impl<T> WaitOutcome<T> {
    /// The last state seen.
    pub fn into_inner(self) -> T {
        match self {
            WaitOutcome::Met(value) | WaitOutcome::TimedOut(value) => value,
        }
    }

    /// Whether the condition holds.
    pub fn is_met(&self) -> bool {
        matches!(self, WaitOutcome::Met(_))
    }
}

/// A subscription to link events (`RTNLGRP_LINK`).
///
/// It belongs to the network namespace in which the calling thread opened it.
pub struct LinkEvents {
    handle: Handle,
}

impl Handle {
    /// Subscribes to link events in the calling thread's network namespace (not that
    /// of another handle).
    ///
    /// # Errors
    /// Errors of `socket(2)` and of joining the multicast group.
    pub fn subscribe_links() -> Result<LinkEvents, Error> {
        let handle = Handle::open()?;
        handle.connection().socket().subscribe(RTNLGRP_LINK)?;
        Ok(LinkEvents { handle })
    }

    /// Subscribes to events of IPv6 addresses in the calling thread's network namespace
    /// (not that of another handle).
    ///
    /// # Errors
    /// Errors of `socket(2)` and of joining the multicast group.
    pub fn subscribe_addresses() -> Result<AddressEvents, Error> {
        let socket = Socket::open(NETLINK_ROUTE)?;
        socket.subscribe(RTNLGRP_IPV6_IFADDR)?;
        Ok(AddressEvents { socket })
    }
}

impl LinkEvents {
    /// Waits until `condition` holds for the link `index`, or `deadline` passes.
    ///
    /// The current state is read first, so changes before the call count, and a state
    /// is returned even if the deadline has passed already.
    ///
    /// # Errors
    /// `Link not found` if the link does not exist or is deleted meanwhile.
    pub fn wait(
        &mut self,
        index: u32,
        deadline: Instant,
        mut condition: impl FnMut(&Link) -> bool,
    ) -> Result<WaitOutcome<Link>, Error> {
        let what = format!("wait for a change of link {index}");
        let body = get_body(index)
            .finish()
            .map_err(|problem| Error::invalid(problem.to_owned(), &what))?;
        let mut watch = Watch::new(index);
        loop {
            if watch.asked.is_none() {
                self.handle.connection().socket().drain(&what)?;
                watch.asked = Some(
                    self.handle
                        .connection()
                        .send(RTM_GETLINK, 0, &body, &what)?,
                );
            }
            // Until the first state is known, an answer is pending.
            if let Some(state) = watch.state.take() {
                if !self.handle.connection().socket().wait(deadline, &what)? {
                    return Ok(WaitOutcome::TimedOut(state));
                }
                watch.state = Some(state);
            }
            let read = self
                .handle
                .connection()
                .socket()
                .receive(&what, |datagram| watch.read(datagram, &mut condition));
            match read {
                Ok(Step::Continue) => {}
                Ok(Step::Met(state)) => return Ok(WaitOutcome::Met(state)),
                Ok(Step::Gone) => return Err(Error::link_not_found(&what)),
                Ok(Step::Failed(errno, text)) => return Err(Error::kernel(errno, text, &what)),
                // Events were lost: start over with the current state.
                Err(error) if error.errno() == Some(ENOBUFS) => watch = Watch::new(index),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Progress of a wait for a link.
struct Watch {
    index: u32,
    /// Sequence number of the request for the current state.
    asked: Option<u32>,
    /// Whether it was answered. Events before the answer are older than it.
    answered: bool,
    state: Option<Link>,
}

enum Step {
    Continue,
    Met(Link),
    Gone,
    Failed(i32, String),
}

impl Watch {
    fn new(index: u32) -> Watch {
        Watch {
            index,
            asked: None,
            answered: false,
            state: None,
        }
    }

    fn read(&mut self, datagram: &[u8], condition: &mut impl FnMut(&Link) -> bool) -> Step {
        for message in Messages::new(datagram) {
            let mine = Some(message.sequence) == self.asked;
            match message.outcome() {
                Some(outcome) if mine && outcome.errno == errno::ENODEV => return Step::Gone,
                Some(outcome) if mine && outcome.errno != 0 => {
                    return Step::Failed(outcome.errno, outcome.text);
                }
                _ => {}
            }
            if !matches!(message.kind, RTM_NEWLINK | RTM_DELLINK) {
                continue;
            }
            let Some(link) = Link::decode(message.body).filter(|link| link.index == self.index)
            else {
                continue;
            };
            self.answered |= mine;
            if !self.answered {
                continue;
            }
            if message.kind == RTM_DELLINK {
                return Step::Gone;
            }
            if condition(&link) {
                return Step::Met(link);
            }
            self.state = Some(link);
        }
        Step::Continue
    }
}

/// A subscription to events of IPv6 addresses (`RTNLGRP_IPV6_IFADDR`).
///
/// It belongs to the network namespace in which the calling thread opened it.
pub struct AddressEvents {
    socket: Socket,
}

impl AddressEvents {
    /// Waits until `condition` holds for the IPv6 addresses of the link `index`, or
    /// `deadline` passes. The addresses are read through `handle`, which must be in the
    /// same namespace, first and after each event.
    ///
    /// # Errors
    /// As [`Handle::addresses`].
    pub fn wait(
        &mut self,
        handle: &Handle,
        index: u32,
        deadline: Instant,
        mut condition: impl FnMut(&[Address]) -> bool,
    ) -> Result<WaitOutcome<Vec<Address>>, Error> {
        let what = format!("wait for IPv6 addresses of link {index}");
        loop {
            self.socket.drain(&what)?;
            let addresses = handle.addresses(index, Some(Family::V6))?;
            if condition(&addresses) {
                return Ok(WaitOutcome::Met(addresses));
            }
            loop {
                if !self.socket.wait(deadline, &what)? {
                    return Ok(WaitOutcome::TimedOut(addresses));
                }
                let concerned = self
                    .socket
                    .receive(&what, |datagram| concerns(datagram, index));
                match concerned {
                    Ok(false) => {}
                    Ok(true) => break,
                    // Events were lost, possibly one of the link.
                    Err(error) if error.errno() == Some(ENOBUFS) => break,
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

/// Whether a datagram contains an event of the link's addresses.
fn concerns(datagram: &[u8], index: u32) -> bool {
    Messages::new(datagram)
        .filter(|message| matches!(message.kind, RTM_NEWADDR | RTM_DELADDR))
        .any(|message| u32_at(message.body, 4) == Some(index))
}
