//! CHECK: compares the configured addresses with those of prevResult.

use crate::config::Config;
use anyhow::{Context, bail};
use cni_core::{Call, IpConfig};

/// Compares each configured address with prevResult: address, prefix length, and the
/// gateway where the configuration names one. An interface plugin may have filled in
/// a gateway that the configuration leaves open.
pub(crate) fn run(call: &Call, config: &Config) -> anyhow::Result<()> {
    let result = call.prev_result()?.context("Required prevResult missing")?;
    for wanted in &config.ips {
        let failed = || {
            format!(
                "static: Failed to match addr {} on interface {}",
                wanted.address, call.if_name
            )
        };
        let mut found: Vec<&IpConfig> = result.ips.iter().collect();
        found.retain(|ip| ip.address.addr() == wanted.address.addr());
        let Some(first) = found.first() else {
            bail!("{}: prevResult does not have it", failed());
        };
        let prefix = first.address.prefix();
        found.retain(|ip| ip.address == wanted.address);
        let Some(first) = found.first() else {
            bail!("{}: in prevResult its prefix length is {prefix}", failed());
        };
        if let Some(gateway) = wanted.gateway
            && !found.iter().any(|ip| ip.gateway == Some(gateway))
        {
            match first.gateway {
                Some(other) => bail!(
                    "{}: in prevResult its gateway is {other}, not {gateway}",
                    failed()
                ),
                None => bail!("{}: in prevResult it lacks its gateway {gateway}", failed()),
            }
        }
    }
    Ok(())
}
