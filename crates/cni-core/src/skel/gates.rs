//! The tests between a well-formed request and the verb.

use super::{Call, Command};
use crate::ns::Netns;
use crate::quote::quote_list;
use crate::{Code, Error, Version, json, version};
use serde::Deserialize;
use serde_json::Value;
use std::cmp::Ordering;

/// The one key that is looked at before the command is even dispatched.
#[derive(Deserialize)]
pub(super) struct Name {
    #[serde(default)]
    pub(super) name: String,
}

#[derive(Deserialize)]
struct ConfVersion {
    #[serde(default, rename = "cniVersion")]
    cni_version: String,
}

/// The configuration's `cniVersion`; absent and empty mean 0.1.0.
pub(super) fn config_version(conf: &Value) -> Result<String, Error> {
    let decoded: ConfVersion = json::decode(conf).map_err(|e| {
        let msg = format!("decoding version from network config: {e}");
        Error::new(Code::DECODING_FAILURE, msg)
    })?;
    Ok(match decoded.cni_version.is_empty() {
        true => Version::V0_1_0.as_str().to_owned(),
        false => decoded.cni_version,
    })
}

/// Whether the verb may be called with a configuration of this version.
///
/// # Errors
/// Code 1 with the three texts runtimes know; code 6 for a version that is none.
pub(super) fn admit(
    command: Command,
    config_version: &str,
    supported: &[Version],
) -> Result<Version, Error> {
    let since = match command {
        Command::Check => Some(Version::V0_4_0),
        Command::Gc | Command::Status => Some(Version::V1_1_0),
        _ => None,
    };
    if let Some(since) = since {
        let compare = |a: &str, b: &str| {
            version::compare(a, b).map_err(|e| Error::new(Code::DECODING_FAILURE, e.to_string()))
        };
        let refuse = |who: &str| {
            Err(Error::new(
                Code::INCOMPATIBLE_VERSION,
                format!("{who} version does not allow {}", command.name()),
            ))
        };
        if compare(config_version, since.as_str())? == Ordering::Less {
            return refuse("config");
        }
        let mut reached = false;
        for candidate in supported {
            reached |= compare(candidate.as_str(), config_version)? != Ordering::Less;
        }
        if !reached {
            return refuse("plugin");
        }
    }
    supported
        .iter()
        .copied()
        .find(|v| v.as_str() == config_version)
        .ok_or_else(|| {
            let known = quote_list(supported.iter().map(|v| v.as_str()));
            Error::new(Code::INCOMPATIBLE_VERSION, "incompatible CNI versions").with_details(
                format!("config is \"{config_version}\", plugin supports {known}"),
            )
        })
}

/// Refuses the plugin's own namespace as the container's. A namespace that
/// cannot be opened is another one, for all that matters here.
pub(super) fn not_own_netns(call: &Call) -> Result<(), Error> {
    if call.netns_override || call.netns.as_os_str().is_empty() {
        return Ok(());
    }
    let Ok(target) = Netns::open(&call.netns) else {
        return Ok(());
    };
    let own = Netns::current().map_err(|e| {
        Error::new(Code::INVALID_NETNS, "get plugin's netns failed").with_details(e.to_string())
    })?;
    match target.is_same(&own) {
        Ok(true) => Err(Error::new(
            Code::INVALID_NETNS,
            "plugin's netns and netns from CNI_NETNS should not be the same",
        )),
        Ok(false) | Err(_) => Ok(()),
    }
}
