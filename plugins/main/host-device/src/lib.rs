//! The host-device plugin: moves a network device of the host into the container,
//! and back.

mod check;
mod config;
mod forwards;
mod host_state;
mod passing_netns;
mod record;
mod recovery;
mod returning;
mod selector;
mod sysfs;

pub use config::Config;
pub use selector::Selector;

use anyhow::{Context, anyhow};
use cni_core::{AddResult, Call, Command, Interface, Plugin, Version};
use plugin_kit::{Container, Ipam, Undo, refuse_inexpressible, single_interface};
use record::{Key, Record};
use rtnl::{Handle, Link};

/// The plugin.
#[derive(Debug)]
pub struct HostDevice;

/// The device is the only interface of a result.
const INTERFACE: usize = 0;

impl Plugin for HostDevice {
    fn name(&self) -> &'static str {
        "host-device"
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        let ipam = Ipam::of(call);
        refuse_inexpressible(call, ipam.is_some())?;
        let container = Container::open(call)?;
        let host = Handle::open().context("failed to talk to the host's kernel")?;

        if let Some(ipam) = &ipam {
            ipam.start(Command::Add);
        }
        let mut undo = Undo::new();
        let mut moved = None;
        let interface = match &config.dpdk {
            Some(pci_address) => bypassing_the_kernel(call, pci_address),
            None => {
                let device = config
                    .selector
                    .find(&host)
                    .context("failed to find host device")?;
                let pci_address = config.pci_address(&device);
                let link = forwards::take(&host, &container, &device, call, &mut undo)
                    .map_err(|e| anyhow!("failed to move link {e:#}"))?;
                let interface = kernel_interface(call, &link, pci_address);
                moved = Some(link);
                interface
            }
        };
        let mut result = AddResult::default();
        if let Some(ipam) = &ipam {
            result = ipam.add()?;
            undo.push("release the addresses", || ipam.del());
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
        // Each of the two is tried whatever became of the other.
        let released = Ipam::of(call).map_or(Ok(()), |ipam| ipam.del());
        match (released, returning::del(call)) {
            (Err(e), Err(also)) => Err(anyhow!(
                "{e:#}; moving the device back failed too: {also:#}"
            )),
            (released, returned) => released.and(returned),
        }
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        check::run(call)
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        let released = Ipam::of(call).map_or(Ok(()), |ipam| ipam.gc());
        match (released, returning::gc(call)) {
            (Err(e), Err(also)) => Err(anyhow!(
                "{e:#}; collecting the devices failed too: {also:#}"
            )),
            (released, collected) => released.and(collected),
        }
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        if let Some(config) = Config::load_for_status(call)?
            && config.dpdk.is_none()
            && let Err(e) = config.selector.find(&Handle::open()?)
            && !in_use(call, &config.selector)
        {
            return Err(single_interface::not_available(
                e.context("failed to find host device"),
            ));
        }
        Ipam::of(call).map_or(Ok(()), |ipam| ipam.status())
    }
}

/// Whether a container has the device: then it is missing on the host for the best
/// of reasons.
fn in_use(call: &Call, selector: &Selector) -> bool {
    let records = Key::all_of(&call.name);
    let mut records = records.iter().filter_map(Record::read);
    match selector {
        Selector::Device(name) => records.any(|record| record.name == *name),
        _ => records.next().is_some(),
    }
}

/// The device as an interface of a result.
fn kernel_interface(call: &Call, link: &Link, pci_address: Option<String>) -> Interface {
    let mut interface = plugin_kit::link_options::interface(call, link, call.sandbox());
    if call.version >= Version::V1_1_0 {
        interface.pci_id = pci_address.unwrap_or_default();
    }
    interface
}

/// The same for a device that a program drives without the kernel (DPDK): there is
/// no link, but the name is taken.
fn bypassing_the_kernel(call: &Call, pci_address: &str) -> Interface {
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
