//! The environment variables of the protocol.

use super::validate::{validate_container_id, validate_if_name};
use super::{Call, Command};
use crate::{Code, Error};
use std::ffi::{OsStr, OsString};

/// The `CNI_*` variables of one call. An empty variable counts as unset.
///
/// Values are bytes, since an environment need not be UTF-8.
#[derive(Clone, Debug, Default)]
pub struct Env {
    /// `CNI_COMMAND`
    pub command: OsString,
    /// `CNI_CONTAINERID`
    pub container_id: OsString,
    /// `CNI_NETNS`
    pub netns: OsString,
    /// `CNI_IFNAME`
    pub if_name: OsString,
    /// `CNI_ARGS`
    pub args: OsString,
    /// `CNI_PATH`
    pub path: OsString,
    /// `CNI_NETNS_OVERRIDE`
    pub netns_override: OsString,
}

impl Env {
    /// Returns the variables of this process.
    pub fn from_process() -> Env {
        let var = |name| std::env::var_os(name).unwrap_or_default();
        Env {
            command: var("CNI_COMMAND"),
            container_id: var("CNI_CONTAINERID"),
            netns: var("CNI_NETNS"),
            if_name: var("CNI_IFNAME"),
            args: var("CNI_ARGS"),
            path: var("CNI_PATH"),
            netns_override: var("CNI_NETNS_OVERRIDE"),
        }
    }

    /// Returns the variables of a delegate of `call`.
    pub(crate) fn of_delegate(call: &Call, verb: Command) -> Env {
        Env {
            command: verb.name().into(),
            container_id: call.container_id.as_str().into(),
            netns: call.netns.as_os_str().into(),
            if_name: call.if_name.as_str().into(),
            args: call.args.clone(),
            path: call.path.clone(),
            netns_override: if call.netns_override { "1" } else { "" }.into(),
        }
    }

    /// Returns all variables with their names. A delegate's differ from those of the
    /// process, so none may be left out.
    pub(crate) fn variables(&self) -> [(&'static str, &OsStr); 7] {
        [
            ("CNI_COMMAND", &self.command),
            ("CNI_CONTAINERID", &self.container_id),
            ("CNI_NETNS", &self.netns),
            ("CNI_IFNAME", &self.if_name),
            ("CNI_ARGS", &self.args),
            ("CNI_PATH", &self.path),
            ("CNI_NETNS_OVERRIDE", &self.netns_override),
        ]
    }

    /// Returns whether `CNI_NETNS_OVERRIDE` allows the plugin's own namespace as
    /// `CNI_NETNS`.
    pub(super) fn netns_override(&self) -> bool {
        let value = self.netns_override.to_string_lossy();
        value == "1" || value.eq_ignore_ascii_case("true")
    }

    /// Validates the variables that the command needs.
    ///
    /// The first malformed value, in the order of the variables, is reported instead of the
    /// list of missing ones.
    pub(super) fn validate(&self) -> Result<(), Error> {
        let command = self.command.to_string_lossy();
        let of_attachment = matches!(&*command, "ADD" | "DEL" | "CHECK");
        let mut missing = Vec::new();
        if of_attachment {
            match self.container_id.is_empty() {
                true => missing.push("CNI_CONTAINERID"),
                false => validate_container_id(&self.container_id.to_string_lossy())?,
            }
        }
        if matches!(&*command, "ADD" | "CHECK") && self.netns.is_empty() {
            missing.push("CNI_NETNS");
        }
        if of_attachment {
            match (self.if_name.is_empty(), self.if_name.to_str()) {
                (true, _) => missing.push("CNI_IFNAME"),
                (false, Some(name)) => validate_if_name(name)?,
                // The kernel would accept it, but a result could not contain it.
                (false, None) => {
                    return Err(Error::new(
                        Code::INVALID_ENVIRONMENT,
                        "interface name is not valid UTF-8",
                    )
                    .with_details(self.if_name.to_string_lossy()));
                }
            }
        }
        let needs_path = matches!(&*command, "ADD" | "DEL" | "CHECK" | "GC" | "STATUS");
        if needs_path && self.path.is_empty() {
            missing.push("CNI_PATH");
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            Code::INVALID_ENVIRONMENT,
            format!("required env variables [{}] missing", missing.join(",")),
        ))
    }
}
