//! The directory that holds a network's state, before there is anything in it.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use crate::reservation::file_error;

/// Creates the directory and its parents, mode 0755 less the umask.
///
/// # Errors
/// `mkdir <path>: <cause>`, with the path of the one that could not be created.
pub(crate) fn create(path: &Path) -> anyhow::Result<()> {
    let mut builder = DirBuilder::new();
    builder.mode(0o755);
    match builder.create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            let Some(parent) = parent else {
                return Err(file_error("mkdir", path, &error));
            };
            create(parent)?;
            match builder.create(path) {
                Ok(()) => Ok(()),
                Err(error) => accept_existing(path, error),
            }
        }
        Err(error) => accept_existing(path, error),
    }
}

fn accept_existing(path: &Path, error: io::Error) -> anyhow::Result<()> {
    // Somebody else was faster, or it is there although its parent is read-only.
    if path.is_dir() {
        return Ok(());
    }
    let error = match error.kind() {
        io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
        _ => error,
    };
    Err(file_error("mkdir", path, &error))
}

/// Finds out without changing anything whether addresses could be reserved: whether
/// the directory can be written, or created where there is none, and whether the file
/// system has room.
///
/// # Errors
/// What stands in the way.
pub(crate) fn usable(path: &Path) -> anyhow::Result<()> {
    // The part that exists decides.
    let mut existing = path;
    let metadata = loop {
        let error = match existing.metadata() {
            Ok(metadata) => break metadata,
            Err(error) => error,
        };
        let parent = existing
            .parent()
            .map(|parent| match parent.as_os_str().is_empty() {
                true => Path::new("."),
                false => parent,
            });
        match parent {
            Some(parent) if error.kind() == io::ErrorKind::NotFound && parent != existing => {
                existing = parent;
            }
            _ => return Err(file_error("stat", existing, &error)),
        }
    };
    if !metadata.is_dir() {
        return Err(file_error(
            "mkdir",
            existing,
            &io::ErrorKind::NotADirectory.into(),
        ));
    }
    let writable = AccessFlags::W_OK | AccessFlags::X_OK;
    access(existing, writable).map_err(|errno| file_error("write", existing, &errno.into()))?;
    let room = nix::sys::statvfs::statvfs(existing);
    let room = room.map_err(|errno| file_error("statfs", existing, &errno.into()))?;
    // Some file systems have no fixed number of files and say 0 of 0.
    let no_inodes = room.files() > 0 && room.files_free() == 0;
    if (room.blocks() > 0 && room.blocks_free() == 0) || no_inodes {
        return Err(file_error(
            "write",
            existing,
            &io::Error::from(nix::errno::Errno::ENOSPC),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creates_parents_and_accepts_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        usable(&deep).unwrap();
        assert!(!dir.path().join("a").exists());
        create(&deep).unwrap();
        create(&deep).unwrap();
        assert!(deep.is_dir());
    }

    #[test]
    fn names_the_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let text = |result: anyhow::Result<()>| result.unwrap_err().to_string();
        let expected = format!("mkdir {}: not a directory", file.display());
        assert_eq!(text(create(&file)), expected);
        assert_eq!(text(usable(&file)), expected);
        let below = file.join("net");
        assert_eq!(
            text(create(&below)),
            format!("mkdir {}: not a directory", below.display())
        );
        assert_eq!(
            text(usable(&below)),
            format!("stat {}: not a directory", below.display())
        );
    }
}
