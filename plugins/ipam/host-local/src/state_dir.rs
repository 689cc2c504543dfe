//! Creates a network's directory, and checks whether it can be used.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use anyhow::bail;
use nix::errno::Errno;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use crate::reservation::file_error;

/// Creates the directory and its parents, mode 0755 less the umask.
///
/// # Errors
/// `mkdir <path>: <cause>`, with the path of the directory that could not be created.
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
    // Another process created it meanwhile, or it exists below a read-only parent.
    if path.is_dir() {
        return Ok(());
    }
    let error = match error.kind() {
        io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
        _ => error,
    };
    Err(file_error("mkdir", path, &error))
}

/// Checks, without changing anything, that addresses of `sets` range sets can be
/// reserved: the directory is writable or can be created, and the file system has room.
///
/// # Errors
/// The reason why not.
pub(crate) fn usable(path: &Path, sets: usize) -> anyhow::Result<()> {
    let (existing, missing) = existing_part(path)?;
    let writable = AccessFlags::W_OK | AccessFlags::X_OK;
    access(existing, writable).map_err(|errno| file_error("write", existing, &errno.into()))?;
    // Each set has a reservation and, in a new network, the last reserved address. One file
    // more is the lock of a new network, or temporary.
    let files = match missing {
        0 => sets + 1,
        directories => directories + 2 * sets + 1,
    };
    has_room(existing, files as u64)
}

/// Returns the longest part of `path` that exists, and the number of missing directories.
fn existing_part(path: &Path) -> anyhow::Result<(&Path, usize)> {
    let (mut existing, mut missing) = (path, 0);
    loop {
        let error = match existing.metadata() {
            Ok(metadata) if metadata.is_dir() => return Ok((existing, missing)),
            Ok(_) => {
                let error = io::ErrorKind::NotADirectory.into();
                return Err(file_error("mkdir", existing, &error));
            }
            Err(error) => error,
        };
        match existing.parent() {
            Some(parent) if error.kind() == io::ErrorKind::NotFound => {
                let is_empty = parent.as_os_str().is_empty();
                existing = if is_empty { Path::new(".") } else { parent };
                missing += 1;
            }
            _ => return Err(file_error("stat", existing, &error)),
        }
    }
}

/// Checks that the file system of `path` has room for this many small files.
fn has_room(path: &Path, files: u64) -> anyhow::Result<()> {
    let room = statvfs(path).map_err(|errno| file_error("statfs", path, &errno.into()))?;
    for (what, total, free) in [
        ("inodes", room.files(), room.files_free()),
        ("blocks", room.blocks(), room.blocks_free()),
    ] {
        // File systems without a fixed number of inodes report 0 of 0.
        if total > 0 && free < files {
            let error = file_error("write", path, &Errno::ENOSPC.into());
            bail!("{error}: an ADD needs {files} {what}, {free} are free");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creates_parents_and_accepts_existing_directories() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        usable(&deep, 1).unwrap();
        assert!(!dir.path().join("a").exists());
        create(&deep).unwrap();
        create(&deep).unwrap();
        assert!(deep.is_dir());
    }

    #[test]
    fn errors_name_the_path_and_the_cause() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let text = |result: anyhow::Result<()>| result.unwrap_err().to_string();
        let expected = format!("mkdir {}: not a directory", file.display());
        assert_eq!(text(create(&file)), expected);
        assert_eq!(text(usable(&file, 1)), expected);
        let below = file.join("net");
        assert_eq!(
            text(create(&below)),
            format!("mkdir {}: not a directory", below.display())
        );
        assert_eq!(
            text(usable(&below, 1)),
            format!("stat {}: not a directory", below.display())
        );
    }
}
