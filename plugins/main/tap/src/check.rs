//! CHECK: compares prevResult and the configuration with the kernel's state.

use crate::{Config, bridge};
use anyhow::bail;
use cni_core::Call;
use plugin_kit::single_interface::{InterfaceCheck, may_be_of_upstream};
use rtnl::{KindInfo, Link, TunInfo};

const CHECK: InterfaceCheck = InterfaceCheck {
    kind: Some("tun"),
    prefix: "",
    lower_case: false,
};

/// `ETH_DATA_LEN` of linux/if_ether.h: the default MTU of a tap.
const DEFAULT_MTU: u32 = 1500;

/// Compares part by part, and fails at the first difference.
pub(crate) fn run(call: &Call) -> anyhow::Result<()> {
    let config = Config::load(call)?;
    CHECK.run(call, |container, recorded, link| {
        let of_upstream = may_be_of_upstream(recorded);
        // With both an owner and a group, upstream's ADD ignores the MTU.
        if !of_upstream || link.mtu != DEFAULT_MTU {
            config.mtu.check(recorded, link)?;
        }
        if !of_upstream {
            config.options.check(link)?;
        }
        // Kernels before 4.17 do not report it.
        if let KindInfo::Tun(info) = &link.info {
            compare(link, info, &config, of_upstream)?;
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

/// Compares what the configuration names. A tap that may be of upstream passes without
/// an owner or a group.
fn compare(link: &Link, info: &TunInfo, config: &Config, of_upstream: bool) -> anyhow::Result<()> {
    let name = &link.name;
    if !info.tap {
        bail!("Error: Container interface {name} not of type tap");
    }
    if let Some(wanted) = config.multi_queue
        && info.multi_queue != wanted
    {
        bail!(
            "Interface {name} has multiQueue {}, configured is {wanted}",
            info.multi_queue
        );
    }
    for (what, present, wanted) in [
        ("owner", info.owner, config.owner),
        ("group", info.group, config.group),
    ] {
        let Some(wanted) = wanted else { continue };
        match present {
            Some(present) if present == wanted => {}
            None if of_upstream => {}
            Some(present) => {
                bail!("Interface {name} has {what} {present}, configured is {wanted}")
            }
            None => bail!("Interface {name} has no {what}, configured is {wanted}"),
        }
    }
    Ok(())
}
