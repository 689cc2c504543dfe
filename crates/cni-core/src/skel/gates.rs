//! Checks of a well-formed request before the verb is called.

use super::{Call, Command};
use crate::ns::Netns;
use crate::quote::quote_list;
use crate::{Code, Error, Version, version};
use serde::Deserialize;
use std::cmp::Ordering;

/// The configuration key that is decoded before the command is dispatched.
#[derive(Deserialize)]
pub(super) struct Name {
    #[serde(default)]
    pub(super) name: String,
}

/// Checks that the verb may be called with a configuration of this version, and returns
/// the version.
///
/// # Errors
/// Code 1 with one of three texts that runtimes match; code 6 for a malformed version.
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

/// Refuses the plugin's own namespace as that of the container. A namespace that cannot be
/// opened is not refused, since the verb reports it.
///
/// # Errors
/// Code 8.
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
