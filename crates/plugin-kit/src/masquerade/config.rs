//! The configuration keys `ipMasq` and `ipMasqBackend`.

use super::Masquerade;
use anyhow::Context;
use cni_core::quote::quote;
use cni_core::{Call, Cidr, Code, Error, json};
use netfilter::backend::Backend;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::net::IpAddr;

/// `ipMasq` as an object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Options {
    pub(super) ipv4: bool,
    pub(super) ipv6: bool,
    pub(super) exclude: Vec<Cidr>,
    #[serde(rename = "snatIP")]
    pub(super) snat_ip: Addresses,
    pub(super) fully_random: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            ipv4: true,
            ipv6: true,
            exclude: Vec::new(),
            snat_ip: Addresses::default(),
            fully_random: false,
        }
    }
}

/// An address, or a list of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Addresses(pub(super) Vec<IpAddr>);

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Addresses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address or an array of addresses")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Addresses, E> {
                let address = cni_core::cidr::parse_ip(text).map_err(E::custom)?;
                Ok(Addresses(vec![address]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Addresses, A::Error> {
                let mut addresses = Vec::new();
                while let Some(text) = list.next_element::<String>()? {
                    let address = cni_core::cidr::parse_ip(&text);
                    addresses.push(address.map_err(A::Error::custom)?);
                }
                Ok(Addresses(addresses))
            }
        }
        deserializer
            .deserialize_any(OneOrMore)
            .map_err(D::Error::custom)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    ip_masq_backend: Option<String>,
}

impl Masquerade {
    /// Decodes the configuration of `call`; `None` without `ipMasq`.
    ///
    /// # Errors
    /// For a value of the wrong type, with `what` as the beginning of the text, or an invalid
    /// one.
    pub fn load(call: &Call, what: &'static str) -> anyhow::Result<Option<Masquerade>> {
        let raw: Raw = call.config().context(what)?;
        let options = match json::get(&call.conf, "ipMasq") {
            None => return Ok(None),
            Some(given) if given.is_object() => {
                json::decode(given).map_err(|e| anyhow::anyhow!("{what}: ipMasq.{e}"))?
            }
            Some(given) => match given.as_bool() {
                Some(true) => Options::default(),
                Some(false) => return Ok(None),
                None => anyhow::bail!("{what}: ipMasq: expected true or false, or an object"),
            },
        };
        let backend = match raw.ip_masq_backend {
            None => None,
            Some(name) => Some(Backend::from_name(&name).ok_or_else(|| {
                invalid(format!("unknown ipmasq backend {}", quote(&name)))
                    .with_details("ipMasqBackend is \"iptables\" or \"nftables\"")
            })?),
        };
        for (number, address) in options.snat_ip.0.iter().enumerate() {
            let same = |other: &IpAddr| other.is_ipv4() == address.is_ipv4();
            if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
                let msg = format!("ipMasq.snatIP {address} is not a valid source address");
                return Err(invalid(msg).into());
            }
            if options.snat_ip.0.iter().take(number).any(same) {
                let msg = format!("ipMasq.snatIP has two addresses of one family: {address}");
                return Err(invalid(msg).into());
            }
        }
        Ok(Some(Masquerade { backend, options }))
    }
}

fn invalid(msg: String) -> Error {
    Error::new(Code::INVALID_NETWORK_CONFIG, msg)
}

/// Returns whether `ipMasq` is set in any form, also an invalid one: DEL errs on the side
/// of looking again.
pub(super) fn is_asked_for(call: &Call) -> bool {
    json::get(&call.conf, "ipMasq").is_some_and(|given| given.as_bool() != Some(false))
}
