//! Where things are in this project, and which plugins it has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, commands};

/// The greatest size of a plugin binary as it ships, in bytes.
pub(crate) const SIZE_BUDGET: u64 = 1_500_000;

/// A plugin, found by its `plugins/<class>/<name>/Cargo.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plugin {
    /// `main`, `ipam`, `meta`, `debug` or `windows`.
    pub(crate) class: String,
    /// The directory's name, which is the binary's name.
    pub(crate) name: String,
    /// The cargo package.
    pub(crate) package: String,
    /// Names of the binaries.
    pub(crate) binaries: Vec<String>,
    /// The directory.
    pub(crate) dir: PathBuf,
}

/// The project's root directory.
pub(crate) fn root() -> PathBuf {
    // The place that xtask was built from, unless cargo tells that it has moved since.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    manifest
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Cargo's target directory.
pub(crate) fn target() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    root().join(target)
}

/// Where `build` puts the shipping binaries.
pub(crate) fn bin() -> PathBuf {
    root().join("bin")
}

/// All plugins, sorted by class and name.
pub(crate) fn plugins() -> Outcome<Vec<Plugin>> {
    let mut plugins = Vec::new();
    for class in directories(&root().join("plugins"))? {
        for dir in directories(&class)? {
            let manifest = dir.join("Cargo.toml");
            if let Ok(text) = fs::read_to_string(&manifest) {
                let package = manifest_value(&text, "[package]", "name")
                    .ok_or_else(|| format!("{}: no package name", manifest.display()))?;
                let binaries = manifest_values(&text, "[[bin]]", "name");
                plugins.push(Plugin {
                    class: file_name(&class),
                    name: file_name(&dir),
                    package,
                    binaries,
                    dir,
                });
            }
        }
    }
    if plugins.is_empty() {
        return Err(format!(
            "no plugins below {}",
            root().join("plugins").display()
        ));
    }
    Ok(plugins)
}

/// The values of `key` in each section of this heading. Enough of TOML for manifests in this project's form.
fn manifest_values(text: &str, heading: &str, key: &str) -> Vec<String> {
    let mut inside = false;
    let mut values = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == heading;
        } else if let Some((name, value)) = line.split_once('=')
            && inside
            && name.trim() == key
        {
            values.push(value.trim().trim_matches('"').to_owned());
        }
    }
    values
}

fn manifest_value(text: &str, heading: &str, key: &str) -> Option<String> {
    manifest_values(text, heading, key).into_iter().next()
}

/// The sub-directories of `dir`, sorted.
pub(crate) fn directories(dir: &Path) -> Outcome<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).map_err(|err| format!("{}: {err}", dir.display()))?;
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|p| p.is_dir())
        .collect();
    found.sort();
    Ok(found)
}

/// A path's last part as text.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The version that is built: `CNI_BUILD_VERSION`, else what git says, else the workspace's.
pub(crate) fn version() -> String {
    if let Ok(version) = std::env::var("CNI_BUILD_VERSION")
        && !version.is_empty()
    {
        return version;
    }
    let mut git = Command::new("git");
    git.current_dir(root())
        .args(["describe", "--tags", "--match", "v[0-9]*", "--dirty"]);
    let workspace = concat!("v", env!("CARGO_PKG_VERSION"));
    commands::read(&mut git).unwrap_or_else(|_| {
        // Without a tag: the version being worked on, and the commit if there is one.
        let mut git = Command::new("git");
        git.current_dir(root())
            .args(["describe", "--always", "--dirty", "--exclude", "*"]);
        match commands::read(&mut git) {
            Ok(commit) if !commit.is_empty() => format!("{workspace}-dev-{commit}"),
            _ => workspace.to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_read() {
        let text = "[package]\nname = \"cni-x\"\n[[bin]]\nname = \"x\"\npath = \"a\"\n[[bin]]\nname=\"y\"\n";
        assert_eq!(
            manifest_value(text, "[package]", "name"),
            Some("cni-x".into())
        );
        assert_eq!(manifest_values(text, "[[bin]]", "name"), ["x", "y"]);
    }

    #[test]
    fn every_plugin_has_its_binary() {
        for plugin in plugins().expect("plugins") {
            assert!(plugin.binaries.contains(&plugin.name), "{plugin:?}");
        }
    }
}
