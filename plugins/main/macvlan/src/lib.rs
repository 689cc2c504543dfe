//! The macvlan plugin: an interface with a hardware address of its own on a link
//! of the host, its master.

mod config;

pub use config::Config;

use anyhow::bail;
use cni_core::{AddResult, Call, Command, Plugin};
use plugin_kit::single_interface::{self, InterfaceCheck};
use plugin_kit::{Container, Ipam, Side, Undo, parent, refuse_inexpressible};
use rtnl::{Handle, KindInfo, Link, LinkKind, LinkSpec};

/// The plugin.
#[derive(Debug)]
pub struct Macvlan;

const CHECKED: InterfaceCheck = InterfaceCheck {
    kind: Some("macvlan"),
    prefix: "",
    lower_case: true,
};

impl Plugin for Macvlan {
    fn name(&self) -> &'static str {
        "macvlan"
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        let ipam = Ipam::of(call);
        refuse_inexpressible(call, ipam.is_some())?;
        let container = Container::open(call)?;
        let side = Side::open(&container, config.link_in_container)?;
        let master = parent::find(side.handle(), &config.master)?;

        if let Some(ipam) = &ipam {
            ipam.start(Command::Add);
        }
        let mut undo = Undo::new();
        let mut spec = link_spec(call, &config, side.handle(), &master)?;
        // Without addresses to wait for, it is up from birth.
        spec.up = ipam.is_none();
        let link = single_interface::create(&container, &side, spec, &mut undo)?;
        let mut result = AddResult::default();
        if let Some(ipam) = &ipam {
            result = ipam.add()?;
            undo.push("release the addresses", || ipam.del());
        }
        single_interface::claim(call, &link, &mut result);
        if ipam.is_some() {
            single_interface::announce(&container, &link.name)?;
            single_interface::configure(&container, &link, &result)?;
        }
        result.dns = config.dns;
        undo.disarm();
        Ok(result)
    }

    fn del(&self, call: &Call) -> anyhow::Result<()> {
        single_interface::del(call)
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        CHECKED.check(call, |container, recorded, link| {
            compare(link, &config)?;
            config.mtu.check(recorded, link)?;
            config.keys.check(link)?;
            Side::open(container, config.link_in_container)?.check(link, &config.master)
        })
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        single_interface::gc(call)
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        // Without a container there is nothing to see of its links.
        if !config.link_in_container {
            let host = Handle::open()?;
            parent::find(&host, &config.master)
                .and_then(|master| {
                    parent::usable(&master)?;
                    config.mtu.on(&host, &master)
                })
                .map_err(single_interface::not_available)?;
        }
        Ipam::of(call).map_or(Ok(()), |ipam| ipam.status())
    }
}

fn link_spec<'fd>(
    call: &Call,
    config: &Config,
    handle: &Handle,
    master: &Link,
) -> anyhow::Result<LinkSpec<'fd>> {
    let kind = rtnl::Macvlan {
        mode: Some(config.mode),
        bc_queue_len: config.bc_queue_len,
        ..rtnl::Macvlan::default()
    };
    let mut spec = LinkSpec::new(call.if_name.clone(), LinkKind::Macvlan(kind));
    spec.link = Some(master.index);
    spec.mtu = config.mtu.on(handle, master)?;
    spec.mac = config.mac.map(|mac| mac.0.to_vec());
    config.keys.apply(&mut spec);
    Ok(spec)
}

/// Compares what is macvlan's own.
fn compare(link: &Link, config: &Config) -> anyhow::Result<()> {
    let KindInfo::Macvlan(info) = &link.info else {
        return Ok(());
    };
    if info.mode != Some(config.mode) {
        bail!(
            "Container macvlan mode {} does not match expected value: {}",
            info.mode.map_or("unknown", config::mode_name),
            config::mode_name(config.mode)
        );
    }
    // Kernels before 5.11 have no queue length to tell.
    if let (Some(wanted), Some(present)) = (config.bc_queue_len, info.bc_queue_len)
        && wanted != present
    {
        bail!(
            "Interface {} has a broadcast queue of {present} packets, bcqueuelen is {wanted}",
            link.name
        );
    }
    Ok(())
}
