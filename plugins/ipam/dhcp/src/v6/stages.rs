//! The stages of acquiring IPv6 addresses, each with its own timer.

use std::net::Ipv6Addr;
use std::time::Duration;

use cni_core::Cidr;

use super::dhcp::Event;
use super::lease::{Address, Lease};
use super::router::{self, Advertisement};
use super::{Ipv6Client, Mode, probe};
use crate::client::{Configuration, Output, Progress};
use crate::time::Time;

/// All routers of the link.
const ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// Number of router solicitations and time between them (RFC 4861, 10).
const ROUTER_SOLICITATIONS: u32 = 3;
const ROUTER_INTERVAL: Duration = Duration::from_secs(4);

/// How long other information is waited for: it is not worth failing for.
const INFORMATION: Duration = Duration::from_secs(3);

/// Probes of an address, and the time after each in which an answer counts: together the second of RFC 4861, 10
/// (`RETRANS_TIMER`).
const PROBES: u32 = 2;
const PROBE_INTERVAL: Duration = Duration::from_millis(500);

/// What an acquisition waits for.
#[derive(Debug)]
pub(super) enum Stage {
    /// A router advertisement.
    Routers { sent: u32, due: Time },
    /// A DHCPv6 lease.
    Dhcp,
    /// Other information by DHCPv6, until this time.
    Information { until: Time },
    /// Other nodes that use one of the addresses.
    Probe {
        targets: Vec<Ipv6Addr>,
        sent: u32,
        due: Time,
    },
    /// Nothing but the times of the lease.
    Settled,
}

impl Stage {
    pub(super) fn wake(&self) -> Option<Time> {
        match self {
            Stage::Routers { due, .. } | Stage::Probe { due, .. } => Some(*due),
            Stage::Information { until } => Some(*until),
            Stage::Dhcp | Stage::Settled => None,
        }
    }

    /// The stage's name for `dhcp status`, unless it is that of the DHCPv6 client's state.
    pub(super) fn name(&self) -> Option<&'static str> {
        match self {
            Stage::Routers { .. } => Some("soliciting routers"),
            Stage::Probe { .. } => Some("probing"),
            _ => None,
        }
    }
}

impl Ipv6Client {
    pub(super) fn begin(&mut self, now: Time) {
        if self.setup.settings.mode == Mode::Dhcp {
            self.stage = Stage::Dhcp;
            self.dhcp.solicit(now);
            return;
        }
        // Not before the interface plugin has added the addresses, see `slaac`.
        self.outputs.push(Output::Autoconf(false));
        self.stage = Stage::Routers { sent: 0, due: now };
    }

    /// Does what is due, except for the DHCPv6 client.
    pub(super) fn advance(&mut self, now: Time) {
        if self.slaac.is_handed_over(now) {
            self.outputs.push(Output::Autoconf(true));
        }
        if self.progress == Progress::Acquiring && now >= self.setup.deadline {
            return self.fail("no IPv6 address within the time allowed".into());
        }
        match self.stage {
            Stage::Routers { sent, due } if due <= now => self.solicit_routers(sent, now),
            Stage::Information { until } if until <= now => self.probe(now),
            Stage::Probe { sent, due, .. } if due <= now => self.send_probes(sent, now),
            _ => {}
        }
    }

    pub(super) fn fail(&mut self, why: String) {
        self.stage = Stage::Settled;
        self.dhcp.stop();
        self.progress = match self.setup.settings.required {
            true => Progress::Failed(why),
            false => {
                self.outputs.push(Output::Note(why));
                Progress::Bound
            }
        };
    }

    fn solicit_routers(&mut self, sent: u32, now: Time) {
        if sent == ROUTER_SOLICITATIONS {
            return self.fail(
                "no router advertisement offers IPv6 addresses; \"ipv6\": {\"mode\": \"dhcp\"} does without"
                    .into(),
            );
        }
        self.send_icmp(ROUTERS, router::solicitation());
        self.stage = Stage::Routers {
            sent: sent + 1,
            due: now + ROUTER_INTERVAL,
        };
    }

    pub(super) fn router_advertised(&mut self, packet: &[u8], now: Time) {
        let Ok(Some(advertisement)) = Advertisement::decode(packet) else {
            return;
        };
        let leases = advertisement.managed && self.setup.settings.mode == Mode::Auto;
        let informs = advertisement.other || advertisement.managed;
        if !leases && advertisement.prefixes.is_empty() {
            // Another router may have more to offer.
            return;
        }
        self.slaac.learn(advertisement, self.link_local);
        if leases {
            self.stage = Stage::Dhcp;
            self.dhcp.solicit(now);
        } else if informs {
            self.stage = Stage::Information {
                until: now + INFORMATION,
            };
            self.dhcp.inform(now);
        } else {
            self.probe(now);
        }
        self.dhcp.tick(now);
        self.follow_dhcp(now);
    }

