//! The Kubernetes manifests, which name the image.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// File names and templates.
pub(super) const MANIFESTS: [(&str, &str); 2] = [
    (
        "cni-plugins-daemonset.yaml",
        include_str!("../../kubernetes/cni-plugins-daemonset.yaml"),
    ),
    (
        "cni-dhcp-daemonset.yaml",
        include_str!("../../kubernetes/cni-dhcp-daemonset.yaml"),
    ),
];

/// Stands for the image's name in the templates.
pub(super) const PLACEHOLDER: &str = "@IMAGE@";

/// Writes the manifests into a directory. Returns their paths.
pub(super) fn write(dir: &Path, reference: &str) -> Result<Vec<PathBuf>> {
    let write = |(name, template): &(&str, &str)| {
        let path = dir.join(name);
        fs::write(&path, template.replace(PLACEHOLDER, reference))
            .with_context(|| path.display().to_string())?;
        Ok(path)
    };
    MANIFESTS.iter().map(write).collect()
}
