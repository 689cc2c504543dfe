//! The table of plugins.

use cni_core::Plugin;
use cni_core::skel::{self, Bundle};
use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

/// All plugins, by class and name as in `plugins/`; a test compares the two.
const BUNDLE: Bundle = Bundle::new(&[
    &cni_dhcp::Dhcp,
    &cni_host_local::HostLocal,
    &cni_static::Static,
    &cni_bridge::Bridge,
    &cni_dummy::Dummy,
    &cni_host_device::HostDevice,
    &cni_ipvlan::Ipvlan,
    &cni_loopback::Loopback,
    &cni_macvlan::Macvlan,
    &cni_ptp::Ptp,
    &cni_tap::Tap,
    &cni_vlan::Vlan,
    &cni_bandwidth::Bandwidth,
    &cni_firewall::Firewall,
    &cni_flannel::Flannel,
    &cni_portmap::Portmap,
    &cni_sbr::Sbr,
    &cni_tuning::Tuning,
    &cni_vrf::Vrf,
]);

/// The names of all plugins.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    BUNDLE.plugins().iter().map(|plugin| plugin.name())
}

/// The plugin that acts under this name, see [`Bundle::by_name`].
pub(crate) fn by_name(name: &OsStr) -> Option<&'static dyn Plugin> {
    let plugin = BUNDLE.by_name(name.to_str()?)?;
    Some(plugin)
}

/// Runs a plugin as its own executable would with these arguments.
pub(crate) fn run(plugin: &dyn Plugin, arguments: &[OsString]) -> ExitCode {
    let program = match plugin.name() {
        "dhcp" => cni_dhcp::command_line(arguments),
        "tap" => cni_tap::helper::main(),
        _ => None,
    };
    program.unwrap_or_else(|| skel::main_bundled(BUNDLE, plugin))
}
