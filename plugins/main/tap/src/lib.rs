//! The tap plugin: a link in the container for a program, such as a virtual machine
//! monitor, that opens it by name.

mod bridge;
mod check;
mod config;
pub mod helper;
mod ioctl;
mod label;
mod tun;

pub use config::Config;
pub use tun::TunSpec;

use anyhow::{Context, anyhow};
use cni_core::confine::Needs;
use cni_core::quote::quote;
use cni_core::{AddResult, Call, Plugin};
use plugin_kit::{
    Container, Ipam, Undo, addressing, deletion, ipam, refuse_inexpressible, single_interface,
    status, sysctl, veth,
};
use rtnl::{Link, LinkChange, Request};

/// The plugin.
#[derive(Debug)]
pub struct Tap;

/// The tap is the only interface of a result.
const INTERFACE: usize = 0;

impl Plugin for Tap {
    fn name(&self) -> &'static str {
        "tap"
    }

    fn needs(&self, call: &Call) -> Option<Needs> {
        let needs = ipam::needs(call)?.change("/dev/net/tun");
        Some(match config::has_selinux_context(call) {
            true => needs.executing(),
            false => needs,
        })
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        let ipam = Ipam::of(call);
        refuse_inexpressible(call, ipam.is_some())?;
        let container = Container::open(call)?;
        veth::refuse_existing(&container, &call.if_name)?;
        let bridge = bridge::find(&container, &config)?;
        let change = config.properties(bridge.as_ref())?;

        let mut undo = Undo::new();
        create(&container, call, &config, &mut undo)?;
        let link = apply(&container, call, &config, &change)?;
        let mut result = match &ipam {
            Some(ipam) => ipam.add(&mut undo)?,
            None => AddResult::default(),
        };
        single_interface::set_interface(call, &link, &mut result);
        match ipam {
            Some(_) => configure(&container, &link, &result)?,
            None => single_interface::set_up(&container, &link)
                .context("failed to set tap interface up")?,
        }
        result.dns = config.dns;
        undo.disarm();
        Ok(result)
    }

    fn del(&self, call: &Call) -> anyhow::Result<()> {
        single_interface::del(call)
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        check::run(call)
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        single_interface::gc(call)
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        Config::load(call)?;
        let way_out = "load the kernel module by \"modprobe tun\"";
        tun::available().map_err(|e| status::not_available_unless(e, way_out))?;
        Ipam::of(call).map_or(Ok(()), |ipam| ipam.status())
    }
}

/// Creates the link, which persists until it is deleted.
fn create<'c>(
    container: &'c Container,
    call: &Call,
    config: &Config,
    undo: &mut Undo<'c>,
) -> anyhow::Result<()> {
    let spec = TunSpec {
        name: call.if_name.clone(),
        multi_queue: config.multi_queue.unwrap_or(false),
        owner: config.owner,
        group: config.group,
    };
    container
        .run(|| match &config.selinux_context {
            Some(context) => label::create_as(context, &spec),
            None => tun::create(&spec),
        })?
        .context("failed to create tap")?;
    let name = spec.name;
    undo.push("delete the tap", move || deletion::delete(container, &name));
    Ok(())
}

/// Sets the link's properties, makes it a port of the bridge, and returns it as the
/// kernel has it then.
fn apply(
    container: &Container,
    call: &Call,
    config: &Config,
    change: &LinkChange<'static>,
) -> anyhow::Result<Link> {
    let name = &call.if_name;
    let find = || {
        let found = container.rtnl.link_by_name(name);
        found.with_context(|| format!("failed to refetch tap {}", quote(name)))
    };
    let link = find()?;
    let request = Request::set_link(link.index, change);
    container.rtnl.request(request).map_err(|e| {
        anyhow!(e).context(match &config.bridge {
            Some(bridge) => format!("failed to set tap {name} as a port of bridge {bridge}"),
            None => format!("failed to configure tap {}", quote(name)),
        })
    })?;
    find()
}

/// Adds addresses, brings the link up, adds routes.
fn configure(container: &Container, link: &Link, result: &AddResult) -> anyhow::Result<()> {
    // Every kernel with IPv4 has it; ADD does not depend on it.
    container.run(|| {
        let _ = sysctl::ensure(&format!("net/ipv4/conf/{}/arp_notify", link.name), "1");
    })?;
    // Without duplicate address detection: the link has no carrier before a program
    // opens it, so its addresses would stay tentative until then.
    addressing::apply(container, link, result, INTERFACE, false)
}
