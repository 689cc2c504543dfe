//! What the plugin reads from prevResult: the addresses, and the bridge of a policy.

use crate::config::{Config, Policy};
use anyhow::{Context, bail};
use cni_core::quote::quote;
use cni_core::{AddResult, Call};
use cni_state::Owner;
use plugin_kit::state;
use std::net::IpAddr;

/// An attachment and what its result says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// Its names.
    pub(crate) owner: Owner,
    /// All addresses of the result, each once, IPv4 first.
    pub(crate) addresses: Vec<IpAddr>,
    /// Name of the bridge, if it has an ingress policy.
    pub(crate) bridge: Option<String>,
}

impl Attachment {
    /// Returns the attachment of an ADD or CHECK.
    ///
    /// # Errors
    /// If a policy needs a bridge and the result does not begin with one.
    pub(crate) fn of(
        call: &Call,
        config: &Config,
        result: &AddResult,
    ) -> anyhow::Result<Attachment> {
        Ok(Attachment {
            owner: state::owner(call),
            addresses: addresses(result),
            bridge: bridge(config.policy, result)?,
        })
    }
}

/// Returns prevResult, which ADD and CHECK need.
pub(crate) fn required_result(call: &Call) -> anyhow::Result<AddResult> {
    call.prev_result()
        .context("could not parse prevResult")?
        .context("missing prevResult from earlier plugin")
}

/// Returns all addresses of a result, each once, IPv4 first. As upstream does, they
/// are taken whichever interface they are listed for: not every main plugin says
/// which of its interfaces are the container's.
pub(crate) fn addresses(result: &AddResult) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = result.ips.iter().map(|ip| ip.address.addr()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Returns the bridge of a policy: the bridge plugin lists its bridge first. If the first
/// interface is the container's, a host interface of the same name is another one.
fn bridge(policy: Policy, result: &AddResult) -> anyhow::Result<Option<String>> {
    if policy == Policy::Open {
        return Ok(None);
    }
    match result.interfaces.first() {
        Some(first) if !first.sandbox.is_empty() => {}
        Some(first) if first.name.is_empty() => bail!("got empty bridge name"),
        Some(first) => return Ok(Some(first.name.clone())),
        None => {}
    }
    bail!(
        "interface needs to be set for ingress policy {}, \
         make sure to chain \"firewall\" plugin with \"bridge\"",
        quote(policy.as_str())
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use cni_core::Interface;

    fn interface(name: &str, sandbox: &str) -> Interface {
        Interface {
            name: name.to_owned(),
            sandbox: sandbox.to_owned(),
            ..Interface::default()
        }
    }

    #[test]
    fn a_policy_needs_a_bridge_of_the_host() {
        let mut result = AddResult::default();
        assert_eq!(bridge(Policy::Open, &result).unwrap(), None);
        let error = |result: &AddResult| bridge(Policy::Isolated, result).unwrap_err().to_string();
        assert!(error(&result).contains("ingress policy \"isolated\""));
        result.interfaces = vec![interface("eth0", "/ns")];
        assert!(error(&result).contains("make sure to chain"));
        result.interfaces = vec![interface("", "")];
        assert_eq!(error(&result), "got empty bridge name");
        result.interfaces = vec![interface("cni0", "")];
        let found = bridge(Policy::SameBridge, &result).unwrap();
        assert_eq!(found.as_deref(), Some("cni0"));
    }
}
