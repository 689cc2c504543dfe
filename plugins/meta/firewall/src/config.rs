//! The configuration of the firewall plugin.

use crate::record::note;
use anyhow::Context;
use cni_core::quote::quote;
use cni_core::{Call, Code, Error};
use plugin_kit::detailed;
use serde::{Deserialize, Serialize};

/// The configuration, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `backend`: what accepts the traffic.
    pub backend: Backend,
    /// `iptablesAdminChainName`: the administrator's chain, before the plugin's rules.
    pub admin_chain: String,
    /// `firewalldZone`: the zone that addresses are added to.
    pub zone: String,
    /// `ingressPolicy`: who may reach the container.
    pub policy: Policy,
}

/// What accepts the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// firewalld if it runs, otherwise iptables, or nftables if iptables does not work.
    Auto,
    /// iptables.
    Iptables,
    /// firewalld.
    Firewalld,
    /// nftables, natively.
    Nftables,
}

/// Who may reach the container from this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Everybody.
    Open,
    /// Containers on its bridge; not those on other bridges with a policy.
    SameBridge,
    /// No containers on bridges with a policy, including its own.
    Isolated,
}

/// The configuration as it is decoded.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Raw {
    backend: String,
    iptables_admin_chain_name: String,
    firewalld_zone: String,
    ingress_policy: String,
}

impl Config {
    /// Decodes and validates the configuration of `call`.
    ///
    /// # Errors
    /// If a value has the wrong type, the policy is unknown, or the chain cannot be
    /// the administrator's. An unknown backend is not an error, as with upstream: it
    /// logs a warning and stands for [`Backend::Auto`].
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        let raw = Raw::load(call)?;
        let policy = Policy::from_name(&raw.ingress_policy)
            .ok_or_else(|| unknown_policy(&raw.ingress_policy))?;
        let backend = Backend::from_name(&raw.backend).unwrap_or_else(|| {
            note(&format!(
                "unrecognized backend {}, choosing one automatically; \
                 set it to \"iptables\", \"firewalld\" or \"nftables\", or remove it",
                quote(&raw.backend)
            ));
            Backend::Auto
        });
        let config = raw.with(backend, policy);
        refuse_bad_chain(&config.admin_chain)?;
        Ok(config)
    }

    /// The same for DEL and GC, which an invalid configuration must not stop: invalid
    /// values count as absent.
    pub fn load_leniently(call: &Call) -> Config {
        let raw = Raw::load(call).unwrap_or_default();
        let backend = Backend::from_name(&raw.backend).unwrap_or(Backend::Auto);
        let policy = Policy::from_name(&raw.ingress_policy).unwrap_or(Policy::Open);
        raw.with(backend, policy)
    }
}

impl Raw {
    fn load(call: &Call) -> anyhow::Result<Raw> {
        call.config().context("failed to load netconf")
    }

    fn with(self, backend: Backend, policy: Policy) -> Config {
        Config {
            backend,
            admin_chain: or(self.iptables_admin_chain_name, "CNI-ADMIN"),
            zone: or(self.firewalld_zone, "trusted"),
            policy,
        }
    }
}

fn or(given: String, default: &str) -> String {
    if given.is_empty() {
        default.to_owned()
    } else {
        given
    }
}

impl Backend {
    /// Returns the backend of this name, [`Backend::Auto`] for an empty one.
    fn from_name(name: &str) -> Option<Backend> {
        match name {
            "" => Some(Backend::Auto),
            "iptables" => Some(Backend::Iptables),
            "firewalld" => Some(Backend::Firewalld),
            "nftables" => Some(Backend::Nftables),
            _ => None,
        }
    }
}

fn unknown_policy(name: &str) -> anyhow::Error {
    detailed(
        format!("unknown ingress policy: {}", quote(name)),
        "ingressPolicy must be \"open\", \"same-bridge\" or \"isolated\"",
    )
}

impl Policy {
    /// Returns the policy of this name, [`Policy::Open`] for an empty one.
    pub fn from_name(name: &str) -> Option<Policy> {
        match name {
            "" | "open" => Some(Policy::Open),
            "same-bridge" => Some(Policy::SameBridge),
            "isolated" => Some(Policy::Isolated),
            _ => None,
        }
    }

    /// Returns the name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Policy::Open => "open",
            Policy::SameBridge => "same-bridge",
            Policy::Isolated => "isolated",
        }
    }
}

/// `XT_EXTENSION_MAXNAMELEN` (`linux/netfilter/x_tables.h`), without the zero.
const CHAIN_MAX: usize = 28;

/// Targets and chains of others: a jump to one of these would be a verdict, or a loop.
const RESERVED: [&str; 11] = [
    "ACCEPT",
    "DROP",
    "RETURN",
    "QUEUE",
    "INPUT",
    "FORWARD",
    "OUTPUT",
    "CNI-FORWARD",
    "CNI-ISOLATION-STAGE-1",
    "CNI-ISOLATION-STAGE-2",
    "LOG",
];

fn refuse_bad_chain(name: &str) -> Result<(), Error> {
    let problem = if RESERVED.contains(&name) {
        "the name is reserved"
    } else if name.len() > CHAIN_MAX {
        "it is longer than 28 characters"
    } else if name.starts_with(['-', '!']) || !name.bytes().all(is_plain) {
        "it must consist of letters, digits and \"-_.:\", and not begin with \"-\""
    } else {
        return Ok(());
    };
    Err(Error::new(
        Code::INVALID_NETWORK_CONFIG,
        format!(
            "iptablesAdminChainName {} is not a valid chain name: {problem}",
            quote(name)
        ),
    ))
}

/// Characters that iptables accepts without quotes, and nft in names of chains.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_have_names() {
        for policy in [Policy::Open, Policy::SameBridge, Policy::Isolated] {
            assert_eq!(Policy::from_name(policy.as_str()), Some(policy));
        }
        assert_eq!(Policy::from_name("Isolated"), None);
    }

    #[test]
    fn chains_of_an_administrator() {
        for name in ["CNI-ADMIN", "NOMAD-ADMIN", "a", &"x".repeat(28)] {
            assert!(refuse_bad_chain(name).is_ok(), "{name}");
        }
        for name in [
            "DROP",
            "CNI-FORWARD",
            "-x",
            "!x",
            "a b",
            "ü",
            "a\nb",
            &"x".repeat(29),
        ] {
            let error = refuse_bad_chain(name).unwrap_err();
            assert_eq!(error.code, Code::INVALID_NETWORK_CONFIG);
            assert!(error.msg.starts_with("iptablesAdminChainName "), "{error}");
        }
    }
}
