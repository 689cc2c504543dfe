//! One request to a plugin.

use super::{Bundle, Command};
use crate::args::{Args, ArgsError};
use crate::ns::{self, Netns, NsError};
use crate::types::{self, Attachment, ResultError};
use crate::{AddResult, Version, json};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::ffi::OsString;
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
    /// `CNI_PATH`: the directories of other plugins.
    pub path: OsString,
    /// Whether `CNI_NETNS_OVERRIDE` is set.
    pub netns_override: bool,
    /// Standard input, unchanged, as a delegate receives it.
    pub stdin: Vec<u8>,
    /// Standard input, parsed.
    pub conf: Value,
    /// The network's name.
    pub name: String,
    /// The configuration's version, one the plugin supports.
    pub version: Version,
    /// The plugins of this executable, which run in this process when they are delegates.
    pub bundle: Bundle,
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

    /// Returns the result of the previous plugin of the chain, or for CHECK and DEL the
    /// final result of the chain.
    ///
    /// # Errors
    /// When it is malformed, or its version belongs to another family than that of the
    /// configuration.
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

    /// Returns the type of the IPAM plugin, if the configuration has one.
    pub fn ipam_type(&self) -> Option<String> {
        let ipam = json::get(&self.conf, "ipam")?;
        let name = json::get(ipam, "type")?.as_str()?;
        (!name.is_empty()).then(|| name.to_owned())
    }

    /// Returns the attachments that are still valid, for GC. `None` means that the runtime
    /// passed no list, and nothing may be collected.
    ///
    /// # Errors
    /// When the value is not a list of `{containerID, ifname}` objects.
    pub fn valid_attachments(&self) -> Result<Option<Vec<Attachment>>, json::Error> {
        types::valid_attachments(&self.conf)
    }

    /// Returns whether the `sandbox` of a result is the container's namespace: the same
    /// path, or another path of the same namespace.
    pub fn is_sandbox(&self, sandbox: &str) -> bool {
        let sandbox = Path::new(sandbox);
        sandbox == self.netns
            || ns::identity(sandbox)
                .is_some_and(|sandbox| Some(sandbox) == ns::identity(&self.netns))
    }

    /// Returns whether there is a file at `CNI_NETNS`. Use this instead of looking at the
    /// path, which a confined process may not see.
    pub fn has_netns(&self) -> bool {
        !self.netns.as_os_str().is_empty() && ns::identity(&self.netns).is_some()
    }

    /// Returns `CNI_NETNS` as the `sandbox` of a result.
    pub fn sandbox(&self) -> String {
        self.netns.to_string_lossy().into_owned()
    }
}
