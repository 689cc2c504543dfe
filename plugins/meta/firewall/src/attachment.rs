//! What of prevResult the plugin goes by: the container's addresses, and the bridge
//! that it is plugged into.

use crate::config::{Config, Policy};
use anyhow::{Context, bail};
use cni_core::quote::quote;
use cni_core::{AddResult, Call, IpConfig};
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

/// An attachment's three names.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    /// The network's name.
    pub(crate) network: String,
    /// `CNI_CONTAINERID`.
    pub(crate) container_id: String,
    /// `CNI_IFNAME`.
    pub(crate) if_name: String,
}

impl Owner {
    /// The attachment that `call` is about.
    pub(crate) fn of(call: &Call) -> Owner {
        Owner {
            network: call.name.clone(),
            container_id: call.container_id.clone(),
            if_name: call.if_name.clone(),
        }
    }
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
        let ips = result.ips.iter().filter(|ip| !is_of_host(result, ip));
        Ok(Attachment {
            owner: Owner::of(call),
            addresses: sorted(ips),
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

/// All addresses of a result; DEL goes by them, whoever made the rules.
pub(crate) fn all_addresses(result: &AddResult) -> Vec<IpAddr> {
    sorted(result.ips.iter())
}

fn sorted<'r>(ips: impl Iterator<Item = &'r IpConfig>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = ips.map(|ip| ip.address.addr()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Whether an address is that of an interface of the host, such as a gateway's.
fn is_of_host(result: &AddResult, ip: &IpConfig) -> bool {
    let number = ip.interface.and_then(|number| usize::try_from(number).ok());
    let interface = number.and_then(|number| result.interfaces.get(number));
    interface.is_some_and(|interface| interface.sandbox.is_empty())
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

    fn ip(address: &str, interface: Option<i64>) -> IpConfig {
        let mut ip = IpConfig::new(address.parse().unwrap());
        ip.interface = interface;
        ip
    }

    fn interface(name: &str, sandbox: &str) -> Interface {
        Interface {
            name: name.to_owned(),
            sandbox: sandbox.to_owned(),
            ..Interface::default()
        }
    }

    #[test]
    fn addresses_of_the_host_are_its_own() {
        let result = AddResult {
            interfaces: vec![interface("cni0", ""), interface("eth0", "/ns")],
            ips: vec![
                ip("fd00::2/64", Some(1)),
                ip("10.0.0.1/24", Some(0)),
                ip("10.0.0.2/24", Some(1)),
                ip("10.0.0.2/16", None),
                ip("10.0.0.3/24", Some(9)),
                ip("10.0.0.4/24", Some(-1)),
            ],
            ..AddResult::default()
        };
        let own = result.ips.iter().filter(|ip| !is_of_host(&result, ip));
        let text: Vec<String> = sorted(own).iter().map(IpAddr::to_string).collect();
        assert_eq!(text, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "fd00::2"]);
        assert_eq!(all_addresses(&result).len(), 5);
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
