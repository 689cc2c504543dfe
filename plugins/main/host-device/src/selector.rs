//! Selects the device.

use crate::sysfs;
use anyhow::{Context, anyhow, bail};
use cni_core::quote::quote;
use rtnl::{Handle, Link};
use std::path::{Component, Path, PathBuf};

/// How the configuration names the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The link with this name or alternative name.
    Device(String),
    /// The first link with this hardware address.
    HardwareAddress(String),
    /// The link of the device at this path below `/sys/devices`.
    KernelPath(PathBuf),
    /// The link of the PCI device with this address.
    Pci(String),
    /// The link of the auxiliary device with this name.
    Auxiliary(String),
}

impl Selector {
    /// A device by its path, which must be below `/sys/devices` after its `..` components
    /// have been resolved.
    pub(crate) fn kernel_path(text: &str) -> anyhow::Result<Selector> {
        let path = clean(Path::new(text));
        let devices = Path::new("/sys/devices");
        if !path.starts_with(devices) || path == devices {
            bail!(
                "kernel device path {} must be absolute and begin with /sys/devices/",
                quote(text)
            );
        }
        Ok(Selector::KernelPath(path))
    }

    /// Finds the device's link on the host.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn find(&self, host: &Handle) -> anyhow::Result<Link> {
        let name = match self {
            Selector::Device(name) => name.clone(),
            Selector::HardwareAddress(text) => return with_address(host, text),
            Selector::KernelPath(path) => sysfs::link_in(&path.join("net"))?,
            Selector::Pci(address) => sysfs::link_of_pci(address)?,
            Selector::Auxiliary(name) => sysfs::link_of_auxiliary(name)?,
        };
        host.link_by_name(&name)
            .with_context(|| format!("failed to find {}", quote(&name)))
    }
}

fn with_address(host: &Handle, text: &str) -> anyhow::Result<Link> {
    let address = parse_address(text).ok_or_else(|| {
        anyhow!("address {text}: invalid MAC address")
            .context(format!("failed to parse MAC address {}", quote(text)))
    })?;
    let links = host.links().context("failed to list node links")?;
    links
        .into_iter()
        .find(|link| link.mac == address)
        .context("failed to find physical interface")
}

/// A hardware address of 6, 8 or 20 bytes: Ethernet, EUI-64, InfiniBand. Pairs of
/// digits between `:` or `-`, or groups of four between `.`.
fn parse_address(text: &str) -> Option<Vec<u8>> {
    let (separator, digits) = match () {
        () if text.contains(':') => (':', 2),
        () if text.contains('-') => ('-', 2),
        () => ('.', 4),
    };
    let mut bytes = Vec::with_capacity(20);
    for group in text.split(separator) {
        if group.len() != digits || !group.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        for pair in group.as_bytes().chunks(2) {
            bytes.push(u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?);
        }
    }
    matches!(bytes.len(), 6 | 8 | 20).then_some(bytes)
}

/// Resolves `.` and `..` in the text of a path, without following links.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(clean.pop()),
            other => clean.push(other),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_paths_stay_below_devices() {
        for (text, path) in [
            (
                "/sys/devices/pci0000:00/0000:00:1f.6",
                "/sys/devices/pci0000:00/0000:00:1f.6",
            ),
            ("/sys/devices/./a//b/../c/", "/sys/devices/a/c"),
            ("/sys/../sys/devices/a", "/sys/devices/a"),
            ("/../sys/devices/a", "/sys/devices/a"),
        ] {
            let path = Selector::KernelPath(path.into());
            assert_eq!(Selector::kernel_path(text).unwrap(), path, "{text}");
        }
        for text in [
            "",
            "a",
            "sys/devices/a",
            "/sys/devices",
            "/sys/devices/",
            "/sys/devices/..",
            "/sys/devices/../class/net",
            "/sys/devicesx/a",
            "/etc",
        ] {
            let error = Selector::kernel_path(text).unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "kernel device path \"{text}\" must be absolute and begin with /sys/devices/"
                )
            );
        }
    }

    #[test]
    fn hardware_addresses() {
        let ethernet = vec![0x02, 0, 0, 0xab, 0xcd, 0xef];
        for text in ["02:00:00:aB:cd:ef", "02-00-00-ab-cd-ef", "0200.00ab.cdef"] {
            assert_eq!(parse_address(text), Some(ethernet.clone()), "{text}");
        }
        let infiniband = ["00"; 20].join(":");
        assert_eq!(parse_address(&infiniband), Some(vec![0; 20]));
        assert_eq!(parse_address("0000.0000.0000.0000"), Some(vec![0; 8]));
        for text in [
            "",
            "02",
            "02:00:00:ab:cd",
            "02:00:00:ab:cd:e",
            "02:00:00-ab:cd:ef",
            "02000.0ab.cdef",
            "02:00:00:ab:cd:+f",
        ] {
            assert_eq!(parse_address(text), None, "{text}");
        }
    }
}
