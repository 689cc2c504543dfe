//! CHECK: is the tap still as ADD made it?

use crate::{Config, bridge};
use anyhow::bail;
use cni_core::Call;
use plugin_kit::single_interface::InterfaceCheck;
use rtnl::{KindInfo, Link, TunInfo};

const CHECKED: InterfaceCheck = InterfaceCheck {
    kind: Some("tun"),
    prefix: "",
    lower_case: false,
};

/// Compares prevResult and configuration with the kernel's state, part by part.
pub(crate) fn run(call: &Call) -> anyhow::Result<()> {
    let config = Config::load(call)?;
    CHECKED.check(call, |container, recorded, link| {
        config.mtu.check(recorded, link)?;
        config.link_keys.check(link)?;
        // Kernels before 4.17 tell nothing of it.
        if let KindInfo::Tun(info) = &link.info {
            as_created(link, info, &config)?;
        }
        match bridge::find(container, &config)? {
            Some(bridge) if link.master != Some(bridge.index) => {
                bail!(
                    "Interface {} is not a port of bridge {}",
                    link.name,
                    bridge.name
                )
            }
            _ => Ok(()),
        }
    })
}

fn as_created(link: &Link, info: &TunInfo, config: &Config) -> anyhow::Result<()> {
    let name = &link.name;
    if !info.tap {
        bail!("Error: Container interface {name} not of type tap");
    }
    if info.multi_queue != config.multi_queue {
        bail!(
            "Interface {name} has multiQueue {}, configured is {}",
            info.multi_queue,
            config.multi_queue
        );
    }
    for (what, present, wanted) in [
        ("owner", info.owner, config.owner),
        ("group", info.group, config.group),
    ] {
        if present != wanted {
            let text = |id: Option<u32>| id.map_or("none".to_owned(), |id| id.to_string());
            bail!(
                "Interface {name} has {what} {}, configured is {}",
                text(present),
                text(wanted)
            );
        }
    }
    Ok(())
}
