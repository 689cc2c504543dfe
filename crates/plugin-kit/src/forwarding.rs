//! IP forwarding of the host.

use crate::sysctl;
use anyhow::Context;
use cni_core::IpConfig;

const IPV4: &str = "net/ipv4/ip_forward";
const IPV6: &str = "net/ipv6/conf/all/forwarding";

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
