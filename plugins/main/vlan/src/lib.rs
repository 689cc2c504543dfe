//! The vlan plugin: one VLAN of a link of the host, its master, as an interface of
//! the container.

mod config;

pub use config::Config;

use anyhow::{Context, anyhow, bail};
use cni_core::{AddResult, Call, Command, Plugin};
use plugin_kit::single_interface::{self, InterfaceCheck};
use plugin_kit::{Container, Ipam, Side, Undo, parent};
use rtnl::{Handle, KindInfo, Link, LinkKind, LinkSpec};

/// The plugin.
#[derive(Debug)]
pub struct Vlan;

const CHECKED: InterfaceCheck = InterfaceCheck {
    kind: Some("vlan"),
    prefix: "vlan: ",
    lower_case: false,
};

impl Plugin for Vlan {
    fn name(&self) -> &'static str {
        "vlan"
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        let ipam = ipam(call)?;
        let container = Container::open(call)?;
        let side = Side::open(&container, config.link_in_container)?;
        let master = parent::find(side.handle(), &config.master)?;

        ipam.start(Command::Add);
        let mut undo = Undo::new();
        let spec = link_spec(call, &config, side.handle(), &master)?;
        let link = single_interface::create(&container, &side, spec, &mut undo)?;
        // This plugin alone has its own code for a failure of IPAM, as upstream.
        let mut result = ipam
            .add()
            .map_err(|e| anyhow!("failed to execute IPAM delegate: {e:#}"))?;
        undo.push("release the addresses", || ipam.del());
        single_interface::claim(call, &link, &mut result);
        single_interface::configure(&container, &link, &result)?;
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
                .and_then(|master| config.mtu.on(&host, &master))
                .map_err(single_interface::not_available)?;
        }
        ipam(call)?.status()
    }
}

/// [`Config::load`] has seen to it that there is one.
fn ipam(call: &Call) -> anyhow::Result<Ipam<'_>> {
    Ipam::of(call).context("no plugin name provided")
}

fn link_spec<'fd>(
    call: &Call,
    config: &Config,
    handle: &Handle,
    master: &Link,
) -> anyhow::Result<LinkSpec<'fd>> {
    let kind = rtnl::Vlan {
        id: config.id,
        protocol: None,
    };
    let mut spec = LinkSpec::new(call.if_name.clone(), LinkKind::Vlan(kind));
    spec.link = Some(master.index);
    spec.mtu = config.mtu.on(handle, master)?;
    config.keys.apply(&mut spec);
    Ok(spec)
}

/// Compares what is vlan's own.
fn compare(link: &Link, config: &Config) -> anyhow::Result<()> {
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
