//! Changes to the interface of a container during the life of a lease.

use crate::client::Configuration;
use anyhow::Context;
use cni_core::{Cidr, IpConfig};
use plugin_kit::addressing::route_spec;
use plugin_kit::sysctl;
use rtnl::{AddressSpec, Exclusivity, Family, Handle, LinkChange, Request};
use std::time::Duration;

/// Extends the lifetime of the address, or adds it with its routes if the interface does not
/// have it and `may_add`. Returns whether it was added.
///
/// # Errors
/// Those of the kernel.
pub(crate) fn configure(
    handle: &Handle,
    index: u32,
    wanted: &Configuration,
    may_add: bool,
) -> anyhow::Result<bool> {
    let (addr, prefix) = (wanted.address.addr(), wanted.address.prefix());
    let present = handle.addresses(index, Some(Family::of(addr)))?;
    let is_present = present
        .iter()
        .any(|found| found.addr == addr && found.prefix == prefix);
    if !is_present && !may_add {
        return Ok(false);
    }
    let mut spec = AddressSpec::new(addr, prefix);
    // The kernel refuses zero, which is a lease that ends this very second.
    spec.valid = wanted.valid.map(|valid| valid.max(Duration::from_secs(1)));
    spec.preferred = wanted.preferred;
    handle
        .request(Request::replace_address(index, &spec))
        .with_context(|| format!("cannot configure {}", wanted.address))?;
    if is_present {
        return Ok(false);
    }
    let ip = IpConfig {
        gateway: wanted.gateway,
        ..IpConfig::new(wanted.address)
    };
    for route in &wanted.routes {
        let spec = route_spec(route, &[&ip], index)?;
        match handle.request(Request::add_route(&spec, Exclusivity::Shared)) {
            Err(error) if !error.is_exists() => {
                return Err(error).with_context(|| format!("cannot add the route {route}"));
            }
            _ => {}
        }
    }
    Ok(true)
}

/// Removes an address; one that the interface does not have is fine.
///
/// # Errors
/// Those of the kernel.
pub(crate) fn remove(handle: &Handle, index: u32, address: Cidr) -> anyhow::Result<()> {
    let present = handle.addresses(index, Some(Family::of(address.addr())))?;
    let is_it =
        |found: &rtnl::Address| (found.addr, found.prefix) == (address.addr(), address.prefix());
    if present.iter().any(is_it) {
        handle
            .request(Request::del_address(
                index,
                address.addr(),
                address.prefix(),
            ))
            .with_context(|| format!("cannot remove {address}"))?;
    }
    Ok(())
}

/// Has the kernel form addresses from prefixes of router advertisements, or not. To be called in the namespace.
///
/// # Errors
/// When the interface has no IPv6.
pub(crate) fn set_autoconf(name: &str, on: bool) -> anyhow::Result<()> {
    let key = format!("net/ipv6/conf/{name}/autoconf");
    sysctl::ensure(&key, if on { "1" } else { "0" }).with_context(|| format!("cannot set {key}"))
}

/// Sets the MTU.
///
/// # Errors
/// Those of the kernel.
pub(crate) fn set_mtu(handle: &Handle, index: u32, mtu: u32) -> anyhow::Result<()> {
    let change = LinkChange {
        mtu: Some(mtu),
        ..LinkChange::default()
    };
    handle
        .request(Request::set_link(index, &change))
        .with_context(|| format!("cannot set mtu {mtu}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::namespace::{in_namespace, run};

    #[test]
    fn addresses_are_added_extended_and_removed() {
        in_namespace(|| {
            run("ip link set lo up");
            let handle = Handle::open().unwrap();
            let index = handle.link_by_name("lo").unwrap().index;
            let address: Cidr = "10.0.0.5/24".parse().unwrap();
            let mut wanted = Configuration {
                address,
                valid: Some(Duration::from_secs(100)),
                preferred: None,
                gateway: None,
                routes: Vec::new(),
            };
            let mut configure = |may_add, seconds| {
                wanted.valid = Some(Duration::from_secs(seconds));
                configure(&handle, index, &wanted, may_add).unwrap()
            };
            let shown = || run("ip -4 addr show dev lo");
            let left = || -> Option<u64> {
                let shown = shown();
                let (_, rest) = shown
                    .split_once("10.0.0.5/24")?
                    .1
                    .split_once("valid_lft ")?;
                rest.split_once("sec")?.0.parse().ok()
            };
            // The interface plugin may be about to add it.
            assert!(!configure(false, 100));
            assert!(!shown().contains("10.0.0.5"));
            assert!(configure(true, 100));
            assert!(left().is_some_and(|left| left <= 100), "{}", shown());
            assert!(!configure(false, 5000));
            assert!(left().is_some_and(|left| left > 1000), "{}", shown());
            for _ in 0..2 {
                remove(&handle, index, address).unwrap();
                assert!(!shown().contains("10.0.0.5"));
            }
        });
    }
}
