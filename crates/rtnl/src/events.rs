//! Waiting for the kernel to bring something about, without polling.

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

/// How a wait ended. Either way the value is the newest state seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waited<T> {
    /// The state is as wished.
    Met(T),
    /// It was not before the deadline.
    TimedOut(T),
}

impl<T> Waited<T> {
    /// The newest state seen.
    pub fn into_inner(self) -> T {
        match self {
            Waited::Met(value) | Waited::TimedOut(value) => value,
        }
    }

    /// Whether the state is as wished.
    pub fn is_met(&self) -> bool {
        matches!(self, Waited::Met(_))
    }
}

/// A subscription to changes of links (`RTNLGRP_LINK`).
///
/// Belongs to the network namespace that was the calling thread's when it was
/// opened.
pub struct LinkEvents {
    handle: Handle,
}

impl Handle {
    /// Subscribes to changes of links in the present namespace of the calling
    /// thread (not that of another handle).
    ///
    /// # Errors
    /// Those of `socket(2)` and of joining the group.
    pub fn subscribe_links() -> Result<LinkEvents, Error> {
        let handle = Handle::open()?;
        handle.connection().socket().subscribe(RTNLGRP_LINK)?;
        Ok(LinkEvents { handle })
    }

    /// Subscribes to changes of IPv6 addresses in the present namespace of the
    /// calling thread (not that of another handle).
    ///
    /// # Errors
    /// Those of `socket(2)` and of joining the group.
    pub fn subscribe_addresses() -> Result<AddressEvents, Error> {
        let socket = Socket::open(NETLINK_ROUTE)?;
        socket.subscribe(RTNLGRP_IPV6_IFADDR)?;
        Ok(AddressEvents { socket })
    }
}

impl LinkEvents {
    /// Waits until `wished` holds of the link `index`, or `deadline` passes.
    ///
    /// The present state is looked at first, so whatever happened before the
    /// call counts, and the state is known though the deadline be past.
    ///
    /// # Errors
    /// `Link not found` if the link does not exist or is deleted meanwhile.
    pub fn wait(
        &mut self,
        index: u32,
        deadline: Instant,
        mut wished: impl FnMut(&Link) -> bool,
    ) -> Result<Waited<Link>, Error> {
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
            // An answer is on its way until the first state is known.
            if let Some(state) = watch.state.take() {
                if !self.handle.connection().socket().wait(deadline, &what)? {
                    return Ok(Waited::TimedOut(state));
                }
                watch.state = Some(state);
            }
            let read = self
                .handle
                .connection()
                .socket()
                .receive(&what, |datagram| watch.read(datagram, &mut wished));
            match read {
                Ok(Step::Go) => {}
                Ok(Step::Met(state)) => return Ok(Waited::Met(state)),
                Ok(Step::Gone) => return Err(Error::link_not_found(&what)),
                Ok(Step::Failed(errno, text)) => return Err(Error::kernel(errno, text, &what)),
                // Events were lost: begin with the present state again.
                Err(error) if error.errno() == Some(ENOBUFS) => watch = Watch::new(index),
                Err(error) => return Err(error),
            }
        }
    }
}

/// What is known of a link that is waited for.
struct Watch {
    index: u32,
    /// Sequence number of the question for the present state.
    asked: Option<u32>,
    /// Whether it was answered. What comes before is older.
    answered: bool,
    state: Option<Link>,
}

enum Step {
    Go,
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

    fn read(&mut self, datagram: &[u8], wished: &mut impl FnMut(&Link) -> bool) -> Step {
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
            if wished(&link) {
                return Step::Met(link);
            }
            self.state = Some(link);
        }
        Step::Go
    }
}

/// A subscription to changes of IPv6 addresses (`RTNLGRP_IPV6_IFADDR`).
///
/// Belongs to the network namespace that was the calling thread's when it was
/// opened.
pub struct AddressEvents {
    socket: Socket,
}

impl AddressEvents {
    /// Waits until `wished` holds of the IPv6 addresses of the link `index`, or
    /// `deadline` passes. `handle` must be of the same namespace; the addresses
    /// are read with it, at once and after each change.
    ///
    /// # Errors
    /// As [`Handle::addresses`].
    pub fn wait(
        &mut self,
        handle: &Handle,
        index: u32,
        deadline: Instant,
        mut wished: impl FnMut(&[Address]) -> bool,
    ) -> Result<Waited<Vec<Address>>, Error> {
        let what = format!("wait for IPv6 addresses of link {index}");
        loop {
            self.socket.drain(&what)?;
            let addresses = handle.addresses(index, Some(Family::V6))?;
            if wished(&addresses) {
                return Ok(Waited::Met(addresses));
            }
            loop {
                if !self.socket.wait(deadline, &what)? {
                    return Ok(Waited::TimedOut(addresses));
                }
                let concerned = self
                    .socket
                    .receive(&what, |datagram| concerns(datagram, index));
                match concerned {
                    Ok(false) => {}
                    Ok(true) => break,
                    // Events were lost, maybe one that concerns the link.
                    Err(error) if error.errno() == Some(ENOBUFS) => break,
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

/// Whether a datagram tells of a change to the addresses of the link `index`.
fn concerns(datagram: &[u8], index: u32) -> bool {
    Messages::new(datagram)
        .filter(|message| matches!(message.kind, RTM_NEWADDR | RTM_DELADDR))
        .any(|message| u32_at(message.body, 4) == Some(index))
}
