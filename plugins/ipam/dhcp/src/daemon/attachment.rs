//! An attachment: an interface of a container, with a client for each protocol.

use super::Context;
use super::slot::Slot;
use crate::client::{Client, Output, Progress, SocketKind};
use crate::config::Config;
use crate::identity;
use crate::interface;
use crate::location::{Location, Replaced};
use crate::record::{HandedOut, Record};
use crate::socket::Socket;
use crate::time::Time;
use crate::v4::V4Client;
use crate::v4::client::Settings;
use crate::v6::{self, Ipv6Client};
use cni_core::ns::NsError;
use cni_core::{AddResult, Route};
use cni_state::Owner;
use nix::errno::Errno;
use rtnl::Handle;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// The wait before a socket that could not be opened is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// How long the interface plugin may take to configure an address after the daemon has
/// answered. An address that the daemon had added before would make its request fail.
const SETTLING: Duration = Duration::from_secs(5);
/// Datagrams that are taken of a socket at once, so that no server keeps others waiting.
const BURST: usize = 16;
/// Longest packet: a message of at most 1500 bytes is requested, but servers may send more.
const LONGEST_PACKET: usize = 4096;

/// An attachment.
pub(super) struct Attachment {
    pub(super) owner: Owner,
    pub(super) place: Location,
    args: String,
    ipam: Value,
    slots: Vec<Slot>,
    /// Routes of the configuration for IPv6; those for IPv4 are the client's, which knows
    /// the router.
    ipv6_routes: Vec<Route>,
    /// Connections that wait for the lease.
    pub(super) waiting: Vec<u64>,
    pub(super) handed_out: HandedOut,
    /// Whether the interface or the namespace was found to be gone.
    pub(super) is_gone: bool,
    /// Whether it is over, and only its leases are to be given back.
    pub(super) is_over: bool,
}

/// What an attachment is made of.
pub(super) struct Parts {
    pub(super) owner: Owner,
    pub(super) place: Location,
    pub(super) args: String,
    pub(super) ipam: Value,
}

impl Attachment {
    /// Returns an attachment whose clients begin at `start`: to acquire leases, or with
    /// `recorded` to go on with those of a record.
    ///
    /// # Errors
    /// When the configuration is malformed.
    pub(super) fn new(
        parts: Parts,
        recorded: Option<&BTreeMap<String, Value>>,
        start: Time,
        context: &Context,
    ) -> anyhow::Result<Attachment> {
        let Parts {
            owner,
            place,
            args,
            ipam,
        } = parts;
        let config = Config::load(&ipam, &args)?;
        let mut ipv6_routes = config.routes.clone();
        ipv6_routes.retain(|route| !route.dst.is_ipv4());
        let slots = clients(&owner, &place, config, recorded, start, context);
        Ok(Attachment {
            owner,
            place,
            args,
            ipam,
            slots: slots.into_iter().map(Slot::new).collect(),
            ipv6_routes,
            waiting: Vec::new(),
            handed_out: HandedOut::default(),
            is_gone: false,
            is_over: false,
        })
    }

    /// Returns the name for the log.
    pub(super) fn name(&self) -> String {
        let Owner {
            network,
            container_id,
            if_name,
        } = &self.owner;
        format!("{container_id}/{network}/{if_name}")
    }

    /// Returns when [`Attachment::tick`] has something to do.
    pub(super) fn wake(&self, now: Time, context: &Context) -> Option<Time> {
        let is_short = self.is_short_of_sockets(context);
        let slots = self.slots.iter();
        slots.filter_map(|slot| slot.wake(is_short, now)).min()
    }

    /// Returns since when something is due, if it is: the first in the queue for a socket is
    /// the one that has waited longest.
    pub(super) fn due(&self) -> Option<Time> {
        self.slots.iter().filter_map(Slot::due).min()
    }

    /// Whether it has to wait for a socket. One for which a plugin waits does not.
    fn is_short_of_sockets(&self, context: &Context) -> bool {
        self.waiting.is_empty() && context.is_short_of_sockets()
    }

