//! Configuration of the host-device plugin.

use crate::{Selector, sysfs};
use anyhow::{Context, bail};
use cni_core::types::NetConf;
use cni_core::{Call, Dns};
use plugin_kit::single_interface;
use rtnl::Link;
use serde::Deserialize;

/// The configuration, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// The device.
    pub selector: Selector,
    /// The PCI address, empty if unknown, of a device with a driver for user space
    /// (DPDK), which has no link; `None` for a device with a link.
    pub dpdk: Option<String>,
    /// DNS settings of the result if there is an IPAM plugin; those of IPAM are ignored.
    pub dns: Dns,
}

/// The keys as they are written.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    device: String,
    hwaddr: String,
    kernelpath: String,
    #[serde(rename = "pciBusID")]
    pci_bus_id: String,
    #[serde(rename = "DPDKMode")]
    dpdk_mode: bool,
    #[serde(rename = "runtimeConfig")]
    runtime_config: RuntimeConfig,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RuntimeConfig {
    #[serde(rename = "deviceID")]
    device_id: String,
}

impl Config {
    /// Decodes and validates the configuration of `call`, and looks up the driver of the
    /// device.
    ///
    /// # Errors
    /// When a value is malformed, no device is named, or a PCI device has no driver.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        let loaded = single_interface::load::<Raw>(call, "failed to load netconf")?;
        match loaded.own.selector()? {
            Some(selector) => Config::of(selector, &loaded.own, loaded.common),
            None => {
                bail!("specify either \"device\", \"hwaddr\", \"kernelpath\" or \"pciBusID\"")
            }
        }
    }

    /// [`Config::load`] for STATUS, which comes without `runtimeConfig`: `None` when the
    /// runtime names the device.
    ///
    /// # Errors
    /// As for [`Config::load`].
    pub(crate) fn load_for_status(call: &Call) -> anyhow::Result<Option<Config>> {
        let loaded = single_interface::load::<Raw>(call, "failed to load netconf")?;
        let by_runtime = loaded.common.capabilities.get("deviceID") == Some(&true);
        match by_runtime {
            true => Ok(None),
            false => Config::load(call).map(Some),
        }
    }

    fn of(selector: Selector, raw: &Raw, common: NetConf) -> anyhow::Result<Config> {
        let dpdk = match &selector {
            Selector::Pci(address) => sysfs::has_user_space_driver(address)
                .context("error with host device")?
                .then(|| address.clone()),
            _ => raw.dpdk_mode.then(String::new),
        };
        Ok(Config {
            selector,
            dpdk,
            dns: common.dns,
        })
    }

    /// The PCI address of `device`, which must still be on the host, if it has one.
    pub(crate) fn pci_address(&self, device: &Link) -> Option<String> {
        match &self.selector {
            Selector::Pci(address) => Some(address.clone()),
            _ => sysfs::pci_address_of(&device.name),
        }
    }
}

impl Raw {
    /// The device. A device that the runtime names has precedence; of several keys in the
    /// configuration the first counts.
    fn selector(&self) -> anyhow::Result<Option<Selector>> {
        let id = &self.runtime_config.device_id;
        if !id.is_empty() {
            return match () {
                () if sysfs::has_pci_device(id) => Ok(Some(Selector::Pci(id.clone()))),
                () if sysfs::has_auxiliary_device(id) => Ok(Some(Selector::Auxiliary(id.clone()))),
                () => bail!("runtime config DeviceID {id} not found or unsupported"),
            };
        }
        if !self.device.is_empty() {
            return Ok(Some(Selector::Device(self.device.clone())));
        }
        if !self.hwaddr.is_empty() {
            return Ok(Some(Selector::HardwareAddress(self.hwaddr.clone())));
        }
        if !self.kernelpath.is_empty() {
            return Selector::kernel_path(&self.kernelpath).map(Some);
        }
        if !self.pci_bus_id.is_empty() {
            return Ok(Some(Selector::Pci(self.pci_bus_id.clone())));
        }
        Ok(None)
    }
}
