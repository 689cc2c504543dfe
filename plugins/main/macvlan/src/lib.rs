//! The macvlan plugin: an interface with a hardware address of its own on a link
//! of the host, its master.

mod config;

pub use config::Config;

use anyhow::bail;
use cni_core::confine::Needs;
use cni_core::{AddResult, Call, Plugin};
use plugin_kit::single_interface::{self, InterfaceCheck, may_be_of_upstream};
use plugin_kit::{Container, Ipam, Undo, ipam, parent, refuse_inexpressible};
use rtnl::{KindInfo, Link};

/// The plugin.
#[derive(Debug)]
pub struct Macvlan;

const CHECK: InterfaceCheck = InterfaceCheck {
    kind: Some("macvlan"),
    prefix: "",
    lower_case: true,
};

impl Plugin for Macvlan {
    fn name(&self) -> &'static str {
        "macvlan"
    }

    fn needs(&self, call: &Call) -> Option<Needs> {
        ipam::needs(call)
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        let ipam = Ipam::of(call);
        refuse_inexpressible(call, ipam.is_some())?;
        let container = Container::open(call)?;
        let side = config.link.side(&container)?;
        let mut spec = config
            .link
            .spec(call, config.kind(), &side, &config.link.master)?;
        spec.mac = config.mac.map(|mac| mac.0.to_vec());
        // Without addresses to configure first, the link is created up.
        spec.up = ipam.is_none();

        let mut undo = Undo::new();
        let link = single_interface::create(&container, &side, spec, &mut undo)?;
        let mut result = match &ipam {
            Some(ipam) => ipam.add(&mut undo)?,
            None => AddResult::default(),
        };
        single_interface::set_interface(call, &link, &mut result);
        if ipam.is_some() {
            single_interface::announce(&container, &link.name)?;
            single_interface::configure(&container, &link, &result)?;
        }
        result.dns = config.link.dns;
        undo.disarm();
        Ok(result)
    }

    fn del(&self, call: &Call) -> anyhow::Result<()> {
        single_interface::del(call)
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        CHECK.run(call, |container, recorded, link| {
            check_mode(link, &config)?;
            // Upstream's older releases ignore the key.
            if !may_be_of_upstream(recorded) {
                check_queue(link, &config)?;
            }
            config.link.check(container, recorded, link)
        })
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        single_interface::gc(call)
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        Config::load(call)?.link.probe("macvlan", parent::usable)?;
        Ipam::of(call).map_or(Ok(()), |ipam| ipam.status())
    }
}

fn check_mode(link: &Link, config: &Config) -> anyhow::Result<()> {
    match &link.info {
        KindInfo::Macvlan(info) if info.mode != Some(config.mode) => bail!(
            "Container macvlan mode {} does not match expected value: {}",
            info.mode.map_or("unknown", config::mode_name),
            config::mode_name(config.mode)
        ),
        _ => Ok(()),
    }
}

/// Compares the length of the broadcast queue, which kernels before 5.11 do not report.
fn check_queue(link: &Link, config: &Config) -> anyhow::Result<()> {
    if let KindInfo::Macvlan(info) = &link.info
        && let (Some(wanted), Some(present)) = (config.bc_queue_len, info.bc_queue_len)
        && wanted != present
    {
        bail!(
            "Interface {} has a broadcast queue of {present} packets, bcqueuelen is {wanted}",
            link.name
        );
    }
    Ok(())
}
