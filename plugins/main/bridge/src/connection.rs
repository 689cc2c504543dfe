//! The connection between container and bridge: addresses, link state, waiting for the port.

use crate::vlan_gateway::VlanGateway;
use crate::{CONTAINER_INTERFACE, Config, gateway_address};
use anyhow::{Context, bail};
use cni_core::quote::quote;
use cni_core::{AddResult, Call, Cidr, Code, Error};
use plugin_kit::link_options::interface;
use plugin_kit::veth::VethPair;
use plugin_kit::{Container, Undo, addressing, sysctl, wait};
use rtnl::{Handle, Link, LinkChange, OperState, Request};
use std::time::{Duration, Instant};

/// How long a port may take to pass frames after both of its ends are up, as in upstream.
/// The kernel handles carrier changes in the background, at worst once a second.
const DEADLINE: Duration = Duration::from_millis(2550);

/// A veth pair between a bridge and a container whose end is still down.
pub(crate) struct Connection<'a, 'h> {
    pub call: &'a Call,
    pub config: &'a Config,
    pub host: &'h Handle,
    pub container: &'a Container,
    pub bridge: &'a Link,
    pub pair: &'a VethPair,
}

impl<'h> Connection<'_, 'h> {
    /// Adds `gateways` to the host's side and the addresses and routes of `result` to the
    /// container's end, and brings that up. Returns the bridge as it is when frames pass.
    pub(crate) fn bring_up(
        &self,
        result: &mut AddResult,
        gateways: &[Cidr],
        undo: &mut Undo<'h>,
    ) -> anyhow::Result<Link> {
        let end = &self.pair.container;
        for ip in &result.ips {
            addressing::require_ipv6_mtu(ip.address, end)?;
        }
        let vlan_gateway = gateway_address::assign(
            self.host,
            self.bridge,
            &self.pair.host,
            gateways,
            self.config,
            undo,
        )?;
        if let Some(gateway) = &vlan_gateway {
            let interface = interface(self.call, &gateway.link, String::new());
            result.interfaces.push(interface);
        }
        self.container.run(|| self.set_sysctls(&end.name))?;
        let detect_duplicates = self.config.enable_dad;
        let number = CONTAINER_INTERFACE;
        addressing::apply(self.container, end, result, number, detect_duplicates)?;
        let bridge = self.wait_until_forwarding(vlan_gateway.as_ref())?;
        self.announce()?;
        Ok(bridge)
    }

    /// Brings up an attachment without IPAM. Returns the bridge as it is then.
    pub(crate) fn bring_up_without_addresses(&self) -> anyhow::Result<Link> {
        if self.config.disable_container_interface {
            self.require_port(&lookup(self.host, &self.pair.host)?)?;
            return lookup(self.host, self.bridge);
        }
        self.set_end_up()?;
        self.wait_until_forwarding(None)
    }

    /// Sysctls of the container's interface `name` while it is down: IPv6 duplicate
    /// address detection as configured, and announcements of the addresses when it comes
    /// up. Missing ones are no error: the kernel may have no IPv6.
    fn set_sysctls(&self, name: &str) {
        let ipv6 = |key: &str, value: &str| {
            let _ = sysctl::ensure(&format!("net/ipv6/conf/{name}/{key}"), value);
        };
        if self.config.enable_dad {
            ipv6("enhanced_dad", "1");
            ipv6("accept_dad", "1");
        } else {
            ipv6("accept_dad", "0");
        }
        ipv6("ndisc_notify", "1");
        let _ = sysctl::ensure(&format!("net/ipv4/conf/{name}/arp_notify"), "1");
    }

    /// Brings the container's end up.
    fn set_end_up(&self) -> anyhow::Result<()> {
        let up = LinkChange {
            up: Some(true),
            ..LinkChange::default()
        };
        let end = &self.pair.container;
        self.container
            .rtnl
            .request(Request::set_link(end.index, &up))
            .with_context(|| format!("failed to set {} up", quote(&end.name)))?;
        Ok(())
    }

    /// Waits until frames pass between the container and the bridge, and between the
    /// bridge and the host if it is a gateway, through `vlan_gateway` if there is one.
    /// Returns the bridge as it is then.
    fn wait_until_forwarding(&self, vlan_gateway: Option<&VlanGateway>) -> anyhow::Result<Link> {
        let (host, pair) = (self.host, self.pair);
        let until = Instant::now() + DEADLINE;
        let on_host = || Ok(Handle::subscribe_links()?);
        let port = wait::until_operational(host, &pair.host, until, on_host)?;
        if port.operstate != OperState::Up {
            return Err(self.error_state(&port).into());
        }
        wait::until_operational(&self.container.rtnl, &pair.container, until, || {
            Ok(self.container.run(Handle::subscribe_links)??)
        })?;
        for end in vlan_gateway.iter().flat_map(|gateway| gateway.ends()) {
            wait::until_operational(host, end, until, on_host)?;
        }
        // With its first working port a bridge comes up itself; until then the kernel drops
        // what the host sends through it. With the spanning tree protocol that takes half a
        // minute, as its administrator has chosen.
        let bridge = match self.config.is_gateway {
            true => wait::until_operational(host, self.bridge, until, on_host)?,
            false => lookup(host, self.bridge)?,
        };
        self.require_port(&port)?;
        Ok(bridge)
    }

    /// The message is upstream's.
    fn error_state(&self, port: &Link) -> Error {
        let msg = format!("bridge port in error state: {}", port.operstate.as_str());
        let (port, bridge) = (quote(&port.name), quote(&self.bridge.name));
        Error::new(Code::INTERNAL, msg).with_details(format!("port {port} of bridge {bridge}"))
    }

    /// Requires that `port` still belongs to the bridge: a failing ADD of another container
    /// may have deleted the bridge that it created.
    fn require_port(&self, port: &Link) -> anyhow::Result<()> {
        if port.master != Some(self.bridge.index) {
            bail!(
                "{} is no longer a port of bridge {}",
                quote(&port.name),
                quote(&self.bridge.name)
            );
        }
        Ok(())
    }

    /// Announces the container's addresses to its neighbours.
    ///
    /// The kernel does so when the link comes up, but the port may not pass frames at that
    /// time. It repeats the announcement when the MAC address is set, be it to the same
    /// value.
    fn announce(&self) -> anyhow::Result<()> {
        let end = &self.pair.container;
        let same = LinkChange {
            mac: Some(end.mac.clone()),
            ..LinkChange::default()
        };
        self.container
            .rtnl
            .request(Request::set_link(end.index, &same))
            .with_context(|| format!("failed to announce the addresses of {}", quote(&end.name)))?;
        Ok(())
    }
}

fn lookup(host: &Handle, link: &Link) -> anyhow::Result<Link> {
    host.link_by_index(link.index)
        .with_context(|| format!("failed to lookup {}", quote(&link.name)))
}
