//! Finds a plugin by its type.

use crate::quote::quote;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

/// Why no plugin was found. Programs match the texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindError {
    /// The type is empty.
    NoName,
    /// The type is not a plain file name.
    InvalidName(String),
    /// `CNI_PATH` is empty.
    NoPaths,
    /// No directory of `CNI_PATH` holds it.
    NotFound {
        /// The type asked for.
        name: String,
        /// The directories searched.
        paths: Vec<PathBuf>,
    },
}

impl fmt::Display for FindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FindError::NoName => f.write_str("no plugin name provided"),
            FindError::InvalidName(name) => write!(f, "invalid plugin name: {name}"),
            FindError::NoPaths => f.write_str("no paths provided"),
            FindError::NotFound { name, paths } => {
                let paths: Vec<_> = paths.iter().map(|p| p.to_string_lossy()).collect();
                write!(
                    f,
                    "failed to find plugin {} in path [{}]",
                    quote(name.as_bytes()),
                    paths.join(" ")
                )
            }
        }
    }
}

impl std::error::Error for FindError {}

/// Splits `CNI_PATH`; an empty string is an empty list.
pub(super) fn split_path(list: &OsStr) -> Vec<PathBuf> {
    match list.is_empty() {
        true => Vec::new(),
        false => std::env::split_paths(list).collect(),
    }
}

/// Finds the executable of plugin `name`: the first regular file of that name. Symbolic
/// links are followed, permissions are not checked.
///
/// The name must be a plain file name: with a separator in it, a configuration could
/// execute any file (CVE-2021-20206). Empty elements of the path, which stand for the
/// current directory, are skipped.
///
/// # Errors
/// See [`FindError`].
pub fn find_in_path(name: &str, paths: &[PathBuf]) -> Result<PathBuf, FindError> {
    if name.is_empty() {
        return Err(FindError::NoName);
    }
    // A file name cannot contain a zero byte either.
    if name.contains(['/', '\0']) || (cfg!(windows) && name.contains('\\')) {
        return Err(FindError::InvalidName(name.into()));
    }
    if paths.is_empty() {
        return Err(FindError::NoPaths);
    }
    let searched = paths.iter().filter(|dir| !dir.as_os_str().is_empty());
    let candidates =
        searched.flat_map(|dir| suffixes().iter().map(move |s| candidate(dir, name, s)));
    candidates
        .into_iter()
        .find(|file| file.is_file())
        .ok_or_else(|| FindError::NotFound {
            name: name.into(),
            paths: paths.to_vec(),
        })
}

fn candidate(dir: &Path, name: &str, suffix: &str) -> PathBuf {
    dir.join(format!("{name}{suffix}"))
}

fn suffixes() -> &'static [&'static str] {
    match cfg!(windows) {
        true => &[".exe", ""],
        false => &[""],
    }
}
