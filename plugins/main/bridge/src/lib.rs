//! The bridge plugin: a veth pair whose host end is a port of a bridge, which
//! may carry the gateway addresses of the network.

mod check;
mod config;
mod gateway;
mod port;
mod uplink;

pub use config::Config;

use anyhow::{Context, anyhow};
use cni_core::quote::quote;
use cni_core::{AddResult, Call, Code, Command, Error, Interface, Plugin};
use plugin_kit::veth;
use plugin_kit::{Container, Ipam, Undo, addressing, forwarding, refuse_inexpressible, sysctl};
use rtnl::{Handle, Link};

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
        let container = Container::open(call)?;
        veth::refuse_existing(&container, &call.if_name)?;
        let host = Handle::open().context("failed to talk to the host's kernel")?;

        if let Some(ipam) = &ipam {
            ipam.start(Command::Add);
        }
        let mut undo = Undo::new();
        let (bridge, pair) = uplink::plug_in(&host, &container, call, &config, &mut undo)?;
        port::configure(&host, &pair.host, &config)?;

        let mut result = AddResult::default();
        if let Some(ipam) = &ipam {
            result = ipam.add()?;
            undo.push("release the addresses", || ipam.del());
        }
        let gateways = gateway::derive(&mut result, &config)?;
        result.interfaces = interfaces(call, &bridge, &pair.host, &pair.container);
        if ipam.is_some() {
            gateway::assign(&host, &bridge, &pair.host, &gateways, &config, &mut undo)
                .context("failed to set bridge addr")?;
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
        // Its hardware address may have followed a port until it was pinned.
        let bridge = match config.disable_container_interface {
            true => port::verify(&host, &bridge, &pair.host)?,
            false => port::wait_until_forwarding(&host, &bridge, &pair, &container, &config)?,
        };
        result.interfaces[0].mac = bridge.mac_string();
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
        let unplugged = Container::open_for_del(call).and_then(|container| match container {
            Some(container) => veth::delete(&container, &call.if_name),
            None => Ok(()),
        });
        let released = ipam.map_or(Ok(()), |ipam| ipam.del());
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
        // The veth pair dies with either end's namespace; only leases outlive it.
        Ipam::of(call).map_or(Ok(()), |ipam| ipam.gc())
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
            Err(e) if !e.is_not_found() => {
                return Err(
                    anyhow!(e).context(format!("could not lookup {}", quote(&config.bridge)))
                );
            }
            _ => {}
        }
        Ipam::of(call).map_or(Ok(()), |ipam| ipam.status())
    }
}

/// The interfaces of a result, in the order that every release has had.
fn interfaces(call: &Call, bridge: &Link, host: &Link, container: &Link) -> Vec<Interface> {
    let interface = |link: &Link, sandbox: String| Interface {
        name: link.name.clone(),
        mac: link.mac_string(),
        sandbox,
        ..Interface::default()
    };
    vec![
        interface(bridge, String::new()),
        interface(host, String::new()),
        interface(container, call.sandbox()),
    ]
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