    /// Returns the number of open sockets.
    pub(super) fn sockets(&self) -> usize {
        self.slots
            .iter()
            .filter(|slot| slot.socket.is_some())
            .count()
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, token: u64, now: Time, context: &Context) {
        let is_short = self.is_short_of_sockets(context);
        for at in 0..self.slots.len() {
            if self.slots[at].tick(is_short, now) {
                self.carry_out(at, token, now, context);
            }
        }
    }

    /// Takes what has arrived for the client `at`.
    pub(super) fn receive(&mut self, at: usize, token: u64, now: Time, context: &Context) {
        let mut buffer = [0; LONGEST_PACKET];
        for _ in 0..BURST {
            let Some(slot) = self.slots.get_mut(at) else {
                return;
            };
            let Some(socket) = &slot.socket else {
                return;
            };
            match socket.receive(&mut buffer) {
                Ok(Some((datagram, mac))) => {
                    slot.client.received(now, datagram, mac);
                    self.carry_out(at, token, now, context);
                }
                Ok(None) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                // Such as "network is down", which is over when the link is up again; the
                // next message is sent by the client's timer.
                Err(error) => {
                    log::debug!("{}: {error}", self.name());
                    return;
                }
            }
        }
    }

    /// Opens or closes the socket of a client, and does what it wants done.
    fn carry_out(&mut self, at: usize, token: u64, now: Time, context: &Context) {
        let outputs = self.slots[at].client.take();
        let is_new = outputs
            .iter()
            .any(|output| matches!(output, Output::Send(_)));
        if is_new {
            self.slots[at].unsent.clear();
        }
        let mut is_changed = false;
        for output in outputs {
            match output {
                Output::Send(datagram) => self.slots[at].unsent.push(datagram),
                Output::Save => is_changed = true,
                Output::Note(text) => log::info!("{}: {text}", self.name()),
                change => self.change_interface(change, now, context),
            }
        }
        self.adjust_socket(at, token, now, context);
        self.send_unsent(at, now, context);
        if is_changed {
            self.save(context);
        }
    }

    fn change_interface(&self, change: Output, now: Time, context: &Context) {
        let index = self.place.index;
        let done = self.place.enter(&context.home, || {
            let handle = Handle::open()?;
            match change {
                Output::Configure(configuration) => {
                    let address = configuration.address;
                    let HandedOut { addresses, until } = &self.handed_out;
                    let may_add = now > *until || !addresses.contains(&address);
                    if interface::configure(&handle, index, &configuration, may_add)? {
                        log::info!("{}: adds address {address}", self.name());
                    }
                    Ok(())
                }
                Output::Remove(address) => {
                    log::info!("{}: removes address {address}", self.name());
                    interface::remove(&handle, index, address)
                }
                Output::SetMtu(mtu) => interface::set_mtu(&handle, index, mtu),
                Output::Autoconf(on) => interface::set_autoconf(&self.place.if_name, on),
                Output::Send(_) | Output::Save | Output::Note(_) => Ok(()),
            }
        });
        if let Err(error) = done.and_then(|done| done) {
            log::warn!("{}: {error:#}", self.name());
        }
    }

    /// Opens the socket that the client needs, and closes any other.
    fn adjust_socket(&mut self, at: usize, token: u64, now: Time, context: &Context) {
        let wanted = self.slots[at].client.socket();
        let slot = &mut self.slots[at];
        slot.retry = None;
        if slot.socket.as_ref().map(|socket| wanted_kind(socket.kind)) == wanted.map(wanted_kind) {
            return;
        }
        slot.socket = None;
        let Some(kind) = wanted else {
            return;
        };
        match self.open(kind, context) {
            Ok(socket) => {
                context.watch(&socket, token | at as u64);
                if let Some(link_local) = socket.link_local() {
                    self.slots[at].client.opened(link_local);
                }
                self.slots[at].socket = Some(socket);
            }
            Err(error) => {
                log::debug!("{}: cannot open a socket: {error:#}", self.name());
                self.is_gone = is_gone(&error);
                self.slots[at].retry = Some(now + RETRY);
            }
        }
    }

