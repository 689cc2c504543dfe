//! One request to a plugin.

use super::Command;
use crate::args::{Args, ArgsError};
use crate::ns::{Netns, NsError};
use crate::types::{self, Attachment, ResultError};
use crate::{AddResult, Version, json};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One request to a plugin: environment and configuration, validated.
#[derive(Clone, Debug)]
pub struct Call {
    /// The verb.
    pub command: Command,
    /// `CNI_CONTAINERID`; empty for GC and STATUS.
    pub container_id: String,
    /// `CNI_NETNS`; empty when not given, as DEL allows.
    pub netns: PathBuf,
    /// `CNI_IFNAME`; empty for GC and STATUS.
    pub if_name: String,
    /// `CNI_ARGS`, see [`Call::parse_args`].
    pub args: OsString,
    /// `CNI_PATH`: where other plugins are found.
    pub path: OsString,
    /// Whether `CNI_NETNS_OVERRIDE` is in force.
    pub netns_override: bool,
    /// Standard input, byte for byte: what a delegate receives.
    pub stdin: Vec<u8>,
    /// Standard input, parsed.
    pub conf: Value,
    /// The network's name.
    pub name: String,
    /// The configuration's version, one the plugin supports.
    pub version: Version,
}

impl Call {
    /// Decodes the configuration into a plugin's own type, by upstream's rules
    /// (see [`json::decode`]).
    ///
    /// # Errors
    /// When a value has the wrong type; the text names the key.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, json::Error> {
        json::decode(&self.conf)
    }

    /// The result of the plugin before this one in the chain, or the final
    /// result on CHECK and DEL.
    ///
    /// # Errors
    /// When it is malformed or of another family of versions than the configuration.
    pub fn prev_result(&self) -> Result<Option<AddResult>, ResultError> {
        types::prev_result(self.version.as_str(), &self.conf)
    }

    /// Opens the container's namespace.
    ///
    /// # Errors
    /// See [`Netns::open`].
    pub fn open_netns(&self) -> Result<Netns, NsError> {
        Netns::open(&self.netns)
    }

    /// Parses `CNI_ARGS`; `known` are the keys the plugin understands.
    ///
    /// # Errors
    /// For malformed pairs, and for unknown ones unless `IgnoreUnknown` is set.
    pub fn parse_args(&self, known: &[&str]) -> Result<Args, ArgsError> {
        Args::parse(&self.args, known)
    }

    /// The type of the IPAM plugin, if the configuration names one.
    pub fn ipam_type(&self) -> Option<String> {
        let ipam = json::get(&self.conf, "ipam")?;
        let name = json::get(ipam, "type")?.as_str()?;
        (!name.is_empty()).then(|| name.to_owned())
    }

    /// GC: the attachments that are still valid. `None` means that the runtime did not
    /// pass a list, and then nothing may be collected.
    ///
    /// # Errors
    /// When the list is not one of `{containerID, ifname}` objects.
    pub fn valid_attachments(&self) -> Result<Option<Vec<Attachment>>, json::Error> {
        types::valid_attachments(&self.conf)
    }

    /// Whether the `sandbox` of a result is the container's namespace: the same path, or
    /// another path to it.
    pub fn is_sandbox(&self, sandbox: &str) -> bool {
        let identity = |path: &Path| path.metadata().map(|m| (m.dev(), m.ino())).ok();
        let sandbox = Path::new(sandbox);
        sandbox == self.netns
            || identity(sandbox).is_some_and(|sandbox| Some(sandbox) == identity(&self.netns))
    }

    /// `CNI_NETNS` as a result's `sandbox`.
    pub fn sandbox(&self) -> String {
        self.netns.to_string_lossy().into_owned()
    }
}
