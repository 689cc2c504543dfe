//! The ipvlan plugin: an interface with addresses of its own, but the hardware
//! address of the link it stands on, its master.

mod config;

pub use config::Config;

use anyhow::bail;
use cni_core::{AddResult, Call, Command, Plugin};
use plugin_kit::single_interface::{self, InterfaceCheck};
use plugin_kit::{Container, Ipam, Side, Undo, parent};
use rtnl::{Handle, IpvlanFlag, KindInfo, Link, LinkKind, LinkSpec};

/// The plugin.
#[derive(Debug)]
pub struct Ipvlan;

const CHECKED: InterfaceCheck = InterfaceCheck {
    kind: Some("ipvlan"),
    prefix: "",
    lower_case: false,
};

impl Plugin for Ipvlan {
    fn name(&self) -> &'static str {
        "ipvlan"
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        let previous = call.prev_result()?;
        let master = config.master_after(previous.as_ref())?;
        let ipam = Ipam::of(call);
        let addressed = previous.as_ref().is_some_and(|p| !p.ips.is_empty());
        if ipam.is_none() && !addressed {
            bail!(
                "no plugin name provided: an ipvlan needs \"ipam\" with a \"type\", \
                 or addresses from the plugin before it"
            );
        }
        let container = Container::open(call)?;
        let side = Side::open(&container, config.link_in_container)?;
        let master = parent::find(side.handle(), master)?;

        if let Some(ipam) = &ipam {
            ipam.start(Command::Add);
        }
        let mut undo = Undo::new();
        let spec = link_spec(call, &config, side.handle(), &master)?;
        let link = single_interface::create(&container, &side, spec, &mut undo)?;
        let mut result = match &ipam {
            Some(ipam) => {
                let result = ipam.add()?;
                undo.push("release the addresses", || ipam.del());
                result
            }
            None => previous.unwrap_or_default(),
        };
        single_interface::claim(call, &link, &mut result);
        single_interface::announce(&container, &link.name)?;
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
        // One that has no name may be an interface of the plugin before, which is
        // not there yet.
        if !config.link_in_container && !config.master.is_empty() {
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
    let kind = rtnl::Ipvlan {
        mode: Some(config.mode),
        flag: Some(IpvlanFlag::Bridge),
    };
    let mut spec = LinkSpec::new(call.if_name.clone(), LinkKind::Ipvlan(kind));
    spec.link = Some(master.index);
    spec.mtu = config.mtu.on(handle, master)?;
    config.keys.apply(&mut spec);
    Ok(spec)
}

/// Compares what is ipvlan's own.
fn compare(link: &Link, config: &Config) -> anyhow::Result<()> {
    match &link.info {
        KindInfo::Ipvlan(info) if info.mode != Some(config.mode) => bail!(
            "Container IPVlan mode {} does not match expected value: {}",
            info.mode.map_or("unknown", config::mode_name),
            config::mode_name(config.mode)
        ),
        _ => Ok(()),
    }
}