    /// Opens a socket in the container. To release the leases of one that is gone, on the link
    /// of the host.
    fn open(&self, kind: SocketKind, context: &Context) -> anyhow::Result<Socket> {
        match self.open_in_container(kind, context) {
            Err(error) if self.is_over => {
                let (index, name) = self.place.on_host().ok_or(error)?;
                Ok(Socket::open(kind, index, name)?)
            }
            opened => opened,
        }
    }

    fn open_in_container(&self, kind: SocketKind, context: &Context) -> anyhow::Result<Socket> {
        let (index, name) = (self.place.index, &self.place.if_name);
        self.place
            .enter(&context.home, || {
                match (Socket::open(kind, index, name), kind) {
                    // The interface has lost the address. Sent by a packet socket, the renewal is
                    // answered all the same, and the address is then configured again.
                    (Err(_), SocketKind::Udp(address)) => {
                        Socket::open(SocketKind::Packet(address), index, name)
                    }
                    (opened, _) => opened,
                }
            })?
            .map_err(Into::into)
    }

    /// Returns the result of ADD, which the interface plugin is now going to apply. Recorded,
    /// for a daemon that is started meanwhile.
    ///
    /// # Errors
    /// As [`Attachment::result`].
    pub(super) fn hand_out(&mut self, now: Time, context: &Context) -> Result<AddResult, String> {
        let result = self.result()?;
        self.handed_out = HandedOut {
            addresses: result.ips.iter().map(|ip| ip.address).collect(),
            until: now + SETTLING,
        };
        self.save(context);
        Ok(result)
    }

    /// Sends what is to be sent, by the open socket or by one that is opened for it.
    fn send_unsent(&mut self, at: usize, now: Time, context: &Context) {
        let wanted = self.slots[at].client.socket();
        for datagram in std::mem::take(&mut self.slots[at].unsent) {
            let kind = datagram.by;
            let sent = match &self.slots[at].socket {
                Some(socket) if Some(kind) == wanted => socket.send(&datagram).map_err(Into::into),
                // To be sent when the socket is open.
                None if Some(kind) == wanted => {
                    self.slots[at].unsent.push(datagram);
                    continue;
                }
                _ => self
                    .open(kind, context)
                    .and_then(|socket| Ok(socket.send(&datagram)?)),
            };
            if let Err(error) = sent {
                log::debug!("{}: cannot send: {error:#}", self.name());
            }
        }
        let slot = &mut self.slots[at];
        if !slot.unsent.is_empty() {
            slot.retry.get_or_insert(now + RETRY);
        }
    }

    /// Gives the leases back, from the container, or from the host if it is gone.
    pub(super) fn release(&mut self, token: u64, now: Time, context: &Context) {
        self.is_over = true;
        for at in 0..self.slots.len() {
            self.slots[at].socket = None;
            self.slots[at].client.release(now);
            // If an answer is awaited.
            self.adjust_socket(at, token, now, context);
            for output in self.slots[at].client.take() {
                let Output::Send(datagram) = output else {
                    if let Output::Autoconf(_) = output {
                        self.change_interface(output, now, context);
                    }
                    continue;
                };
                let sent = match &self.slots[at].socket {
                    Some(socket) => socket.send(&datagram).map_err(Into::into),
                    None => self
                        .open(datagram.by, context)
                        .and_then(|socket| Ok(socket.send(&datagram)?)),
                };
                match sent {
                    Ok(()) => log::info!("{}: lease released", self.name()),
                    Err(error) => {
                        log::warn!("{}: failed to send DHCPRELEASE: {error:#}", self.name())
                    }
                }
            }
        }
    }

    /// Whether a release has still to be confirmed.
    pub(super) fn is_leaving(&self) -> bool {
        !self.is_gone && self.slots.iter().any(|slot| slot.client.is_leaving())
    }

    /// Writes the record.
    fn save(&self, context: &Context) {
        let clients = self
            .slots
            .iter()
            .filter_map(|slot| Some((slot.name.to_owned(), slot.client.record()?)));
        let from = (context.socket.as_str(), self.args.as_str(), &self.ipam);
        let (place, handed_out) = (self.place.clone(), self.handed_out.clone());
        let record = Record::new(&self.owner, from, place, clients.collect(), handed_out);
        if let Err(error) = context.records.write(&record) {
            log::warn!(
                "{}: the lease will be lost if the daemon ends: {error}",
                self.name()
            );
        }
    }

