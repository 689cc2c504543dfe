//! A protocol's client for one interface, as the event loop sees it.

use crate::time::Time;
use cni_core::{AddResult, Cidr, Route};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::time::Duration;

/// A client of DHCPv4 or DHCPv6, or one that waits for router advertisements.
///
/// Clients do no input or output: time and datagrams come in as arguments, and what is to
/// be done goes out as [`Output`]. After each call the event loop opens or closes the
/// socket by [`Client::socket`], and carries out what [`Client::take`] returns.
pub(crate) trait Client {
    /// Takes a datagram of the socket; `mac` is the sender's hardware address, if the socket
    /// knows it.
    fn received(&mut self, now: Time, datagram: &[u8], mac: Option<Mac>);

    /// Does what is due at `now`; called at or after [`Client::wake`].
    fn tick(&mut self, now: Time);

    /// Returns when [`Client::tick`] has something to do.
    fn wake(&self) -> Option<Time>;

    /// Returns the socket on which the client waits for datagrams in its state.
    fn socket(&self) -> Option<SocketKind>;

    /// Tells the link-local address of the interface, when an IPv6 socket has been opened.
    fn opened(&mut self, _link_local: Ipv6Addr) {}

    /// Takes what is to be done, in order.
    fn take(&mut self) -> Vec<Output>;

    /// Gives the lease back. The client then does nothing but wait for the server to confirm
    /// that, while [`Client::is_leaving`].
    fn release(&mut self, now: Time);

    /// Whether the release has still to be confirmed, and may be sent again.
    fn is_leaving(&self) -> bool {
        false
    }

    /// Returns how far the client is.
    fn progress(&self) -> Progress;

    /// Adds addresses, routes and DNS configuration of the lease to a result.
    fn add_to(&self, result: &mut AddResult);

    /// Returns what a restarted daemon needs to go on with the lease; `None` without one.
    fn record(&self) -> Option<serde_json::Value>;

    /// Returns the lease for `dhcp status`.
    fn status(&self, now: Time) -> Status;
}

/// An Ethernet address.
pub(crate) type Mac = [u8; 6];

/// How far a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It has no lease yet.
    Acquiring,
    /// It has a lease, or there is nothing to lease.
    Bound,
    /// It cannot get a lease within the time allowed, and has stopped.
    Failed(String),
}

/// Something that a client wants done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Output {
    /// Sends a datagram by the socket.
    Send(Datagram),
    /// Configures the address, with its routes, or extends its lifetime. Not done for the
    /// first lease: the interface plugin configures that.
    Configure(Configuration),
    /// Removes the address.
    Remove(Cidr),
    /// Sets the MTU of the interface.
    SetMtu(u32),
    /// Has the kernel form addresses from prefixes of router advertisements, or not.
    Autoconf(bool),
    /// Writes the record anew.
    Save,
    /// Logs a line, with the attachment's name.
    Note(String),
}

/// An address of a lease, for the interface.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Configuration {
    /// The address.
    pub(crate) address: Cidr,
    /// How long the address is valid; `None` without end.
    pub(crate) valid: Option<Duration>,
    /// How long it is preferred; `None` as long as it is valid.
    pub(crate) preferred: Option<Duration>,
    /// The gateway of routes that have none of their own.
    pub(crate) gateway: Option<IpAddr>,
    /// The routes that go with it.
    pub(crate) routes: Vec<Route>,
}

/// A datagram to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    /// The message.
    pub(crate) payload: Vec<u8>,
    /// Where to.
    pub(crate) to: Destination,
    /// The kind of socket; if it is not the one that is open, one is opened for this.
    pub(crate) by: SocketKind,
}

/// The destination of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A DHCPv4 server, port 67, or all of them: 255.255.255.255.
    V4(Ipv4Addr),
    /// A DHCPv4 server, by way of the station with this hardware address.
    V4Via(Ipv4Addr, Mac),
    /// Any address and port of IPv6, on the link.
    V6(SocketAddrV6),
    /// ARP, on the link.
    Arp,
}

/// A kind of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketKind {
    /// A packet socket for DHCPv4, which needs no address; the argument is the source
    /// address of what is sent.
    Packet(Ipv4Addr),
    /// A UDP socket for DHCPv4, from this address of the interface.
    Udp(Ipv4Addr),
    /// A packet socket for ARP.
    Arp,
    /// A UDP socket for DHCPv6, from the link-local address.
    Udp6,
    /// A raw socket for router and neighbour discovery.
    Icmp6,
}

/// A line of `dhcp status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// State of the client, by RFC 2131: `bound`, `renewing`, ...
    pub(crate) state: &'static str,
    /// The address.
    pub(crate) address: Option<Cidr>,
    /// The server.
    pub(crate) server: Option<IpAddr>,
    /// When the lease ends; `None` for never, or without a lease.
    pub(crate) expires_in: Option<Duration>,
    /// When it is renewed.
    pub(crate) renews_in: Option<Duration>,
}
