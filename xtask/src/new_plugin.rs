//! `cargo xtask new-plugin`: the rooms of a new plugin, which are every plugin's rooms.

use std::fs;

use crate::options::Options;
use crate::{Outcome, project};

/// Classes of plugins, the directories below `plugins/`.
const CLASSES: &[&str] = &["main", "ipam", "meta", "debug"];

/// The manifest every plugin starts with; `tidy` holds it to the part before `[dependencies]`.
pub(crate) fn manifest(name: &str) -> String {
    let library = name.replace('-', "_");
    format!(
        r#"[package]
name = "cni-{name}"
description = "The {name} CNI plugin"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
publish.workspace = true

[lints]
workspace = true

[lib]
name = "cni_{library}"

[[bin]]
name = "{name}"
path = "src/main.rs"

[dependencies]
anyhow.workspace = true
cni-core.workspace = true
plugin-kit.workspace = true
rtnl.workspace = true
serde.workspace = true

[dev-dependencies]
proptest.workspace = true
serde_json.workspace = true
testkit.workspace = true
"#
    )
}

fn main_rs(name: &str, library: &str, plugin: &str) -> String {
    format!(
        "//! The `{name}` plugin.\n\n#[global_allocator]\nstatic MEMORY: cni_core::Arena = \
         cni_core::Arena::new();\n\nfn main() -> std::process::ExitCode {{\n    \
         cni_core::skel::main(&cni_{library}::{plugin})\n}}\n"
    )
}

fn lib_rs(name: &str, plugin: &str) -> String {
    format!(
        r#"//! The {name} plugin: what it is for, in a sentence.

mod config;

pub use config::Config;

use anyhow::bail;
use cni_core::{{AddResult, Call, Plugin}};

/// The plugin.
#[derive(Debug)]
pub struct {plugin};

impl Plugin for {plugin} {{
    fn name(&self) -> &'static str {{
        "{name}"
    }}

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {{
        let _config = Config::load(call)?;
        bail!("{name} cannot ADD yet")
    }}

    fn del(&self, _call: &Call) -> anyhow::Result<()> {{
        Ok(())
    }}

    fn check(&self, call: &Call) -> anyhow::Result<()> {{
        let _config = Config::load(call)?;
        Ok(())
    }}

    fn gc(&self, _call: &Call) -> anyhow::Result<()> {{
        Ok(())
    }}

    fn status(&self, call: &Call) -> anyhow::Result<()> {{
        let _config = Config::load(call)?;
        Ok(())
    }}
}}
"#
    )
}

fn config_rs(name: &str) -> String {
    format!(
        r#"//! What may be asked of `{name}`.

use cni_core::Call;
use serde::Deserialize;

/// The network configuration, validated.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Config {{}}

impl Config {{
    /// The configuration of this call.
    ///
    /// # Errors
    /// When a value has a wrong type.
    pub fn load(call: &Call) -> anyhow::Result<Config> {{
        Ok(call.config()?)
    }}
}}
"#
    )
}

fn test_rs(name: &str) -> String {
    format!(
        r#"//! `{name}` through its binary.

use serde_json::json;
use testkit::{{Host, Plugin}};

#[test]
fn tells_its_versions() {{
    let _host = Host::new();
    let reply = Plugin::new("{name}").version().expect_ok().json();
    assert_eq!(reply["cniVersion"], "1.1.0");
    let versions = reply["supportedVersions"].as_array();
    assert!(versions.is_some_and(|all| all.contains(&json!("0.1.0"))));
}}
"#
    )
}

fn page(name: &str) -> String {
    format!(
        "# {name}\n\nWhat it is for.\n\n## A network to copy\n\n```json\n{{\n  \"cniVersion\": \"1.1.0\",\n  \
         \"name\": \"net\",\n  \"type\": \"{name}\"\n}}\n```\n\n## Configuration\n\n| key | type | default | meaning \
         |\n|---|---|---|---|\n\n## How it differs from upstream\n"
    )
}

/// `host-device` as a type name: `HostDevice`.
fn type_name(name: &str) -> String {
    let word = |word: &str| {
        let mut chars = word.chars();
        chars
            .next()
            .map(|first| first.to_ascii_uppercase().to_string() + chars.as_str())
            .unwrap_or_default()
    };
    name.split('-').map(word).collect()
}

fn is_plugin_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !name.ends_with('-')
}

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let positional = Options::new(arguments).positional()?;
    let [class, name] = positional.as_slice() else {
        return Err("usage: cargo xtask new-plugin CLASS NAME".into());
    };
    if !CLASSES.contains(&class.as_str()) {
        return Err(format!("no class {class}: one of {}", CLASSES.join(", ")));
    }
    if !is_plugin_name(name) {
        return Err(format!(
            "{name}: a plugin's name has small letters, digits and dashes only"
        ));
    }
    let root = project::root();
    let dir = root.join("plugins").join(class).join(name);
    if dir.exists() {
        return Err(format!("{} exists already", dir.display()));
    }
    let (library, plugin) = (name.replace('-', "_"), type_name(name));
    let files = [
        (dir.join("Cargo.toml"), manifest(name)),
        (dir.join("src/main.rs"), main_rs(name, &library, &plugin)),
        (dir.join("src/lib.rs"), lib_rs(name, &plugin)),
        (dir.join("src/config.rs"), config_rs(name)),
        (dir.join(format!("tests/{library}.rs")), test_rs(name)),
        (
            root.join(format!("Documentation/plugins/{name}.md")),
            page(name),
        ),
    ];
    for (path, text) in files {
        let parent = path.parent().unwrap_or(&root);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, text))
            .map_err(|err| format!("{}: {err}", path.display()))?;
        println!(
            "wrote {}",
            path.strip_prefix(&root).unwrap_or(&path).display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_types() {
        assert_eq!(type_name("host-device"), "HostDevice");
        assert_eq!(type_name("bridge"), "Bridge");
    }

    #[test]
    fn names_are_checked() {
        assert!(
            ["bridge", "host-local", "l2tp"]
                .iter()
                .all(|name| is_plugin_name(name))
        );
        assert!(
            ["", "Bridge", "a/b", "../x", "-x", "x-", "2x"]
                .iter()
                .all(|name| !is_plugin_name(name))
        );
    }
}
