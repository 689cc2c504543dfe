//! Devices in sysfs, which shows the network links of the namespace that it was mounted
//! in, the host's.

use anyhow::{Context, anyhow, bail};
use cni_core::errno;
use cni_core::quote::quote;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const PCI: &str = "/sys/bus/pci/devices";
const AUXILIARY: &str = "/sys/bus/auxiliary/devices";

/// Drivers that leave a PCI device to a program in user space.
const USER_SPACE_DRIVERS: [&str; 3] = ["vfio-pci", "uio_pci_generic", "igb_uio"];

/// The directory of a device of a bus; `None` if `id` cannot be a device's name.
fn device(bus: &str, id: &str) -> Option<PathBuf> {
    let is_path = id.is_empty() || id.contains('/') || id == "." || id == "..";
    (!is_path).then(|| Path::new(bus).join(id))
}

/// Whether there is a PCI device with this address.
pub(crate) fn has_pci_device(address: &str) -> bool {
    device(PCI, address).is_some_and(|path| path.exists())
}

/// Whether there is an auxiliary device with this name.
pub(crate) fn has_auxiliary_device(name: &str) -> bool {
    device(AUXILIARY, name).is_some_and(|path| path.exists())
}

/// Whether a PCI device is bound to a driver for user space (DPDK).
pub(crate) fn has_user_space_driver(address: &str) -> anyhow::Result<bool> {
    let path = pci(address)?.join("driver");
    let driver = fs::read_link(&path).map_err(|e| {
        anyhow!("readlink {}: {}", path.display(), errno::of(&e))
            .context(format!("no driver is bound to PCI device {address}"))
    })?;
    let name = driver.file_name();
    Ok(USER_SPACE_DRIVERS
        .iter()
        .any(|d| name == Some(OsStr::new(d))))
}

fn pci(address: &str) -> anyhow::Result<PathBuf> {
    device(PCI, address).with_context(|| format!("{} is not a PCI address", quote(address)))
}

/// The name of the link of a PCI device. Links of virtio devices are a level deeper.
pub(crate) fn link_of_pci(address: &str) -> anyhow::Result<String> {
    let device = pci(address)?;
    let direct = device.join("net");
    if direct.is_dir() {
        return link_in(&direct);
    }
    let virtio = entries(&device)?
        .into_iter()
        .filter(|name| name.as_bytes().starts_with(b"virtio"))
        .map(|name| device.join(name).join("net"))
        .find(|path| path.is_dir());
    match virtio {
        Some(path) => link_in(&path),
        None => bail!("no net directory under pci device {address}"),
    }
}

/// The name of the link of an auxiliary device.
pub(crate) fn link_of_auxiliary(name: &str) -> anyhow::Result<String> {
    let device = device(AUXILIARY, name)
        .with_context(|| format!("{} is not an auxiliary device", quote(name)))?;
    link_in(&device.join("net"))
}

/// The name of the first link in a directory of links.
pub(crate) fn link_in(directory: &Path) -> anyhow::Result<String> {
    let first = entries(directory)?.into_iter().next();
    first
        .and_then(|name| name.into_string().ok())
        .with_context(|| {
            format!(
                "failed to find network device in path {}",
                directory.display()
            )
        })
}

/// The names in a directory, in alphabetical order.
fn entries(directory: &Path) -> anyhow::Result<Vec<std::ffi::OsString>> {
    let failed = |e: std::io::Error| {
        let cause = format!("open {}: {}", directory.display(), errno::of(&e));
        anyhow!(
            "failed to read directory {}: {}",
            directory.display(),
            quote(&cause)
        )
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name());
    }
    names.sort();
    Ok(names)
}

/// The PCI address of the device behind the link `name`; `None` for a link without
/// one, such as a virtual one.
pub(crate) fn pci_address_of(name: &str) -> Option<String> {
    let path = fs::canonicalize(format!("/sys/class/net/{name}/device")).ok()?;
    // A virtio device is below the PCI device.
    let names = path.ancestors().filter_map(|p| p.file_name()?.to_str());
    names
        .into_iter()
        .find(|name| is_pci_address(name))
        .map(str::to_owned)
}

/// Whether a name is one such as `0000:03:00.1`: domain, bus, device, function.
fn is_pci_address(name: &str) -> bool {
    let hexadecimal = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    let mut parts = name.split(':');
    let (Some(domain), Some(bus), Some(rest), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let Some((device, function)) = rest.split_once('.') else {
        return false;
    };
    domain.len() >= 4
        && bus.len() == 2
        && device.len() == 2
        && function.len() == 1
        && [domain, bus, device, function].into_iter().all(hexadecimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_pci_devices() {
        for address in ["0000:03:00.1", "10000:e1:1f.7"] {
            assert!(is_pci_address(address), "{address}");
        }
        for other in [
            "",
            "virtio0",
            "0000:03:00",
            "0000:03:00.10",
            "000:03:00.1",
            "0000:03:00.1:x",
            "0000:0g:00.1",
        ] {
            assert!(!is_pci_address(other), "{other}");
        }
    }

    #[test]
    fn names_with_path_components_are_refused() {
        for id in ["", ".", "..", "../../../class/net", "a/b"] {
            assert_eq!(device(PCI, id), None, "{id}");
            assert!(!has_pci_device(id) && !has_auxiliary_device(id));
        }
    }
}
