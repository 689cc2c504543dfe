//! Licences of the code in the binaries that is not ours.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::components::Component;

/// What is linked besides crates: name, licence, and its text.
pub(crate) const RUNTIME: &[(&str, &str, &str)] = &[
    (
        "Rust standard library",
        "MIT OR Apache-2.0",
        include_str!("../../licenses/rust.txt"),
    ),
    ("musl", "MIT", include_str!("../../licenses/musl.txt")),
];

/// What the names of licence files begin with.
const FILES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];

/// Returns the licence texts of all crates that are not ours. Equal texts appear once.
///
/// # Errors
///
/// When a crate contains no licence text.
pub(crate) fn text(components: &[Component]) -> Result<String> {
    let mut by_text: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for component in components.iter().filter(|component| !component.is_ours()) {
        let texts = license_texts(&component.dir)?;
        ensure!(
            !texts.is_empty(),
            "{} {}: no license text in {}",
            component.name,
            component.version,
            component.dir.display()
        );
        for text in texts {
            let of = format!(
                "{} {} ({})",
                component.name, component.version, component.license
            );
            by_text.entry(text).or_default().push(of);
        }
    }
    for (name, license, text) in RUNTIME {
        let of = format!("{name} ({license})");
        by_text.entry((*text).to_owned()).or_default().push(of);
    }
    let mut sections: Vec<_> = by_text.into_iter().collect();
    // The order must not depend on the texts.
    sections.sort_by(|(_, a), (_, b)| a.cmp(b));
    let mut out = String::from(
        "The binaries contain code under these licenses besides that of this project.\n",
    );
    for (text, of) in sections {
        out += &format!(
            "\n{}\n{}\n\n{}\n",
            "=".repeat(80),
            of.join("\n"),
            text.trim()
        );
    }
    Ok(out)
}

/// The licence texts in the directory of a crate, sorted by file name.
fn license_texts(dir: &Path) -> Result<Vec<String>> {
    let context = || dir.display().to_string();
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).with_context(context)? {
        let path = entry.with_context(context)?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_uppercase();
        let is_license = FILES.iter().any(|prefix| name.starts_with(prefix)) || name == "UNLICENSE";
        if is_license && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    let read =
        |path: &PathBuf| fs::read_to_string(path).with_context(|| path.display().to_string());
    paths.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::components;

    #[test]
    fn every_linked_crate_has_a_license_text() {
        let components = components::linked().expect("cargo lists the linked crates");
        let text = text(&components).expect("license texts");
        for name in ["musl (MIT)", "Rust standard library (", "serde 1", "nix 0"] {
            assert!(text.contains(name), "no license of {name}");
        }
        assert!(!text.contains("cni-core"), "ours is in LICENSE");
    }
}
