//! What of prevResult the plugin goes by: the container's addresses, and the bridge
//! that it is plugged into.

use crate::config::{Config, Policy};
use anyhow::{Context, bail};
use cni_core::quote::quote;
use cni_core::{AddResult, Call};
use cni_state::Owner;
use plugin_kit::state::owner;
use std::net::IpAddr;

/// Whose attachment it is, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// Who has it.
    pub(crate) owner: Owner,
    /// The container's addresses, each once, IPv4 first.
    pub(crate) addresses: Vec<IpAddr>,
    /// Name of the bridge, if a policy is to be enforced on it.
    pub(crate) bridge: Option<String>,
}

impl Attachment {
    /// That of an ADD or CHECK, out of its result so far.
    ///
    /// # Errors
    /// When the policy asks for a bridge and the result does not begin with one.
    pub(crate) fn of(
        call: &Call,
        config: &Config,
        result: &AddResult,
    ) -> anyhow::Result<Attachment> {
        Ok(Attachment {
            owner: owner(call),
            addresses: addresses(result),
            bridge: bridge(config.policy, result)?,
        })
    }
}

/// prevResult, which ADD and CHECK need.
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

/// The bridge plugin puts its bridge first. An interface of the container in that
/// place would have another interface of the host, of the same name, meant.
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
