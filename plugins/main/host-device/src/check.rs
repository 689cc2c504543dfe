//! CHECK: compares prevResult with the kernel's state.

use crate::Config;
use anyhow::{Context, bail};
use cni_core::Call;
use plugin_kit::single_interface::InterfaceCheck;
use plugin_kit::{Container, Ipam};

const CHECK: InterfaceCheck = InterfaceCheck {
    kind: None,
    prefix: "",
    lower_case: false,
};

/// Compares part by part, and fails at the first difference.
pub(crate) fn run(call: &Call) -> anyhow::Result<()> {
    let config = Config::load(call)?;
    if config.dpdk.is_some() {
        return check_without_link(call);
    }
    CHECK.run(call, |_, _, link| {
        if link.alias.is_empty() {
            bail!(
                "Interface {} has no alias, which stores its name on the host",
                link.name
            );
        }
        Ok(())
    })
}

/// CHECK of a device without a link, of which the kernel has nothing to compare.
fn check_without_link(call: &Call) -> anyhow::Result<()> {
    Container::open(call)?;
    if let Some(ipam) = Ipam::of(call) {
        ipam.check()?;
    }
    call.prev_result()?.context("Required prevResult missing")?;
    Ok(())
}
