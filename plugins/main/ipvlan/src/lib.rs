//! The ipvlan plugin: an interface with addresses of its own and the hardware address
//! of a link of the host, its master.

mod config;

pub use config::Config;

use anyhow::bail;
use cni_core::confine::Needs;
use cni_core::{AddResult, Call, Plugin};
use plugin_kit::single_interface::{self, InterfaceCheck};
use plugin_kit::{Container, Ipam, Undo, detailed, ipam, parent, status};
use rtnl::{Handle, KindInfo, Link};

/// The plugin.
#[derive(Debug)]
pub struct Ipvlan;

const CHECK: InterfaceCheck = InterfaceCheck {
    kind: Some("ipvlan"),
    prefix: "",
    lower_case: false,
};

impl Plugin for Ipvlan {
    fn name(&self) -> &'static str {
        "ipvlan"
    }

    fn needs(&self, call: &Call) -> Option<Needs> {
        ipam::needs(call)
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        let previous = call.prev_result()?;
        let master = config.master_after(previous.as_ref())?;
        let ipam = Ipam::of(call);
        if ipam.is_none() && previous.as_ref().is_none_or(|p| p.ips.is_empty()) {
            bail!(detailed(
                "no plugin name provided",
                "an ipvlan needs \"ipam\" with a \"type\", or addresses from the plugin before it"
            ));
        }
        let container = Container::open(call)?;
        let side = config.link.side(&container)?;
        let spec = config.link.spec(call, config.kind(), &side, master)?;

        let mut undo = Undo::new();
        let link = single_interface::create(&container, &side, spec, &mut undo)?;
        let mut result = match &ipam {
            Some(ipam) => ipam.add(&mut undo)?,
            None => previous.unwrap_or_default(),
        };
        single_interface::set_interface(call, &link, &mut result);
        single_interface::announce(&container, &link.name)?;
        single_interface::configure(&container, &link, &result)?;
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
            config.link.check(container, recorded, link)
        })
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        single_interface::gc(call)
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        let link = Config::load(call)?.link;
        match link.master.is_empty() {
            // The master may be an interface of the plugin before this one, which does not
            // exist yet.
            true => status::require_link_kinds(&Handle::open()?, &["ipvlan"])?,
            false => link.probe("ipvlan", parent::usable)?,
        }
        Ipam::of(call).map_or(Ok(()), |ipam| ipam.status())
    }
}

fn check_mode(link: &Link, config: &Config) -> anyhow::Result<()> {
    match &link.info {
        KindInfo::Ipvlan(info) if info.mode != Some(config.mode) => bail!(
            "Container IPVlan mode {} does not match expected value: {}",
            info.mode.map_or("unknown", config::mode_name),
            config::mode_name(config.mode)
        ),
        _ => Ok(()),
    }
}
