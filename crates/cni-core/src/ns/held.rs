//! The container's namespace of this process's call, kept open.
//!
//! A process that has confined itself could not open it again where the path leads through
//! another process (`/proc/PID/ns/net`).

use super::Netns;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

static HELD: OnceLock<Netns> = OnceLock::new();

/// Keeps the namespace at `path` open for the later [`Netns::open`]s of this process.
pub(crate) fn hold(path: &Path) {
    if let Ok(netns) = Netns::open_path(path) {
        // It is the first one: a process has one call.
        let _ = HELD.set(netns);
    }
}

/// Returns the namespace if it was opened by this path.
pub(super) fn find(path: &Path) -> Option<&'static Netns> {
    HELD.get().filter(|held| held.path == path)
}

/// Returns device and inode of the file at `path`, if there is one.
pub(crate) fn identity(path: &Path) -> Option<(u64, u64)> {
    match find(path) {
        Some(held) => held.identity().ok(),
        None => path.metadata().ok().map(|m| (m.dev(), m.ino())),
    }
}
