//! Plugins under test: a name, a configuration that works, and what it needs.

mod builtin;

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use builtin::builtin;

/// A plugin and how to use it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Subject {
    /// The name of the binary, which the plugin also prints when it is called without `CNI_COMMAND`.
    pub(crate) plugin: String,
    /// A configuration that works, without `cniVersion`.
    pub(crate) config: Value,
    #[serde(default)]
    pub(crate) class: Class,
    /// The interface that it creates or changes.
    #[serde(default = "default_interface")]
    pub(crate) if_name: String,
    /// The versions of the specification that are tested, oldest first: those that it supports by its own account.
    #[serde(default)]
    pub(crate) versions: Vec<String>,
    /// Whether a second ADD of the same attachment may succeed.
    #[serde(default)]
    pub(crate) repeatable: bool,
    /// Whether it does nothing in the container's namespace; no IPAM plugin does.
    #[serde(default)]
    pub(crate) ignores_netns: bool,
    /// Whether only one attachment can exist at a time in this configuration.
    #[serde(default)]
    pub(crate) exclusive: bool,
    /// Addresses that a container reaches after ADD.
    #[serde(default)]
    pub(crate) reaches: Vec<String>,
    /// Whether two containers reach each other.
    #[serde(default)]
    pub(crate) connects: bool,
    /// Shell commands that prepare the host.
    #[serde(default)]
    pub(crate) before: Vec<String>,
    /// Shell commands, run on the host, that prepare each container before ADD.
    #[serde(default)]
    pub(crate) container: Vec<String>,
    /// Kernel features that it requires, see `testkit::needs`.
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    /// Parts of lines in the state of the host that change by themselves, or by design.
    #[serde(default)]
    pub(crate) ignore: Vec<String>,
}

/// What a plugin does in a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Class {
    /// Makes an interface in the container: the first plugin of a chain.
    #[default]
    Main,
    /// Allocates addresses for another plugin, and does not use the namespace.
    Ipam,
    /// Changes what the plugins before it have made, and needs `prevResult`.
    Chained,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Main => "main",
            Class::Ipam => "ipam",
            Class::Chained => "chained",
        })
    }
}

fn default_interface() -> String {
    "eth0".into()
}

impl Subject {
    /// Reads a file that describes one plugin, or a list of them.
    ///
    /// # Errors
    ///
    /// Names the file, and what is wrong with it.
    pub(crate) fn read(file: &Path) -> Result<Vec<Subject>> {
        let shown = file.display();
        let text =
            fs::read(file).with_context(|| format!("cannot read the subject file {shown}"))?;
        let value: Value = serde_json::from_slice(&text)
            .with_context(|| format!("the subject file {shown} is not JSON"))?;
        let entries = match value {
            Value::Array(entries) => entries,
            one => vec![one],
        };
        let subjects = entries.into_iter().map(|entry| {
            let subject: Subject = serde_json::from_value(entry)?;
            subject.validate()?;
            Ok(subject)
        });
        subjects
            .collect::<Result<_>>()
            .with_context(|| format!("the subject file {shown} does not describe a plugin"))
    }

    fn validate(&self) -> Result<()> {
        let name = &self.plugin;
        let is_file_name = !name.is_empty() && !name.contains('/');
        ensure!(is_file_name, "plugin: {name:?} is not the name of a file");
        ensure!(
            self.config.is_object(),
            "config: an object is expected: a network configuration without cniVersion"
        );
        for key in ["name", "type"] {
            ensure!(
                self.config[key]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "config.{key}: a string is missing"
            );
        }
        if let Some(feature) = self.needs.iter().find(|name| !testkit::is_feature(name)) {
            bail!("needs: {feature:?} is not a kernel feature that can be probed");
        }
        Ok(())
    }
}
