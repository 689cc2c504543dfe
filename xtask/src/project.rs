//! The project's directories, packages and version.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::commands;

/// The size limit of a release binary, in bytes.
pub(crate) const SIZE_BUDGET: u64 = 1_500_000;

/// A package of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) dir: PathBuf,
    /// Names of the binaries.
    pub(crate) binaries: Vec<String>,
    /// Names of its dependencies, without development dependencies.
    pub(crate) dependencies: Vec<String>,
}

impl Package {
    /// The directory, relative to the root: `plugins/main/bridge`.
    pub(crate) fn place(&self) -> String {
        shown(&self.dir)
    }

    /// The name of the directory, which is the name of a plugin.
    pub(crate) fn dir_name(&self) -> String {
        self.dir
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    pub(crate) fn is_plugin(&self) -> bool {
        self.place().starts_with("plugins/")
    }

    /// Whether it is a plugin for tests, which is not released.
    pub(crate) fn is_test_plugin(&self) -> bool {
        self.place().starts_with("plugins/debug/")
    }
}

/// The project's root directory.
pub(crate) fn root() -> PathBuf {
    // "cargo run" sets this variable. Without cargo, its value at build time is used.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    manifest
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Cargo's target directory.
pub(crate) fn target() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// The directory of the release binaries.
pub(crate) fn bin() -> PathBuf {
    root().join("bin")
}

/// A path relative to the root, for messages.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

/// All packages of the workspace, sorted by directory.
pub(crate) fn packages() -> Result<Vec<Package>> {
    let arguments = [
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
        "--offline",
    ];
    let metadata: Value =
        serde_json::from_str(&commands::read(&mut commands::cargo(&root(), arguments))?)?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    let mut packages: Vec<Package> = packages.iter().filter_map(package).collect();
    packages.sort_by(|a, b| a.dir.cmp(&b.dir));
    Ok(packages)
}

fn package(metadata: &Value) -> Option<Package> {
    let names = |list: &Value, keep: fn(&Value) -> bool| -> Vec<String> {
        let items = list
            .as_array()
            .into_iter()
            .flatten()
            .filter(|item| keep(item));
        items
            .filter_map(|item| item["name"].as_str().map(String::from))
            .collect()
    };
    Some(Package {
        name: metadata["name"].as_str()?.to_owned(),
        description: metadata["description"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        dir: Path::new(metadata["manifest_path"].as_str()?)
            .parent()?
            .to_path_buf(),
        binaries: names(&metadata["targets"], |target| target["kind"][0] == "bin"),
        dependencies: names(&metadata["dependencies"], |dependency| {
            dependency["kind"] != "dev"
        }),
    })
}

/// The plugins that are released for this platform.
pub(crate) fn plugins() -> Result<Vec<Package>> {
    let mut packages = packages()?;
    packages.retain(|package| {
        package.is_plugin()
            && !package.is_test_plugin()
            && !package.place().starts_with("plugins/windows/")
    });
    Ok(packages)
}

/// The version of the build: `CNI_BUILD_VERSION`, else that of git, else that of the workspace.
pub(crate) fn version() -> String {
    let workspace = concat!("v", env!("CARGO_PKG_VERSION"));
    variable("CNI_BUILD_VERSION")
        .or_else(|| git(&["describe", "--tags", "--match", "v[0-9]*", "--dirty"]))
        // Without a tag, the version of the workspace, with the commit if there is one.
        .or_else(|| {
            git(&["describe", "--always", "--dirty", "--exclude", "*"])
                .map(|commit| format!("{workspace}-dev-{commit}"))
        })
        .unwrap_or_else(|| workspace.to_owned())
}

/// The variables by which a build embeds its version and, if known, its commit.
pub(crate) fn build_environment() -> Vec<(&'static str, String)> {
    let commit = variable("CNI_BUILD_COMMIT").or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    let commit = commit.map(|commit| ("CNI_BUILD_COMMIT", commit));
    [("CNI_BUILD_VERSION", version())]
        .into_iter()
        .chain(commit)
        .collect()
}

/// An environment variable, unless it is empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn git(arguments: &[&str]) -> Option<String> {
    commands::read(Command::new("git").current_dir(root()).args(arguments)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_cargo_embeds_the_version_of_the_workspace() {
        let path = root().join(".cargo/config.toml");
        let text = std::fs::read_to_string(&path).expect("cargo's configuration");
        let version = concat!(
            "CNI_WORKSPACE_VERSION = \"v",
            env!("CARGO_PKG_VERSION"),
            '"'
        );
        assert!(text.contains(version), "{}: no {version}", path.display());
    }
}
