//! Decodes results of every version of the specification.

use serde::Deserialize;
use serde_json::Value;
use std::net::IpAddr;

use super::family::Family;
use super::{AddResult, Dns, Interface, IpConfig, ResultError, Route};
use crate::cidr::deserialize_optional_ip;
use crate::{Cidr, Version, json};

impl AddResult {
    /// Decodes a document in the format of `version`; an empty one means 0.1.0.
    ///
    /// The document's own `cniVersion` must be of the same family (0.1.0 and 0.2.0;
    /// 0.3.0 to 0.4.0; 1.0.0 and newer) but need not be equal. Only in the oldest family it
    /// may be missing. Keys match in any case. Unlike upstream, a `null`
    /// in a list and an address or route without its `address` or `dst` are refused.
    ///
    /// # Errors
    /// [`ResultError::UnsupportedVersion`], [`ResultError::Decode`] and
    /// [`ResultError::WrongFamily`], checked in this order.
    pub fn decode(version: &str, document: &Value) -> Result<AddResult, ResultError> {
        decode(version, document, None)
    }

    /// Decodes the output of a plugin's ADD, which may be of any version, and returns it with
    /// that version. `config_version` is the `cniVersion` of its configuration, which applies
    /// to a result without one.
    ///
    /// # Errors
    /// [`ResultError::RawResult`] for anything but a JSON object (`null` counts as an
    /// empty one), and as [`AddResult::decode`].
    pub fn from_plugin_output(
        config_version: &str,
        stdout: &[u8],
    ) -> Result<(Version, AddResult), ResultError> {
        let mut object = match json::parse(stdout).map_err(ResultError::RawResult)? {
            Value::Null => serde_json::Map::new(),
            Value::Object(object) => object,
            other => {
                let error = format!("expected an object, got {}", json::kind(&other));
                return Err(ResultError::RawResult(json::Error::new(error)));
            }
        };
        let version = match object.get("cniVersion") {
            Some(Value::String(version)) if !version.is_empty() => version.clone(),
            _ => {
                // As the last member it overrides the same key in another case.
                object.shift_remove("cniVersion");
                object.insert("cniVersion".into(), config_version.into());
                config_version.to_owned()
            }
        };
        let result = AddResult::decode(&version, &object.into())?;
        // Decoding has refused unknown versions.
        let known = Version::from_text(&version).unwrap_or(Version::CURRENT);
        Ok((known, result))
    }
}

/// Returns the `prevResult` of a configuration; `None` if it has none.
///
/// Its version must belong to the family of `conf_version`, the configuration's
/// `cniVersion`, which also applies to a `prevResult` without a version.
///
/// # Errors
/// [`ResultError::PrevResult`]: `could not parse prevResult: <why>`.
pub(crate) fn prev_result(
    conf_version: &str,
    conf: &Value,
) -> Result<Option<AddResult>, ResultError> {
    json::get(conf, "prevResult")
        .map(|document| decode(conf_version, document, Some(conf_version)))
        .transpose()
        .map_err(|error| ResultError::PrevResult(Box::new(error)))
}

/// Decodes a document. `default` replaces a missing or empty `cniVersion`.
fn decode(
    version: &str,
    document: &Value,
    default: Option<&str>,
) -> Result<AddResult, ResultError> {
    let Some(known) = Version::from_text(version) else {
        return Err(ResultError::UnsupportedVersion(version.to_owned()));
    };
    let family = Family::of(known);
    let (got, result) = match family {
        Family::V020 => {
            let wire: Result020 = decode_object(document)?;
            (
                wire.cni_version,
                AddResult::from_020(wire.ip4, wire.ip6, wire.dns),
            )
        }
        Family::V040 => {
            let wire: Result100<Interface040> = decode_object(document)?;
            wire.split()
        }
        Family::V100 => {
            let wire: Result100<Interface> = decode_object(document)?;
            wire.split()
        }
    };
    let got = match default {
        Some(default) if got.is_empty() => default,
        _ => &got,
    };
    if family.texts().contains(&got) {
        Ok(result)
    } else {
        Err(ResultError::WrongFamily {
            supported: family.texts(),
            got: got.to_owned(),
        })
    }
}

/// Decodes an object; a document that is `null` counts as an empty one.
fn decode_object<T: Default + serde::de::DeserializeOwned>(
    document: &Value,
) -> Result<T, json::Error> {
    if document.is_null() {
        Ok(T::default())
    } else {
        json::decode(document)
    }
}

/// A result of 0.3.0 and newer. The key `version` that addresses have from 0.3.0 to 0.4.0
/// is ignored, since the address determines the family.
#[derive(Deserialize)]
#[serde(default)]
struct Result100<I> {
    #[serde(rename = "cniVersion")]
    cni_version: String,
    interfaces: Vec<I>,
    ips: Vec<IpConfig>,
    routes: Vec<Route>,
    dns: Dns,
}

impl<I> Default for Result100<I> {
    fn default() -> Self {
        Result100 {
            cni_version: String::new(),
            interfaces: Vec::new(),
            ips: Vec::new(),
            routes: Vec::new(),
            dns: Dns::default(),
        }
    }
}

impl<I: Into<Interface>> Result100<I> {
    /// Returns the document's version and its content.
    fn split(self) -> (String, AddResult) {
        let result = AddResult {
            interfaces: self.interfaces.into_iter().map(Into::into).collect(),
            ips: self.ips,
            routes: self.routes,
            dns: self.dns,
        };
        (self.cni_version, result)
    }
}

/// An interface before 1.0.0, which has fewer keys.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Interface040 {
    name: String,
    mac: String,
    sandbox: String,
}

impl From<Interface040> for Interface {
    fn from(wire: Interface040) -> Self {
        Interface {
            name: wire.name,
            mac: wire.mac,
            sandbox: wire.sandbox,
            ..Interface::default()
        }
    }
}

/// A result of 0.1.0 or 0.2.0.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Result020 {
    #[serde(rename = "cniVersion")]
    cni_version: String,
    ip4: Option<Slot>,
    ip6: Option<Slot>,
    dns: Dns,
}

/// The one address of an IP family, with its routes.
#[derive(Deserialize)]
struct Slot {
    ip: Cidr,
    #[serde(default, deserialize_with = "deserialize_optional_ip")]
    gateway: Option<IpAddr>,
    #[serde(default)]
    routes: Vec<Route>,
}

impl AddResult {
    fn from_020(ip4: Option<Slot>, ip6: Option<Slot>, dns: Dns) -> AddResult {
        let mut result = AddResult {
            dns,
            ..AddResult::default()
        };
        for slot in [ip4, ip6].into_iter().flatten() {
            result.ips.push(IpConfig {
                interface: None,
                address: slot.ip,
                gateway: slot.gateway,
            });
            result.routes.extend(slot.routes);
        }
        result
    }
}
