//! The crates that are linked into the binaries of a release.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{build, commands, project};

/// A linked crate.
#[derive(Debug)]
pub(crate) struct Component {
    pub(crate) name: String,
    pub(crate) version: String,
    /// An SPDX expression.
    pub(crate) license: String,
    pub(crate) repository: Option<String>,
    /// SHA-256 of the package on the registry; `None` for the crates of this workspace.
    pub(crate) checksum: Option<String>,
    /// The directory of its source.
    pub(crate) dir: PathBuf,
    /// Those of the registry.
    pub(crate) categories: Vec<String>,
    /// Names and versions of the linked crates that it uses.
    pub(crate) dependencies: Vec<Key>,
}

/// Name and version.
pub(crate) type Key = (String, String);

impl Component {
    pub(crate) fn key(&self) -> Key {
        (self.name.clone(), self.version.clone())
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.checksum.is_none()
    }
}

/// The crates in the binaries of the shipped packages, sorted by name and version.
///
/// Procedural macros and what they need run while compiling, and are not among them.
pub(crate) fn linked() -> Result<Vec<Component>> {
    let linked = linked_keys()?;
    let checksums = checksums(&project::root().join("Cargo.lock"))?;
    let metadata = metadata()?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    let keys: BTreeMap<&str, Key> = packages
        .iter()
        .filter_map(|package| Some((package["id"].as_str()?, key(package)?)))
        .collect();
    let nodes = metadata["resolve"]["nodes"].as_array();
    let uses: BTreeMap<&str, &Value> = nodes
        .into_iter()
        .flatten()
        .filter_map(|node| Some((node["id"].as_str()?, &node["dependencies"])))
        .collect();

    let mut components = Vec::new();
    for package in packages {
        let Some(key) = key(package).filter(|key| linked.contains(key)) else {
            continue;
        };
        let id = package["id"].as_str().unwrap_or_default();
        let used = uses.get(id).and_then(|list| list.as_array());
        let mut dependencies: Vec<Key> = used
            .into_iter()
            .flatten()
            .filter_map(|id| keys.get(id.as_str()?).cloned())
            .filter(|key| linked.contains(key))
            .collect();
        dependencies.sort();
        components.push(component(package, key, dependencies, &checksums)?);
    }
    components.sort_by_key(Component::key);
    Ok(components)
}

/// The hash by which upstream names chains and sets, and what it consists of.
const NAMES_HASH: &[&str] = &["block-buffer", "crypto-common", "digest", "sha2"];

/// Words in the names of crates that contain or wrap cryptography without the registry's category for it.
const CRYPTOGRAPHY: &[&str] = &[
    "aws", "boring", "cipher", "crypto", "hmac", "md5", "openssl", "ring", "rustls", "sha1",
];

/// Demands that no cryptography is linked but SHA-512, which protects nothing: it shortens names.
///
/// # Errors
///
/// Names the crates.
pub(crate) fn check_cryptography(components: &[Component]) -> Result<()> {
    let is_cryptography = |component: &&Component| {
        let mut categories = component.categories.iter();
        categories.any(|category| category.starts_with("cryptography"))
            || CRYPTOGRAPHY
                .iter()
                .any(|part| component.name.contains(part))
    };
    let more: Vec<&str> = components
        .iter()
        .filter(is_cryptography)
        .map(|component| component.name.as_str())
        .filter(|name| !NAMES_HASH.contains(name))
        .collect();
    ensure!(
        more.is_empty(),
        "cryptography is linked: {}; Documentation/packaging.md says that there is none but SHA-512",
        more.join(", ")
    );
    Ok(())
}

fn component(
    package: &Value,
    key: Key,
    dependencies: Vec<Key>,
    checksums: &BTreeMap<Key, String>,
) -> Result<Component> {
    let text = |field: &str| package[field].as_str().map(String::from);
    let license = text("license");
    let manifest = text("manifest_path").unwrap_or_default();
    let categories = package["categories"].as_array().into_iter().flatten();
    Ok(Component {
        license: license.with_context(|| format!("{} names no license", key.0))?,
        repository: text("repository"),
        checksum: checksums.get(&key).cloned(),
        dir: Path::new(&manifest)
            .parent()
            .map(Path::to_path_buf)
            .unwrap_or_default(),
        categories: categories
            .filter_map(|category| category.as_str().map(String::from))
            .collect(),
        dependencies,
        name: key.0,
        version: key.1,
    })
}

fn key(package: &Value) -> Option<Key> {
    let text = |field: &str| package[field].as_str().map(String::from);
    Some((text("name")?, text("version")?))
}

fn metadata() -> Result<Value> {
    let arguments = ["metadata", "--format-version", "1", "--locked"];
    let text = commands::read(&mut commands::cargo(&project::root(), arguments))?;
    serde_json::from_str(&text).context("cargo metadata prints no JSON")
}

/// Names and versions, with the features that the binaries have: `cargo metadata` adds those of tests.
fn linked_keys() -> Result<BTreeSet<Key>> {
    let mut arguments: Vec<String> = [
        "tree",
        "--locked",
        "--edges=normal,no-proc-macro",
        "--prefix=none",
        "--format={p}",
        "--target=x86_64-unknown-linux-musl",
    ]
    .map(String::from)
    .to_vec();
    let plugins = project::plugins()?.into_iter().map(|plugin| plugin.name);
    let others = [build::ALL_IN_ONE, build::CNITOOL, build::CONFORMANCE].map(String::from);
    for name in plugins.chain(others) {
        arguments.push(format!("--package={name}"));
    }
    let tree = commands::read(&mut commands::cargo(&project::root(), arguments))?;
    // "serde_json v1.0.154", or "rtnl v0.1.0 (/path) (*)"
    let keys = tree.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let name = words.next()?;
        Some((name.to_owned(), words.next()?.strip_prefix('v')?.to_owned()))
    });
    Ok(keys.collect())
}

/// The checksums in a `Cargo.lock`.
fn checksums(lock: &Path) -> Result<BTreeMap<Key, String>> {
    let text = fs::read_to_string(lock).with_context(|| lock.display().to_string())?;
    let package = |block: &str| {
        let value = |key: &str| {
            let mut lines = block.lines();
            lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))
        };
        let plain = |key: &str| Some(value(key)?.trim_matches('"').to_owned());
        Some(((plain("name")?, plain("version")?), plain("checksum")?))
    };
    Ok(text.split("[[package]]").filter_map(package).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_cryptography_is_the_hash_for_names() {
        let mut linked = linked().expect("cargo lists the linked crates");
        check_cryptography(&linked).expect("nothing but SHA-512");
        linked[0].name = "openssl-sys".into();
        let error = check_cryptography(&linked).expect_err("a TLS library");
        assert!(error.to_string().contains("openssl-sys"), "{error}");
    }

    #[test]
    fn crates_of_the_registry_have_checksums() {
        let linked = linked().expect("cargo lists the linked crates");
        let serde = linked.iter().find(|component| component.name == "serde");
        let serde = serde.expect("serde is linked");
        assert_eq!(serde.checksum.as_deref().map(str::len), Some(64));
        for ours in [
            "cni-bridge",
            build::ALL_IN_ONE,
            build::CNITOOL,
            build::CONFORMANCE,
        ] {
            assert!(
                linked.iter().any(|c| c.name == ours && c.is_ours()),
                "{ours}"
            );
        }
        assert!(
            linked
                .iter()
                .all(|c| c.name != "syn" && c.name != "proptest")
        );
    }
}
