//! The ptp plugin: a veth pair between container and host, and routes on both ends
//! that make of it a point-to-point connection. The host forwards between the
//! containers and everything else.

mod check;
mod config;
mod container_end;
mod gateway;
mod host_end;

pub use config::Config;

use anyhow::Context;
use cni_core::{AddResult, Call, Code, Command, Error, Plugin};
use plugin_kit::extras::{self, Mtu};
use plugin_kit::veth::{self, VethSpec};
use plugin_kit::{Container, Ipam, Undo, forwarding, parent, single};
use rtnl::Handle;

/// The plugin.
#[derive(Debug)]
pub struct Ptp;

/// Where the container's end stands in a result: after the host's. Plugins further
/// down the chain rely on it.
const CONTAINER_INTERFACE: usize = 1;

impl Plugin for Ptp {
    fn name(&self) -> &'static str {
        "ptp"
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        let ipam = required_ipam(call)?;
        ipam.start(Command::Add);
        let container = Container::open(call)?;
        veth::refuse_existing(&container, &call.if_name)?;
        let host = Handle::open().context("failed to talk to the host's kernel")?;

        let mut undo = Undo::new();
        let mut result = ipam.add()?;
        undo.push("release the addresses", || ipam.del());
        gateway::validate(&result.ips)?;
        let spec = VethSpec {
            container_name: &call.if_name,
            mtu: mtu(&host, config.mtu)?,
            ..VethSpec::default()
        };
        let pair = veth::create_with(&host, &container, &spec, config.link_keys, &mut undo)?;
        result.interfaces = vec![
            extras::interface(call, &pair.host, String::new()),
            extras::interface(call, &pair.container, call.sandbox()),
        ];
        for ip in &mut result.ips {
            ip.interface = Some(CONTAINER_INTERFACE as i64);
        }
        host_end::prepare(&pair.host);
        container_end::configure(&container, &pair.container, &result)?;
        host_end::configure(&host, &pair.host, &result.ips)?;
        host_end::wait_until_up(&host, &pair.host)?;
        forwarding::enable(&result.ips).context("could not enable IP forwarding")?;
        if let Some(dns) = config.dns {
            result.dns = dns;
        }
        undo.disarm();
        Ok(result)
    }

    fn del(&self, call: &Call) -> anyhow::Result<()> {
        single::del(call)
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        check::run(call)
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        single::gc(call)
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        Config::load(call)?;
        required_ipam(call)?.status()
    }
}

/// The IPAM plugin, without which there is nothing to route.
fn required_ipam(call: &Call) -> Result<Ipam<'_>, Error> {
    Ipam::of(call).ok_or_else(|| {
        Error::new(Code::INTERNAL, "no plugin name provided")
            .with_details("the ptp plugin needs an \"ipam\" object with a \"type\"")
    })
}

/// The MTU in bytes of both ends; `None` leaves it to the kernel, as does a host
/// without a way out.
fn mtu(host: &Handle, mtu: Mtu) -> anyhow::Result<Option<u32>> {
    match mtu {
        Mtu::Bytes(0) => Ok(None),
        Mtu::Bytes(bytes) => Ok(Some(u32::try_from(bytes)?)),
        Mtu::Auto => parent::egress_mtu(host),
    }
}
