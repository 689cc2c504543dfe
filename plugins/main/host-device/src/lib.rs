//! The host-device plugin: moves a network device of the host into the container
//! and back.

mod check;
mod config;
mod host_state;
mod record;
mod recovery;
mod selector;
mod sysfs;
mod temporary_netns;
mod to_container;
mod to_host;

pub use config::Config;
pub use selector::Selector;

use anyhow::Context;
use cni_core::confine::Needs;
use cni_core::{AddResult, Call, Command, Error, Interface, Plugin, Version};
use plugin_kit::failures::Failures;
use plugin_kit::{Container, Ipam, Undo, ipam, refuse_inexpressible, single_interface, status};
use record::Record;
use rtnl::{Handle, Link};

/// The plugin.
#[derive(Debug)]
pub struct HostDevice;

/// Index of the device in the result, which has no other interface.
const INTERFACE: usize = 0;

impl Plugin for HostDevice {
    fn name(&self) -> &'static str {
        "host-device"
    }

    fn needs(&self, call: &Call) -> Option<Needs> {
        let needs = ipam::needs(call)?.write("/run/cni").read("/sys");
        Some(match call.command {
            // Those of the containers that have the devices.
            Command::Gc => needs.opening_namespaces(),
            _ => needs,
        })
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        let ipam = Ipam::of(call);
        refuse_inexpressible(call, ipam.is_some())?;
        let container = Container::open(call)?;
        let host = Handle::open().context("failed to talk to the host's kernel")?;

        let mut undo = Undo::new();
        let mut moved = None;
        let interface = match &config.dpdk {
            Some(pci_address) => interface_without_link(call, pci_address),
            None => {
                let device = config
                    .selector
                    .find(&host)
                    .context("failed to find host device")?;
                let pci_address = config.pci_address(&device);
                let link = to_container::move_device(&host, &container, &device, call, &mut undo)
                    .map_err(failed_to_move)?;
                let interface = interface(call, &link, pci_address);
                moved = Some(link);
                interface
            }
        };
        let mut result = AddResult::default();
        if let Some(ipam) = &ipam {
            result = ipam.add(&mut undo)?;
            result.dns = config.dns;
        }
        for ip in &mut result.ips {
            ip.interface = Some(INTERFACE as i64);
        }
        result.interfaces = vec![interface];
        if let (Some(link), Some(_)) = (&moved, &ipam) {
            single_interface::configure(&container, link, &result)?;
        }
        undo.disarm();
        Ok(result)
    }

    fn del(&self, call: &Call) -> anyhow::Result<()> {
        let mut failures = Failures::default();
        failures.add(Ipam::of(call).map_or(Ok(()), |ipam| ipam.del()));
        failures.add(to_host::del(call));
        failures.result()
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        check::run(call)
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        let mut failures = Failures::default();
        failures.add(Ipam::of(call).map_or(Ok(()), |ipam| ipam.gc()));
        failures.add(to_host::gc(call));
        failures.result()
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        if let Some(config) = Config::load_for_status(call)?
            && config.dpdk.is_none()
            && let Err(e) = config.selector.find(&Handle::open()?)
            && !in_use(call, &config.selector)
        {
            let way_out = "the host has no such device, nor has a container of this network; \
                           configure another, see \"ip link\"";
            let e = e.context("failed to find host device");
            return Err(status::not_available_unless(e, way_out));
        }
        Ipam::of(call).map_or(Ok(()), |ipam| ipam.status())
    }
}

fn failed_to_move(error: anyhow::Error) -> Error {
    let error = Error::from_chain(&error);
    let msg = format!("failed to move link {}", error.msg);
    Error::new(error.code, msg).with_details(error.details)
}

/// Whether a container has the device, so that the host lacks it.
fn in_use(call: &Call, selector: &Selector) -> bool {
    let records = record::owners(&call.name);
    let mut records = records.iter().filter_map(Record::read);
    match selector {
        Selector::Device(name) => records.any(|record| record.name == *name),
        _ => records.next().is_some(),
    }
}

/// The device's link as an interface of the result.
fn interface(call: &Call, link: &Link, pci_address: Option<String>) -> Interface {
    let mut interface = plugin_kit::link_options::interface(call, link, call.sandbox());
    if call.version >= Version::V1_1_0 {
        interface.pci_id = pci_address.unwrap_or_default();
    }
    interface
}

/// A device with a driver for user space (DPDK) as an interface of the result: without a
/// link, but with the name that the runtime asked for.
fn interface_without_link(call: &Call, pci_address: &str) -> Interface {
    let mut interface = Interface {
        name: call.if_name.clone(),
        sandbox: call.sandbox(),
        ..Interface::default()
    };
    if call.version >= Version::V1_1_0 {
        interface.pci_id = pci_address.to_owned();
    }
    interface
}
