//! The tap plugin: a link in the container whose other end is a program, such as a
//! virtual machine's monitor, that opens it by its name.

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
use cni_core::quote::quote;
use cni_core::{AddResult, Call, Command, Plugin};
use plugin_kit::{
    Container, Ipam, Undo, addressing, refuse_inexpressible, single_interface, sysctl, veth,
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

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        let ipam = Ipam::of(call);
        refuse_inexpressible(call, ipam.is_some())?;
        let container = Container::open(call)?;
        veth::refuse_existing(&container, &call.if_name)?;
        let bridge = bridge::find(&container, &config)?;
        let change = config.properties(bridge.as_ref())?;

        if let Some(ipam) = &ipam {
            ipam.start(Command::Add);
        }
        let mut undo = Undo::new();
        create(&container, call, &config, &mut undo)?;
        let link = set(&container, call, &config, &change)?;
        let mut result = AddResult::default();
        if let Some(ipam) = &ipam {
            result = ipam.add()?;
            undo.push("release the addresses", || ipam.del());
        }
        single_interface::claim(call, &link, &mut result);
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
        tun::available().map_err(single_interface::not_available)?;
        Ipam::of(call).map_or(Ok(()), |ipam| ipam.status())
    }
}

/// Makes the link. It stays until somebody deletes it.
fn create<'c>(
    container: &'c Container,
    call: &Call,
    config: &Config,
    undo: &mut Undo<'c>,
) -> anyhow::Result<()> {
    let spec = TunSpec {
        name: call.if_name.clone(),
        multi_queue: config.multi_queue,
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
    undo.push("delete the tap", move || veth::delete(container, &name));
    Ok(())
}

/// Gives the link its properties, joins the bridge, and returns the link as it is
/// then.
fn set(
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

/// Addresses, up, routes.
fn configure(container: &Container, link: &Link, result: &AddResult) -> anyhow::Result<()> {
    // Absent in no kernel with IPv4, and of no consequence.
    container.run(|| {
        let _ = sysctl::ensure(&format!("net/ipv4/conf/{}/arp_notify", link.name), "1");
    })?;
    // Duplicates are not looked for: the link has no carrier before a program opens
    // it, so its addresses would not become usable until then.
    addressing::apply(container, link, result, INTERFACE, false)
}
