//! The bridge plugin: a veth pair whose host end is a port of a bridge, which may have
//! the gateway addresses of the network.

mod bridge;
mod bridge_changes;
mod check;
mod config;
mod connection;
mod filters;
mod gateway;
mod gateway_address;
mod port;
mod ra_dhcp_guard;
mod repair;
mod spoof_check;
mod trunk;
mod vlan;
mod vlan_gateway;

pub use config::Config;
pub use ra_dhcp_guard::Guards;
pub use vlan::PortVlans;

use anyhow::Context;
use cni_core::confine::Needs;
use cni_core::{AddResult, Call, Plugin};
use connection::Connection;
use plugin_kit::failures::Failures;
use plugin_kit::link_options::interface;
use plugin_kit::masquerade::Plan;
use plugin_kit::{
    Container, Ipam, Undo, forwarding, ipam, masquerade, refuse_inexpressible, released,
    single_interface, veth,
};
use rtnl::Handle;

/// The plugin.
#[derive(Debug)]
pub struct Bridge;

/// The index of the container's interface in a result: after the bridge and the host's
/// end. Plugins further down the chain rely on it.
const CONTAINER_INTERFACE: usize = 2;

impl Plugin for Bridge {
    fn name(&self) -> &'static str {
        "bridge"
    }

    fn needs(&self, call: &Call) -> Option<Needs> {
        Some(masquerade::needs(ipam::needs(call)?, call))
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        let ipam = Ipam::of(call);
        refuse_inexpressible(call, ipam.is_some())?;
        let ready = filters::require(call, &config, ipam.is_some())?;
        let container = Container::open(call)?;
        veth::refuse_existing(&container, &call.if_name)?;
        let host = Handle::open().context("failed to talk to the host's kernel")?;

        let mut undo = Undo::new();
        let (bridge, pair) = bridge::attach(&host, &container, call, &config, &mut undo)?;
        port::configure(&host, &bridge, &pair.host, &config)?;
        // Before the container's end is up, so that no frame passes unfiltered.
        let record = filters::create(call, &config, &bridge, &pair, &mut undo)?;

        let mut result = match &ipam {
            Some(ipam) => ipam.add(&mut undo)?,
            None => AddResult::default(),
        };
        let gateways = gateway::derive(&mut result, &config)?;
        // The order is that of all of upstream's releases.
        result.interfaces = vec![
            interface(call, &bridge, String::new()),
            interface(call, &pair.host, String::new()),
            interface(call, &pair.container, call.sandbox()),
        ];
        let masquerade = config.masquerade.as_ref().filter(|_| ipam.is_some());
        let plan = masquerade.and_then(|m| m.plan(call, &result.ips, ready, record, &mut undo));
        let connection = Connection {
            call,
            config: &config,
            host: &host,
            container: &container,
            bridge: &bridge,
            pair: &pair,
        };
        let bridge = match ipam {
            Some(_) => connection.bring_up(&mut result, &gateways, &mut undo),
            None => connection.bring_up_without_addresses(),
        }?;
        plan.map_or(Ok(()), Plan::create)?;
        // The MAC address and the MTU of a bridge may follow its ports.
        result.interfaces[0] = interface(call, &bridge, String::new());
        if config.is_gateway {
            // Last, because it cannot be undone: others may rely on it by then.
            forwarding::enable(&result.ips)?;
        }
        if let Some(dns) = config.dns {
            result.dns = dns;
        }
        undo.disarm();
        Ok(result)
    }

    fn del(&self, call: &Call) -> anyhow::Result<()> {
        // Of the configuration only the IPAM type is needed, so that no other key can
        // keep a container from being deleted. Every step is tried.
        let filters = filters::Teardown::of(call);
        single_interface::del_while(call, |container| {
            let mut failures = Failures::default();
            failures.add(filters.map_or(Ok(()), filters::Teardown::delete));
            failures.add(veth::del_without(container, call));
            failures.result()
        })
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        check::run(call)
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        let mut failures = Failures::default();
        // First, since a DHCP client sends its release through the interface.
        failures.add(Ipam::of(call).map_or(Ok(()), |ipam| ipam.gc()));
        failures.add(veth::collect(call));
        failures.add(filters::collect(call));
        failures.add(released::del_each(call, |del| self.del(del)));
        failures.result()
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        bridge::probe(&Handle::open()?, &config)?;
        if config.is_gateway {
            forwarding::probe(call)?;
        }
        filters::probe(call, &config)?;
        Ipam::of(call).map_or(Ok(()), |ipam| ipam.status())
    }
}
