//! The vlan plugin: one VLAN of a link of the host, its master, as an interface of
//! the container.

mod config;

pub use config::Config;

use anyhow::{anyhow, bail};
use cni_core::confine::Needs;
use cni_core::{AddResult, Call, Plugin};
use plugin_kit::single_interface::{self, InterfaceCheck};
use plugin_kit::{Container, Ipam, Undo, ipam};
use rtnl::{KindInfo, Link};

/// The plugin.
#[derive(Debug)]
pub struct Vlan;

const CHECK: InterfaceCheck = InterfaceCheck {
    kind: Some("vlan"),
    prefix: "vlan: ",
    lower_case: false,
};

impl Plugin for Vlan {
    fn name(&self) -> &'static str {
        "vlan"
    }

    fn needs(&self, call: &Call) -> Option<Needs> {
        ipam::needs(call)
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        let ipam = Ipam::required(call)?;
        let container = Container::open(call)?;
        let side = config.link.side(&container)?;
        let spec = config
            .link
            .spec(call, config.kind(), &side, &config.link.master)?;

        let mut undo = Undo::new();
        let link = single_interface::create(&container, &side, spec, &mut undo)?;
        // As upstream's, this plugin does not pass on the code of IPAM's error.
        let mut result = ipam
            .add(&mut undo)
            .map_err(|e| anyhow!("failed to execute IPAM delegate: {e:#}"))?;
        single_interface::set_interface(call, &link, &mut result);
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
            check_id(link, &config)?;
            config.link.check(container, recorded, link)
        })
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        single_interface::gc(call)
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        Config::load(call)?.link.probe("vlan", |_| Ok(()))?;
        Ipam::required(call)?.status()
    }
}

fn check_id(link: &Link, config: &Config) -> anyhow::Result<()> {
    match &link.info {
        KindInfo::Vlan(info) if info.id != config.id => bail!(
            "Error: Interface {} has VLAN ID {}, configured is {}",
            link.name,
            info.id,
            config.id
        ),
        _ => Ok(()),
    }
}
