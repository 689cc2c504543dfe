//! The ptp plugin: a veth pair between container and host, and routes on both ends that
//! make it a point-to-point connection. The host forwards between containers, and between
//! a container and other networks.

mod check;
mod config;
mod container_end;
mod gateway;
mod host_end;
mod repair;

pub use config::Config;

use anyhow::Context;
use cni_core::confine::Needs;
use cni_core::{AddResult, Call, IpConfig, Plugin};
use netfilter::nft::Nft;
use plugin_kit::failures::Failures;
use plugin_kit::link_options::{self, Mtu};
use plugin_kit::masquerade::{Known, Plan};
use plugin_kit::veth::{self, VethSpec};
use plugin_kit::{
    Container, FilterRecord, Ipam, Undo, forwarding, host_link, ipam, masquerade, parent, released,
    single_interface, state, status,
};
use rtnl::Handle;

/// The plugin.
#[derive(Debug)]
pub struct Ptp;

/// The index of the container's interface in a result: after the host's end. Plugins
/// further down the chain rely on it.
const CONTAINER_INTERFACE: usize = 1;

impl Plugin for Ptp {
    fn name(&self) -> &'static str {
        "ptp"
    }

    fn needs(&self, call: &Call) -> Option<Needs> {
        Some(masquerade::needs(ipam::needs(call)?, call))
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        let ipam = Ipam::required(call)?;
        let container = Container::open(call)?;
        veth::refuse_existing(&container, &call.if_name)?;
        let host = Handle::open().context("failed to talk to the host's kernel")?;
        let ready = config.masquerade.as_ref().map(|m| m.require());
        let ready = ready.transpose()?.unwrap_or_default();

        let mut undo = Undo::new();
        let mut result = ipam.add(&mut undo)?;
        gateway::validate(&result.ips)?;
        container_end::refuse_routed(&container, &result.ips)?;
        let alias = host_link::of_owner(&state::owner(call));
        let spec = VethSpec {
            container_name: &call.if_name,
            alias: &alias,
            mtu: mtu(&host, config.mtu)?,
            ..VethSpec::default()
        };
        let pair = veth::create_with(&host, &container, &spec, config.link_options, &mut undo)?;
        result.interfaces = vec![
            link_options::interface(call, &pair.host, String::new()),
            link_options::interface(call, &pair.container, call.sandbox()),
        ];
        for ip in &mut result.ips {
            ip.interface = Some(CONTAINER_INTERFACE as i64);
        }
        host_end::prepare(&pair.host);
        container_end::configure(&container, &pair.container, &result)?;
        host_end::configure(&host, &pair.host, &result.ips, false)?;
        let plan = masquerade_plan(&config, call, &result.ips, ready, &mut undo)?;
        host_end::wait_until_up(&host, &pair.host)?;
        plan.map_or(Ok(()), Plan::create)?;
        forwarding::enable(&result.ips).context("could not enable IP forwarding")?;
        if let Some(dns) = config.dns {
            result.dns = dns;
        }
        undo.disarm();
        Ok(result)
    }

    fn del(&self, call: &Call) -> anyhow::Result<()> {
        let mut record = FilterRecord::of(call);
        let known = masquerade::may_have_rules(call, &record).then(|| Known::of(call, &record));
        single_interface::del_while(call, |container| {
            let mut failures = Failures::default();
            if let Some(known) = known {
                let nft = Nft::open().ok();
                let deleted = masquerade::delete(nft.as_ref(), call, &record, &known);
                if failures.add(deleted).is_some() {
                    record.remove();
                }
            }
            failures.add(veth::del_without(container, call));
            failures.result()
        })
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        check::run(call)
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        let mut failures = Failures::default();
        failures.add(single_interface::gc(call));
        failures.add(veth::collect(call));
        failures.add(masquerade::collect(call));
        failures.add(released::del_each(call, |del| self.del(del)));
        failures.result()?;
        if let Some(valid) = call.valid_attachments()? {
            let mut stale = FilterRecord::stale(&call.name, &valid);
            stale.iter_mut().for_each(FilterRecord::remove);
        }
        Ok(())
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        let ipam = Ipam::required(call)?;
        status::require_link_kinds(&Handle::open()?, &["veth"])?;
        forwarding::probe(call)?;
        if let Some(masquerade) = &config.masquerade {
            masquerade.status(call)?;
        }
        ipam.status()
    }
}

/// Prepares the rules of masquerade, after deleting those that an earlier attachment of
/// the same name left. Returns `None` if it is not configured.
fn masquerade_plan<'p, 'u: 'p>(
    config: &'p Config,
    call: &'u Call,
    ips: &[IpConfig],
    ready: masquerade::Ready,
    undo: &mut Undo<'u>,
) -> anyhow::Result<Option<Plan<'p>>> {
    let Some(masquerade) = &config.masquerade else {
        return Ok(None);
    };
    let mut record = FilterRecord::of(call);
    if record.exists() {
        let nft = Nft::open().ok();
        masquerade::delete(nft.as_ref(), call, &record, &Known::default())?;
        record.remove();
    }
    undo.push("remove the filter record", || {
        FilterRecord::of(call).remove();
        Ok(())
    });
    Ok(masquerade.plan(call, ips, ready, record, undo))
}

/// The MTU in bytes of both ends; `None`, also for "auto" on a host without a default
/// route, leaves it to the kernel.
fn mtu(host: &Handle, mtu: Mtu) -> anyhow::Result<Option<u32>> {
    match mtu {
        Mtu::Bytes(0) => Ok(None),
        Mtu::Bytes(bytes) => Ok(Some(u32::try_from(bytes)?)),
        Mtu::Auto => parent::egress_mtu(host),
    }
}
