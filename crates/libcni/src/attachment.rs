//! What distinguishes one attachment from others of its network.

use serde_json::{Map, Value};
use std::path::PathBuf;

/// One attachment of a container to a network, as the runtime describes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attachment {
    /// `CNI_CONTAINERID`
    pub container_id: String,
    /// `CNI_NETNS`: the path of the container's network namespace. Empty for DEL when it is
    /// gone.
    pub netns: PathBuf,
    /// `CNI_IFNAME`: the interface's name in the container.
    pub if_name: String,
    /// `CNI_ARGS`: pairs of keys and values, in order. `=` and `;` cannot occur in them.
    pub args: Vec<(String, String)>,
    /// The values of capabilities, such as `portMappings`. A plugin receives in
    /// `runtimeConfig` those that its configuration declares.
    pub capability_args: Map<String, Value>,
}

impl Attachment {
    /// Returns an attachment without arguments.
    pub fn new(
        container_id: impl Into<String>,
        netns: impl Into<PathBuf>,
        if_name: impl Into<String>,
    ) -> Attachment {
        Attachment {
            container_id: container_id.into(),
            netns: netns.into(),
            if_name: if_name.into(),
            ..Attachment::default()
        }
    }

    /// Returns the value of `CNI_ARGS`.
    pub(crate) fn cni_args(&self) -> String {
        let pairs: Vec<String> = self
            .args
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        pairs.join(";")
    }
}