    /// Carries out what the DHCPv6 client has to report.
    pub(super) fn follow_dhcp(&mut self, now: Time) {
        for event in self.dhcp.take_events() {
            match event {
                Event::Send(datagram) => self.send_dhcp(datagram),
                Event::Leased(lease) => self.leased(&lease, now),
                Event::Informed(reply) => {
                    self.slaac.dns.splice(0..0, reply.dns);
                    self.slaac.search.splice(0..0, reply.search);
                    self.probe(now);
                }
                Event::Expired => self.expired(),
                // After a decline the server is asked for another address.
                Event::Done if matches!(self.stage, Stage::Dhcp) => self.dhcp.solicit_later(now),
                Event::Done => {}
                Event::Note(note) => self.outputs.push(Output::Note(note)),
            }
        }
    }

    fn leased(&mut self, lease: &Lease, now: Time) {
        let known = |address: &Address| {
            let held = self.lease.iter().flat_map(|lease| &lease.addresses);
            held.into_iter().any(|held| held.address == address.address)
        };
        match lease.addresses.iter().all(known) {
            true => self.accept(now),
            false => self.probe(now),
        }
    }

    /// Looks for other nodes that use the addresses.
    fn probe(&mut self, now: Time) {
        self.dhcp.stop_informing();
        if !self.setup.settings.dad {
            return self.accept(now);
        }
        let held: Vec<Ipv6Addr> = self.lease.iter().flat_map(lease_addresses).collect();
        let leased = self.dhcp.lease().into_iter().flat_map(lease_addresses);
        let formed = match self.progress {
            Progress::Acquiring => &self.slaac.addresses[..],
            // Formed, probed and handed over long ago.
            _ => &[],
        };
        let targets = leased.chain(formed.iter().copied());
        let targets = targets.filter(|target| !held.contains(target)).collect();
        self.stage = Stage::Probe {
            targets,
            sent: 0,
            due: now,
        };
        self.send_probes(0, now);
    }

    fn send_probes(&mut self, sent: u32, now: Time) {
        let Stage::Probe { targets, .. } = &self.stage else {
            return;
        };
        if sent == PROBES {
            return self.accept(now);
        }
        let targets = targets.clone();
        for target in &targets {
            let packet = probe::solicitation(*target, self.setup.mac.unwrap_or_default());
            self.send_icmp(probe::destination(*target), packet);
        }
        self.stage = Stage::Probe {
            targets,
            sent: sent + 1,
            due: now + PROBE_INTERVAL,
        };
    }

    pub(super) fn neighbour_advertised(&mut self, packet: &[u8], now: Time) {
        let Stage::Probe { targets, .. } = &self.stage else {
            return;
        };
        let Some(taken) = probe::advertised(packet).filter(|target| targets.contains(target))
        else {
            return;
        };
        let note = format!("another node uses {taken}");
        self.outputs.push(Output::Note(note.clone()));
        let leased = self
            .dhcp
            .lease()
            .is_some_and(|lease| lease_addresses(lease).any(|a| a == taken));
        if leased {
            self.stage = Stage::Dhcp;
            self.dhcp.decline(now);
            self.dhcp.tick(now);
            return self.follow_dhcp(now);
        }
        self.slaac.addresses.retain(|address| *address != taken);
        if self.slaac.addresses.is_empty() && self.dhcp.lease().is_none() {
            self.fail(note);
        }
    }

    /// Takes the probed addresses into use.
    fn accept(&mut self, now: Time) {
        self.stage = Stage::Settled;
        let before = std::mem::replace(&mut self.lease, self.dhcp.lease().cloned());
        if self.progress == Progress::Acquiring {
            self.progress = Progress::Bound;
            if !self.slaac.addresses.is_empty() {
                // The kernel may have formed them before its autoconfiguration was off.
                let formed: Vec<Cidr> = self.slaac.addresses().collect();
                self.outputs.extend(formed.into_iter().map(Output::Remove));
                self.slaac.hand_over_from(now);
            }
        } else {
            self.apply(before.as_ref(), now);
        }
        self.outputs.push(Output::Save);
    }

    /// Makes the interface's addresses those of the lease.
    fn apply(&mut self, before: Option<&Lease>, now: Time) {
        let lease = self.lease.clone();
        let current: Vec<&Address> = lease.iter().flat_map(|lease| &lease.addresses).collect();
        for old in before.into_iter().flat_map(lease_addresses) {
            if !current.iter().any(|new| new.address == old) {
                self.outputs.push(Output::Remove(self.cidr(old)));
            }
        }
        for new in current {
            self.outputs.push(Output::Configure(Configuration {
                address: self.cidr(new.address),
                valid: new.valid_until.map(|time| time - now),
                preferred: new.preferred_until.map(|time| time - now),
                gateway: None,
                routes: Vec::new(),
            }));
        }
    }

    /// The lease has ended: its addresses must not be used any more.
    fn expired(&mut self) {
        for old in self.lease.take().iter().flat_map(lease_addresses) {
            self.outputs.push(Output::Remove(self.cidr(old)));
        }
        if self.progress == Progress::Bound {
            let note = "the DHCPv6 lease has ended; its addresses are removed".to_owned();
            self.outputs.push(Output::Note(note));
            self.stage = Stage::Dhcp;
            self.outputs.push(Output::Save);
        }
    }
}

fn lease_addresses(lease: &Lease) -> impl Iterator<Item = Ipv6Addr> {
    lease.addresses.iter().map(|address| address.address)
}
