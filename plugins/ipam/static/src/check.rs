//! CHECK: compares the configured addresses with those of prevResult.

use crate::config::Config;
use anyhow::Context;
use cni_core::{Call, Code, Error, IpConfig};

/// Compares each configured address with prevResult: address, prefix length, and the
/// gateway where the configuration names one. An interface plugin may have filled in
/// a gateway that the configuration leaves open.
pub(crate) fn run(call: &Call, config: &Config) -> anyhow::Result<()> {
    let result = call.prev_result()?.context("Required prevResult missing")?;
    for wanted in &config.ips {
        if let Some(details) = difference(wanted, &result.ips) {
            let msg = format!(
                "static: Failed to match addr {} on interface {}",
                wanted.address, call.if_name
            );
            let error = Error::new(Code::INTERNAL, msg).with_details(details);
            return Err(error.into());
        }
    }
    Ok(())
}

/// How the addresses of prevResult differ from a configured one.
fn difference(wanted: &IpConfig, ips: &[IpConfig]) -> Option<String> {
    let mut found: Vec<&IpConfig> = ips.iter().collect();
    found.retain(|ip| ip.address.addr() == wanted.address.addr());
    let Some(first) = found.first() else {
        return Some("prevResult does not have it".to_owned());
    };
    let prefix = first.address.prefix();
    found.retain(|ip| ip.address == wanted.address);
    let Some(first) = found.first() else {
        return Some(format!("in prevResult its prefix length is {prefix}"));
    };
    let gateway = wanted.gateway?;
    if found.iter().any(|ip| ip.gateway == Some(gateway)) {
        return None;
    }
    Some(match first.gateway {
        Some(other) => format!("in prevResult its gateway is {other}, not {gateway}"),
        None => format!("in prevResult it lacks its gateway {gateway}"),
    })
}
