//! IPv6 configuration of one interface: router advertisements, DHCPv6, duplicate address detection.
//!
//! ```text
//! mode "dhcp" -----------------------------.
//!                                          v
//! mode "auto" ----> routers --- M flag --> DHCPv6 ---> probe ---> settled
//! mode "slaac" -->          --- O flag --> information ----^         |
//!                           --- neither -------------------'         v
//!                                                    renewals, and a probe of each new address
//! ```

mod dhcp;
mod lease;
mod message;
mod probe;
mod replies;
mod retransmit;
mod router;
mod settings;
mod slaac;
mod socket;
mod stages;
#[cfg(test)]
mod tests;
mod wire;

use std::net::{Ipv6Addr, SocketAddrV6};

use cni_core::{AddResult, Cidr, IpConfig};
use serde::{Deserialize, Serialize};

use crate::client::{Client, Datagram, Destination, Mac, Output, Progress, SocketKind, Status};
use crate::identity;
use crate::time::Time;
use dhcp::DhcpClient;
use dhcp::Identity;
use lease::Lease;
use settings::Mode;
pub(crate) use settings::Settings;
use slaac::Slaac;
pub(crate) use socket::Socket6;
use stages::Stage;

/// All DHCPv6 servers and relay agents of the link, and the port of servers (RFC 8415, 7.1 and 7.2).
const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
const SERVER_PORT: u16 = 547;

/// What is to be acquired, and for which interface.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) settings: Settings,
    /// Hardware address of the interface, if it is an Ethernet address.
    pub(crate) mac: Option<Mac>,
    pub(crate) iaid: u32,
    pub(crate) index: u32,
    /// When an acquisition that has not succeeded ends.
    pub(crate) deadline: Time,
}

/// The IPv6 client of one attachment.
#[derive(Debug)]
pub(crate) struct Ipv6Client {
    setup: Setup,
    /// The link-local address, whose interface identifier formed addresses have.
    link_local: Option<Ipv6Addr>,
    stage: Stage,
    progress: Progress,
    dhcp: DhcpClient,
    slaac: Slaac,
    /// The DHCPv6 lease whose addresses have been probed.
    lease: Option<Lease>,
    outputs: Vec<Output>,
}

/// What outlives the daemon.
#[derive(Serialize, Deserialize)]
struct Record {
    lease: Option<Lease>,
    slaac: Slaac,
}

impl Ipv6Client {
    /// A client that begins to acquire addresses.
    pub(crate) fn new(setup: Setup, now: Time) -> Ipv6Client {
        let mut client = Ipv6Client::idle(setup);
        match client.setup.mac {
            Some(_) => client.begin(now),
            None => client.fail("IPv6 needs an interface with an Ethernet address".into()),
        }
        client
    }

    /// A client that goes on with what [`Client::record`] returned. Without it, it has nothing and does nothing.
    pub(crate) fn resumed(setup: Setup, record: Option<serde_json::Value>) -> Ipv6Client {
        let mut client = Ipv6Client::idle(setup);
        client.progress = Progress::Bound;
        let record = record.map(serde_json::from_value::<Record>);
        if let Some(record) = record.and_then(Result::ok) {
            client.slaac = record.slaac;
            client.lease.clone_from(&record.lease);
            if let Some(lease) = record.lease {
                client.dhcp.resume(lease);
            }
        }
        client
    }

    fn idle(setup: Setup) -> Ipv6Client {
        let mac = setup.mac.unwrap_or_default();
        let identity = Identity {
            duid: identity::duid_ll(mac),
            iaid: setup.iaid,
        };
        Ipv6Client {
            dhcp: DhcpClient::new(identity, setup.settings.rapid_commit),
            setup,
            link_local: None,
            stage: Stage::Settled,
            progress: Progress::Acquiring,
            slaac: Slaac::default(),
            lease: None,
            outputs: Vec::new(),
        }
    }

    /// Sends a DHCPv6 message to all servers.
    fn send_dhcp(&mut self, payload: Vec<u8>) {
        self.send(SERVERS, SERVER_PORT, payload, SocketKind::Udp6);
    }

    /// Sends an ICMPv6 message.
    fn send_icmp(&mut self, to: Ipv6Addr, payload: Vec<u8>) {
        self.send(to, 0, payload, SocketKind::Icmp6);
    }