    /// Returns how far the clients are, taken together.
    pub(super) fn progress(&self) -> Progress {
        let mut all = Progress::Bound;
        for slot in &self.slots {
            match slot.client.progress() {
                Progress::Bound => {}
                Progress::Acquiring => all = Progress::Acquiring,
                failed => return failed,
            }
        }
        all
    }

    /// Returns the result of ADD.
    ///
    /// # Errors
    /// When there is no address.
    pub(super) fn result(&self) -> Result<AddResult, String> {
        let mut result = AddResult::default();
        for slot in &self.slots {
            slot.client.add_to(&mut result);
        }
        if result.ips.iter().any(|ip| !ip.address.is_ipv4()) {
            result.routes.extend(self.ipv6_routes.iter().cloned());
        }
        match result.ips.is_empty() {
            true => Err(format!("there is no lease for {} at present", self.name())),
            false => Ok(result),
        }
    }

    /// Returns the lines of `dhcp status`.
    pub(super) fn status(&self, now: Time) -> Vec<Value> {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
        let line = |slot: &Slot| {
            let status = slot.client.status(now);
            serde_json::json!({
                "network": self.owner.network,
                "containerID": self.owner.container_id,
                "ifName": self.owner.if_name,
                "netns": self.place.netns,
                "protocol": slot.name,
                "state": status.state,
                "address": status.address.map(|address| address.to_string()),
                "server": status.server,
                "renewsIn": seconds(status.renews_in),
                "expiresIn": seconds(status.expires_in),
            })
        };
        self.slots.iter().map(line).collect()
    }
}

/// Whether a socket could not be opened because there is no such interface or namespace.
fn is_gone(error: &anyhow::Error) -> bool {
    let errno = error.downcast_ref().and_then(std::io::Error::raw_os_error);
    let has_no_link = errno
        .map(Errno::from_raw)
        .is_some_and(|errno| matches!(errno, Errno::ENODEV | Errno::ENXIO));
    has_no_link || error.downcast_ref().is_some_and(NsError::is_gone) || error.is::<Replaced>()
}

/// The kind that a socket serves: a packet socket is opened where UDP is not possible.
fn wanted_kind(kind: SocketKind) -> SocketKind {
    match kind {
        SocketKind::Packet(address) if !address.is_unspecified() => SocketKind::Udp(address),
        kind => kind,
    }
}

/// Returns the clients of an attachment, with their names.
fn clients(
    owner: &Owner,
    place: &Location,
    config: Config,
    recorded: Option<&BTreeMap<String, Value>>,
    start: Time,
    context: &Context,
) -> Vec<(&'static str, Box<dyn Client>)> {
    let mut clients: Vec<(&'static str, Box<dyn Client>)> = Vec::new();
    if let Some(settings) = config.ipv6.clone() {
        let setup = v6::Setup {
            settings,
            mac: place.mac,
            iaid: identity::iaid(owner),
            index: place.index,
            deadline: start + context.flags.timing().resend_timeout,
        };
        let ipv6 = match recorded {
            None => Ipv6Client::new(setup, start),
            Some(recorded) => Ipv6Client::resumed(setup, recorded.get("ipv6").cloned()),
        };
        clients.push(("ipv6", Box::new(ipv6)));
    }
    if !config.ipv4 {
        return clients;
    }
    let settings = Settings {
        hardware_type: place.hardware_type.to_be_bytes()[1],
        mac: place.mac,
        client_id: config.client_id(owner, place.mac),
        broadcast: context.flags.broadcast || place.shares_mac,
        timing: context.flags.timing(),
    };
    let ipv4 = match recorded {
        None => V4Client::new(config, settings, start),
        Some(recorded) => {
            let lease = recorded.get("ipv4").cloned().map(serde_json::from_value);
            V4Client::resumed(config, settings, lease.and_then(Result::ok), start)
        }
    };
    clients.insert(0, ("ipv4", Box::new(ipv4)));
    clients
}
