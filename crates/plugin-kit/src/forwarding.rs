//! IP forwarding of the host.

use crate::{ipv6, sysctl};
use anyhow::Context;
use cni_core::{Call, Code, Error, IpConfig};
use std::io;

const IPV4: &str = "net/ipv4/ip_forward";
const IPV6: &str = "net/ipv6/conf/all/forwarding";

/// STATUS: checks that forwarding is enabled, or could be enabled, for IPv4, and for IPv6 if
/// that is configured.
///
/// # Errors
/// Code 50, with the key.
pub fn probe(call: &Call) -> anyhow::Result<()> {
    for (wanted, key) in [(true, IPV4), (ipv6::is_configured(&call.conf), IPV6)] {
        if wanted && let Err(e) = sysctl::probe(key, "1") {
            // Without IPv6 in the kernel, IPAM reports it.
            if e.kind() == io::ErrorKind::NotFound {
                continue;
            }
            let why = cni_core::errno::of(&e);
            let msg = format!("forwarding is off and cannot be enabled: {key}: {why}");
            let way_out = format!("set {} to 1 on the host", key.replace('/', "."));
            let error = Error::new(Code::PLUGIN_NOT_AVAILABLE, msg);
            return Err(error.with_details(way_out).into());
        }
    }
    Ok(())
}

/// Enables forwarding for the address families of `ips`. DEL does not disable it, since
/// other programs may need it.
///
/// # Errors
/// When it is disabled and cannot be enabled.
pub fn enable(ips: &[IpConfig]) -> anyhow::Result<()> {
    for (wanted, key) in [
        (ips.iter().any(|ip| ip.address.is_ipv4()), IPV4),
        (ips.iter().any(|ip| !ip.address.is_ipv4()), IPV6),
    ] {
        if wanted {
            sysctl::ensure(key, "1")
                .map_err(|e| anyhow::anyhow!("{}", cni_core::errno::of(&e)))
                .with_context(|| format!("cannot set {key} to 1"))
                .context("failed to enable forwarding")?;
        }
    }
    Ok(())
}