    fn send(&mut self, to: Ipv6Addr, port: u16, payload: Vec<u8>, by: SocketKind) {
        let to = Destination::V6(SocketAddrV6::new(to, port, 0, self.setup.index));
        self.outputs
            .push(Output::Send(Datagram { payload, to, by }));
    }

    /// A DHCPv6 address with the configured prefix length.
    fn cidr(&self, address: Ipv6Addr) -> Cidr {
        let cidr = Cidr::new(address.into(), self.setup.settings.prefix_length);
        cidr.unwrap_or(Cidr::host(address.into()))
    }
}

impl Client for Ipv6Client {
    fn received(&mut self, now: Time, datagram: &[u8], _: Option<Mac>) {
        match &self.stage {
            Stage::Routers { .. } => self.router_advertised(datagram, now),
            Stage::Probe { .. } => self.neighbour_advertised(datagram, now),
            Stage::Dhcp | Stage::Information { .. } | Stage::Settled => {
                self.dhcp.received(datagram, now);
                self.follow_dhcp(now);
            }
        }
    }

    fn opened(&mut self, link_local: Ipv6Addr) {
        self.link_local = Some(link_local);
    }

    fn tick(&mut self, now: Time) {
        self.advance(now);
        self.dhcp.tick(now);
        self.follow_dhcp(now);
    }

    fn wake(&self) -> Option<Time> {
        let deadline = (self.progress == Progress::Acquiring).then_some(self.setup.deadline);
        let times = [
            deadline,
            self.stage.wake(),
            self.slaac.wake(),
            self.dhcp.wake(),
        ];
        times.into_iter().flatten().min()
    }

    fn socket(&self) -> Option<SocketKind> {
        match self.stage {
            Stage::Routers { .. } | Stage::Probe { .. } => Some(SocketKind::Icmp6),
            _ => self.dhcp.is_listening().then_some(SocketKind::Udp6),
        }
    }

    fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    fn release(&mut self, now: Time) {
        self.stage = Stage::Settled;
        if self.slaac.is_handed_over_at_last() {
            self.outputs.push(Output::Autoconf(true));
        }
        self.dhcp.release(now);
        self.dhcp.tick(now);
        self.follow_dhcp(now);
    }

    fn is_leaving(&self) -> bool {
        self.dhcp.is_releasing()
    }

    fn progress(&self) -> Progress {
        self.progress.clone()
    }

    fn add_to(&self, result: &mut AddResult) {
        let leased = self.lease.iter().flat_map(|lease| &lease.addresses);
        let leased = leased.map(|address| self.cidr(address.address));
        let all = self.slaac.addresses().chain(leased);
        result.ips.extend(all.map(IpConfig::new));
        let lease = self.lease.as_ref();
        let servers = lease.map_or(&[][..], |lease| &lease.dns);
        let search = lease.map_or(&[][..], |lease| &lease.search);
        for server in servers.iter().chain(&self.slaac.dns) {
            add_new(&mut result.dns.nameservers, server.to_string());
        }
        for name in search.iter().chain(&self.slaac.search) {
            add_new(&mut result.dns.search, name.clone());
        }
    }

    fn record(&self) -> Option<serde_json::Value> {
        if self.progress != Progress::Bound {
            return None;
        }
        let record = Record {
            lease: self.lease.clone(),
            slaac: self.slaac.clone(),
        };
        serde_json::to_value(record).ok()
    }

    fn status(&self, now: Time) -> Status {
        let lease = self.lease.as_ref();
        let leased = lease.and_then(|lease| lease.addresses.first());
        let address = leased.map(|address| self.cidr(address.address));
        let left = |time: Option<Time>| time.map(|time| time - now);
        Status {
            state: self.stage.name().unwrap_or(self.dhcp.state()),
            address: address.or_else(|| self.slaac.addresses().next()),
            server: None,
            expires_in: left(lease.and_then(Lease::end)),
            renews_in: left(lease.and_then(|lease| lease.renew_at)),
        }
    }
}

/// Decodes bytes as any of the messages that the client receives.
pub(crate) fn decode_any(bytes: &[u8]) {
    let _ = message::Message::decode(bytes);
    let _ = router::Advertisement::decode(bytes);
    probe::advertised(bytes);
}

fn add_new(list: &mut Vec<String>, item: String) {
    if !list.contains(&item) {
        list.push(item);
    }
}
