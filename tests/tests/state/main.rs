//! Files that plugins keep on the host: private with any umask, safe from other users, found with names of any length.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in its helper functions"
)]

mod adversity;
mod chains;
mod intruder;
mod names;
mod umask;

use std::fs;
use std::path::{Path, PathBuf};

/// Returns all files below a directory.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files_below(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}
