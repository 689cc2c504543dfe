//! State that an attachment leaves on the host, for the verbs that come later.
//!
//! It lives below `/run`: the kernel's state does not outlive a reboot, and neither
//! does what is remembered of it.

use anyhow::anyhow;
use cni_core::types::Attachment;
use cni_core::{Call, errno};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Between the parts of a record's file name. None of them can have it in itself.
const SEPARATOR: char = ':';

/// The record of one attachment: a file in a directory of the plugin's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    path: PathBuf,
}

impl Record {
    /// That of the attachment `call` is about, in `directory`.
    pub fn of(call: &Call, directory: &Path) -> Record {
        let parts = [&call.name, &call.container_id, &call.if_name];
        let name = parts.map(String::as_str).join(&SEPARATOR.to_string());
        Record {
            path: directory.join(name),
        }
    }

    /// What it holds; `None` when there is none that can be read.
    pub fn read(&self) -> Option<Vec<u8>> {
        fs::read(&self.path).ok()
    }

    /// Writes it, wholly or not at all.
    ///
    /// # Errors
    /// As [`write()`].
    pub fn write(&self, bytes: &[u8]) -> anyhow::Result<()> {
        write(&self.path, bytes)
    }

    /// Makes it what it was.
    ///
    /// # Errors
    /// As [`write()`] and [`remove`].
    pub fn put_back(&self, bytes: Option<&[u8]>) -> anyhow::Result<()> {
        match bytes {
            Some(bytes) => self.write(bytes),
            None => self.remove(),
        }
    }

    /// Removes it; one that is gone is done.
    ///
    /// # Errors
    /// As [`remove`].
    pub fn remove(&self) -> anyhow::Result<()> {
        remove(&self.path)
    }
}

/// Removes the records in `directory` that belong to `network` and to none of the
/// attachments `valid`. Whatever else is there is left alone.
///
/// # Errors
/// The first one met; the other records are removed all the same.
pub fn collect(directory: &Path, network: &str, valid: &[Attachment]) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    for file in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(name) = file.file_name().into_string() else {
            continue;
        };
        let parts: Vec<&str> = name.split(SEPARATOR).collect();
        let [of, container_id, if_name] = parts[..] else {
            continue;
        };
        let alive = valid
            .iter()
            .any(|a| a.container_id == container_id && a.if_name == if_name);
        if of == network && !alive {
            outcome = outcome.and(remove(&file.path()));
        }
    }
    outcome
}

/// Writes a file, wholly or not at all, for the owner alone; its directory is made.
/// Two processes must not write one file at a time, as the verbs of one attachment
/// never do.
///
/// # Errors
/// What the file system says.
pub fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let failed = |what: &str, path: &Path, e: &io::Error| {
        anyhow!("cannot {what} {}: {}", path.display(), errno::of(e))
    };
    if let Some(directory) = path.parent() {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder
            .create(directory)
            .map_err(|e| failed("create", directory, &e))?;
    }
    // No file of ours begins with a dot.
    let mut passing = std::ffi::OsString::from(".");
    passing.push(path.file_name().unwrap_or_default());
    let passing = path.with_file_name(passing);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(&passing)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&passing, path))
        .map_err(|e| {
            let _ = fs::remove_file(&passing);
            failed("write", path, &e)
        })
}

/// Removes a file; one that is gone is done.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn remove(path: &Path) -> anyhow::Result<()> {
    let gone = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
    match fs::remove_file(path) {
        Err(e) if !gone.contains(&e.kind()) => Err(anyhow!(
            "cannot remove {}: {}",
            path.display(),
            errno::of(&e)
        )),
        _ => Ok(()),
    }
}
