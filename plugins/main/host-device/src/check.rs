//! CHECK: is the attachment still as ADD made it?

use crate::Config;
use anyhow::{Context, bail};
use cni_core::Call;
use plugin_kit::single_interface::InterfaceCheck;
use plugin_kit::{Container, Ipam};

const CHECKED: InterfaceCheck = InterfaceCheck {
    kind: None,
    prefix: "",
    lower_case: false,
};

/// Compares prevResult with the kernel's state, part by part.
pub(crate) fn run(call: &Call) -> anyhow::Result<()> {
    let config = Config::load(call)?;
    if config.dpdk.is_some() {
        return without_the_kernel(call);
    }
    CHECKED.check(call, |_, _, link| {
        if link.alias.is_empty() {
            bail!(
                "Interface {} has lost its alias, which says what it is called on the host",
                link.name
            );
        }
        Ok(())
    })
}

/// There is nothing of the kernel's to compare with.
fn without_the_kernel(call: &Call) -> anyhow::Result<()> {
    Container::open(call)?;
    if let Some(ipam) = Ipam::of(call) {
        ipam.check()?;
    }
    call.prev_result()?.context("Required prevResult missing")?;
    Ok(())
}
