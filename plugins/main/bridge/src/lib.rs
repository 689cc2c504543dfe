//! The bridge plugin: a veth pair whose host end is a port of a bridge, which
//! may carry the gateway addresses of the network.

mod check;
mod config;
mod filters;
mod gateway;
mod guard;
mod port;
mod spoof_check;
mod trunk;
mod uplink;
mod vlan;
mod vlan_gateway;

pub use config::Config;
pub use guard::Guard;
pub use vlan::PortVlans;

use anyhow::{Context, anyhow};
use cni_core::quote::quote;
use cni_core::{AddResult, Call, Code, Command, Error, Plugin};
use plugin_kit::failures::Failures;
use plugin_kit::join::join;
use plugin_kit::link_options::interface;
use plugin_kit::veth;
use plugin_kit::{Container, Ipam, Undo, addressing, forwarding, refuse_inexpressible, sysctl};
use rtnl::Handle;

/// The plugin.
#[derive(Debug)]
pub struct Bridge;

/// Where the container's interface stands in a result: after the bridge and the
/// host's end. Plugins further down the chain rely on it.
const CONTAINER_INTERFACE: usize = 2;

impl Plugin for Bridge {
    fn name(&self) -> &'static str {
        "bridge"
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        let ipam = Ipam::of(call);
        refuse_inexpressible(call, ipam.is_some())?;
        // It does nothing until it is told what, and starts while we look about.
        if let Some(ipam) = &ipam {
            ipam.start(Command::Add);
        }
        let ready = filters::require(call, &config, ipam.is_some())?;
        let container = Container::open(call)?;
        veth::refuse_existing(&container, &call.if_name)?;
        let host = Handle::open().context("failed to talk to the host's kernel")?;

        let mut undo = Undo::new();
        let (bridge, pair) = uplink::plug_in(&host, &container, call, &config, &mut undo)?;
        port::configure(&host, &bridge, &pair.host, &config)?;
        let mut record = filters::new_record(call, &mut undo)?;
        // Before the container's end is up, so that no frame passes unlooked at.
        if config.mac_spoof_check {
            spoof_check::set_up(call, &pair.host, &pair.container, &mut record, &mut undo)?;
        }
        if config.guard.is_wanted() {
            config
                .guard
                .set_up(call, &pair.host, &mut record, &mut undo)?;
        }

        let mut result = AddResult::default();
        if let Some(ipam) = &ipam {
            result = ipam.add()?;
            undo.push("release the addresses", || ipam.del());
        }
        let gateways = gateway::derive(&mut result, &config)?;
        // In the order that every release has had.
        result.interfaces = vec![
            interface(call, &bridge, String::new()),
            interface(call, &pair.host, String::new()),
            interface(call, &pair.container, call.sandbox()),
        ];
        let plan = match &config.masquerade {
            Some(masquerade) if ipam.is_some() => {
                masquerade.plan(call, &result.ips, ready, record, &mut undo)
            }
            _ => None,
        };
        let mut connect = || {
            let mut vlan_gateway = None;
            if ipam.is_some() {
                vlan_gateway =
                    gateway::assign(&host, &bridge, &pair.host, &gateways, &config, &mut undo)?;
                let in_vlan = vlan_gateway.as_ref();
                result
                    .interfaces
                    .extend(in_vlan.map(|found| interface(call, &found.link, String::new())));
                container.run(|| announce_and_detect(&call.if_name, &config))?;
                let target = &pair.container;
                addressing::apply(
                    &container,
                    target,
                    &result,
                    CONTAINER_INTERFACE,
                    config.enable_dad,
                )?;
            } else if !config.disable_container_interface {
                port::set_up(&container, &pair.container)?;
            }
            match config.disable_container_interface {
                true => port::verify(&host, &bridge, &pair.host),
                false => port::wait_until_forwarding(
                    &host,
                    &bridge,
                    &pair,
                    &container,
                    &config,
                    vlan_gateway.as_ref(),
                ),
            }
        };
        // Its hardware address and its MTU may have followed a port.
        let bridge = match plan {
            None => connect()?,
            Some(plan) => {
                // Both wait most of the time.
                let (masqueraded, connected) = join(|| plan.carry_out(), connect);
                let bridge = connected?;
                masqueraded?;
                bridge
            }
        };
        result.interfaces[0] = interface(call, &bridge, String::new());
        if ipam.is_some() {
            port::announce(&container, &pair.container)?;
        }
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
        // Nothing of the configuration but the IPAM type is needed, so nothing
        // else in it can stand in the way. Each step is tried whatever became of
        // the other.
        let ipam = Ipam::of(call);
        if let Some(ipam) = &ipam {
            ipam.start(Command::Del);
        }
        let filters = filters::Leaving::of(call);
        let unplug = || {
            let container = Container::open_for_del(call)?;
            container.map_or(Ok(()), |container| veth::delete(&container, &call.if_name))
        };
        let release = || ipam.map_or(Ok(()), |ipam| ipam.del());
        let (unplugged, released) = match filters {
            None => (unplug(), release()),
            Some(filters) => filters.tear_down_while(|| (unplug(), release())),
        };
        match (unplugged, released) {
            (Err(e), Err(also)) => Err(anyhow!(
                "{e:#}; releasing the addresses failed too: {also:#}"
            )),
            (unplugged, released) => unplugged.and(released),
        }
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        check::run(call)
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        // The veth pair dies with either end's namespace; leases and packet filters
        // outlive it.
        let mut failures = Failures::default();
        failures.add(Ipam::of(call).map_or(Ok(()), |ipam| ipam.gc()));
        failures.add(filters::collect(call));
        failures.result()
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        match Handle::open()?.link_by_name(&config.bridge) {
            Ok(link) if !link.is_kind("bridge") => {
                let msg = format!(
                    "{} already exists but is not a bridge",
                    quote(&config.bridge)
                );
                return Err(Error::new(Code::PLUGIN_NOT_AVAILABLE, msg).into());
            }
            Ok(link) if config.vlans.is_some() => {
                vlan::require_support(&link, Code::PLUGIN_NOT_AVAILABLE)?;
            }
            Err(e) if !e.is_not_found() => {
                return Err(
                    anyhow!(e).context(format!("could not lookup {}", quote(&config.bridge)))
                );
            }
            _ => {}
        }
        filters::status(&config, call)?;
        Ipam::of(call).map_or(Ok(()), |ipam| ipam.status())
    }
}

/// Sysctls of the container's interface, while it is down: IPv6 duplicate address
/// detection as configured, and neighbours told of the addresses when it comes up.
/// Missing ones are no error, the kernel may be built without IPv6.
fn announce_and_detect(name: &str, config: &Config) {
    let ipv6 = |key: &str, value: &str| {
        let _ = sysctl::ensure(&format!("net/ipv6/conf/{name}/{key}"), value);
    };
    if config.enable_dad {
        ipv6("enhanced_dad", "1");
        ipv6("accept_dad", "1");
    } else {
        ipv6("accept_dad", "0");
    }
    ipv6("ndisc_notify", "1");
    let _ = sysctl::ensure(&format!("net/ipv4/conf/{name}/arp_notify"), "1");
}
