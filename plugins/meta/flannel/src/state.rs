//! What ADD has given to the delegate, kept for DEL.
//!
//! Upstream keeps it in a file by the container's ID. A container with attachments to
//! two networks has but one of these, so there is a second file by network and
//! interface as well. Both hold the same text, and either implementation's DEL finds
//! what the other has written.

use crate::delegate::Delegate;
use anyhow::anyhow;
use cni_core::types::Attachment;
use cni_core::{Call, errno};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Between the parts of a file's name. None of them can have it in itself.
const SEPARATOR: char = ':';
/// Longest name of a file (`NAME_MAX` of limits.h).
const NAME_MAX: usize = 255;

/// The state of one attachment.
pub(crate) struct State<'a> {
    call: &'a Call,
    dir: &'a Path,
}

/// What is known of an attachment.
pub(crate) enum Stored {
    /// There has been no ADD, or a DEL since.
    Nothing,
    /// There has been an ADD, and what it has written is broken.
    Corrupt,
    /// What the delegate was given.
    Delegate(Delegate),
}

impl<'a> State<'a> {
    pub(crate) fn of(call: &'a Call, dir: &'a Path) -> Self {
        State { call, dir }
    }

    /// Upstream's file.
    fn shared(&self) -> PathBuf {
        self.dir.join(&self.call.container_id)
    }

    /// What the names of the files of this container and network begin with.
    fn prefix(&self) -> String {
        let Call {
            container_id, name, ..
        } = self.call;
        format!("{container_id}{SEPARATOR}{name}{SEPARATOR}")
    }

    /// The attachment's own file; `None` if it cannot have such a long name, and then
    /// there is upstream's only.
    fn own(&self) -> Option<PathBuf> {
        let name = self.prefix() + &self.call.if_name;
        (name.len() <= NAME_MAX).then(|| self.dir.join(name))
    }

    /// For messages.
    pub(crate) fn describe(&self) -> String {
        format!("{}", self.own().unwrap_or_else(|| self.shared()).display())
    }

    /// Looks at upstream's file first: it is never older, if it is of this network.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub(crate) fn read(&self) -> anyhow::Result<Stored> {
        let shared = read(&self.shared())?;
        let decoded = shared.as_deref().map(Delegate::decode);
        if let Some(Some(delegate)) = decoded
            && delegate.network() == self.call.name
        {
            return Ok(Stored::Delegate(delegate));
        }
        let own = self.own().map_or(Ok(None), |path| read(&path))?;
        Ok(match own.as_deref().map(Delegate::decode) {
            Some(Some(delegate)) => Stored::Delegate(delegate),
            Some(None) => Stored::Corrupt,
            // Of which network it was, nobody can tell.
            None if shared
                .as_deref()
                .is_some_and(|text| Delegate::decode(text).is_none()) =>
            {
                Stored::Corrupt
            }
            None => Stored::Nothing,
        })
    }

    /// Writes both files, each wholly or not at all. Upstream's is left alone while it is
    /// that of another network.
    ///
    /// # Errors
    /// When the file system refuses.
    pub(crate) fn write(&self, text: &str) -> anyhow::Result<()> {
        let refused = |what: &Path, e: &io::Error| {
            anyhow!("cannot write {}: {}", what.display(), errno::of(e))
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(self.dir)
            .map_err(|e| refused(self.dir, &e))?;
        if let Some(own) = self.own() {
            replace(self.dir, &own, text).map_err(|e| refused(&own, &e))?;
        }
        let shared = self.shared();
        let other = read(&shared)?
            .and_then(|text| Delegate::decode(&text))
            .is_some_and(|delegate| delegate.network() != self.call.name);
        if !other {
            replace(self.dir, &shared, text).map_err(|e| refused(&shared, &e))?;
        }
        Ok(())
    }

    /// Removes the attachment's own file, and upstream's if it is of this network, or
    /// nobody's, and no other interface of the container needs it.
    ///
    /// # Errors
    /// When the file system refuses.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        if let Some(own) = self.own() {
            remove(&own)?;
        }
        let shared = self.shared();
        let Some(text) = read(&shared)? else {
            return Ok(());
        };
        let is_other = Delegate::decode(&text).is_some_and(|d| d.network() != self.call.name);
        let prefix = self.prefix();
        if is_other || names(self.dir).any(|name| name.starts_with(&prefix)) {
            return Ok(());
        }
        remove(&shared)
    }
}

/// Removes the state of `network`'s attachments that are not among `valid`.
///
/// # Errors
/// When the file system refuses; the rest is gone through all the same.
pub(crate) fn collect(dir: &Path, network: &str, valid: &[Attachment]) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    for name in names(dir) {
        let path = dir.join(&name);
        let parts: Vec<&str> = name.split(SEPARATOR).collect();
        let is_stale = match parts[..] {
            [container_id, of, if_name] => {
                let is_valid =
                    |a: &Attachment| a.container_id == container_id && a.if_name == if_name;
                of == network && !valid.iter().any(is_valid)
            }
            [container_id] => {
                let text = read(&path).ok().flatten();
                let delegate = text.and_then(|text| Delegate::decode(&text));
                delegate.is_some_and(|delegate| delegate.network() == network)
                    && !valid.iter().any(|a| a.container_id == container_id)
            }
            _ => false,
        };
        if is_stale {
            outcome = remove(&path).and(outcome);
        }
    }
    outcome
}

/// The names of files, without those that are being written.
fn names(dir: &Path) -> impl Iterator<Item = String> {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files
        .filter_map(|file| file.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
}

fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if is_gone(&e) => Ok(None),
        Err(e) => Err(anyhow!("cannot read {}: {}", path.display(), errno::of(&e))),
    }
}

/// Takes the place of what is at `path`, and outlives a loss of power.
fn replace(dir: &Path, path: &Path, text: &str) -> io::Result<()> {
    // No ID begins with a dot.
    let passing = dir.join(format!(".{}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&passing).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&passing, path)
    });
    written.inspect_err(|_| {
        let _ = fs::remove_file(&passing);
    })
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(e) if !is_gone(&e) => Err(anyhow!(
            "cannot remove {}: {}",
            path.display(),
            errno::of(&e)
        )),
        _ => Ok(()),
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
