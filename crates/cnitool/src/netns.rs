//! References to network namespaces on the command line.

use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf, absolute};

use anyhow::{Context, Result};
use clap_complete::CompletionCandidate;

/// Where `ip netns` and runtimes keep namespaces.
const NAMED: &str = "/run/netns";

/// Returns the path of the network namespace that an argument refers to.
///
/// # Errors
///
/// When the current directory of a relative path is unknown.
pub(crate) fn resolve(reference: &OsStr) -> Result<PathBuf> {
    match reference.is_empty() {
        // As upstream: the current directory, which is not a namespace.
        true => absolute("."),
        false => absolute(reference),
    }
    .map(|path| cleaned(&path))
    .with_context(|| format!("{}: the current directory is unknown", reference.display()))
}

/// Returns an absolute path without `.` and `..`. Links are not followed, since the container ID is derived from the
/// path, and upstream's is.
fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            // At the root this does nothing.
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir => {}
            part => clean.push(part),
        }
    }
    clean
}

/// Returns the named namespaces of the host for completions.
pub(crate) fn candidates() -> Vec<CompletionCandidate> {
    let entries = fs::read_dir(NAMED).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter().map(CompletionCandidate::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_without_following_links() {
        let clean = |path: &str| resolve(OsStr::new(path)).unwrap();
        assert_eq!(clean("/var/run/netns/a"), Path::new("/var/run/netns/a"));
        assert_eq!(clean("/a/./b//../../../c/"), Path::new("/c"));
        assert_eq!(clean("/.."), Path::new("/"));
        let here = std::env::current_dir().unwrap();
        assert_eq!(clean("x/../y"), here.join("y"));
        assert_eq!(clean(""), here);
    }
}
