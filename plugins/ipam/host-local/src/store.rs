//! The reservations of one network on disk.
//!
//! One file for each address, named like the address, created exclusively and under
//! the lock. Other implementations read and write the same format. See
//! `Documentation/plugins/host-local.md` for the files.

use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::index::{self, Index, hash};
use crate::last_reserved;
use crate::lock::{self, Mode};
use crate::reservation::{Relation, names};
use crate::state_dir;

pub(crate) use crate::index::Holding;
pub(crate) use crate::reservation::{Content, Owner};

/// Temporary name of a new reservation. It is no address, and its two lines are not the
/// content of a reservation of a very old release.
const SPARE: &str = ".reservation";

/// Number of reservations from which an index is kept. Reading fewer files costs no
/// more than keeping an index.
const INDEX_FROM: u64 = 32;

/// Number of reservations below which the index is removed. Less than [`INDEX_FROM`],
/// so that it is not built and removed by every command.
const INDEX_UNTIL: u64 = 16;

mod change;

/// Knowledge of the directory's content.
enum Knowledge {
    /// Nothing yet.
    Nothing,
    /// An index that matches the directory.
    Index(Index),
    /// The files were read. Sorted by address.
    Scan(Vec<Holding>),
}

/// The addresses that an attachment holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Recorded for its container and interface.
    pub(crate) own: Vec<IpAddr>,
    /// Recorded for its container alone.
    pub(crate) legacy: Vec<IpAddr>,
}

impl Held {
    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = IpAddr> {
        self.own.iter().chain(&self.legacy).copied()
    }
}

/// The open and locked state of one network.
pub(crate) struct Store {
    directory: PathBuf,
    knowledge: Knowledge,
    writable: bool,
    /// Owner whose spare reservation was written.
    spare: Option<Owner>,
    /// Whether a killed command left a spare reservation behind.
    stray: bool,
    /// Declared last, so that it is released last. `None` when reading a directory that
    /// has no lock file yet.
    _lock: Option<File>,
}

impl Store {
    /// Opens the state for an ADD; creates what is missing.
    ///
    /// # Errors
    /// When the directory cannot be created or locked.
    pub(crate) fn open(directory: &Path) -> anyhow::Result<Store> {
        if !directory.is_dir() {
            state_dir::create(directory)?;
        }
        let lock = lock::open(directory, true)?;
        Store::locked(directory, lock, Mode::Exclusive, lock::WAIT)
    }

    /// Opens the state for DEL or GC. `None` when nothing can be reserved because
    /// there is no directory.
    ///
    /// # Errors
    /// When the directory cannot be locked.
    pub(crate) fn open_to_release(directory: &Path) -> anyhow::Result<Option<Store>> {
        if !directory.is_dir() {
            return Ok(None);
        }
        let lock = match lock::open(directory, false)? {
            None if names(directory)?.is_empty() => return Ok(None),
            None => lock::open(directory, true)?,
            some => some,
        };
        Store::locked(directory, lock, Mode::Exclusive, lock::WAIT).map(Some)
    }

    /// Opens the state for CHECK or STATUS, which change nothing. `None` when there is
    /// no directory.
    ///
    /// # Errors
    /// When the directory cannot be locked.
    pub(crate) fn open_to_read(directory: &Path) -> anyhow::Result<Option<Store>> {
        if !directory.is_dir() {
            return Ok(None);
        }
        let lock = lock::open(directory, false)?;
        Store::locked(directory, lock, Mode::Shared, lock::WAIT).map(Some)
    }

    fn locked(
        directory: &Path,
        lock: Option<File>,
        mode: Mode,
        wait: Duration,
    ) -> anyhow::Result<Store> {
        let lock = lock
            .map(|file| lock::acquire(file, mode, directory, wait))
            .transpose()?;
        let writable = mode == Mode::Exclusive;
        // An unreadable index is ignored.
        let knowledge = match Index::open(directory, writable) {
            Ok(Some(index)) => Knowledge::Index(index),
            _ => Knowledge::Nothing,
        };
        let directory = directory.to_owned();
        Ok(Store {
            directory,
            knowledge,
            writable,
            spare: None,
            stray: false,
            _lock: lock,
        })
    }

    fn path(&self, ip: IpAddr) -> PathBuf {
        self.directory.join(ip.to_string())
    }

    /// The addresses that `owner` holds.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(crate) fn held_by(&mut self, owner: &Owner) -> anyhow::Result<Held> {
        let id_hash = hash(owner.id());
        if let Knowledge::Index(index) = &self.knowledge {
            if let Ok(listed) = index.find(id_hash)
                && let (held, true) = self.verify(owner, listed)
            {
                return Ok(held);
            }
            self.knowledge = Knowledge::Nothing;
        }
        let listed = self.scanned()?.iter().filter(|one| one.id_hash == id_hash);
        let listed = listed.map(|one| one.ip).collect();
        Ok(self.verify(owner, listed).0)
    }

    /// Reads the files of the addresses listed for an owner's container. `false` when
    /// one belongs to another container: then the list is wrong.
    fn verify(&self, owner: &Owner, mut listed: Vec<IpAddr>) -> (Held, bool) {
        listed.sort_unstable();
        let mut held = Held::default();
        let mut right = true;
        for ip in listed {
            let Ok(content) = Content::read(&self.path(ip)) else {
                continue;
            };
            match (owner.relation(&content), &content) {
                (Relation::Own, _) => held.own.push(ip),
                (Relation::Legacy, _) => held.legacy.push(ip),
                // Another interface of the same container.
                (Relation::Other, Content::Held { id, .. }) if id == owner.id() => {}
                _ => right = false,
            }
        }
        (held, right)
    }

    /// All reservations, sorted by address.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(crate) fn holdings(&mut self) -> anyhow::Result<Vec<Holding>> {
        if let Knowledge::Index(index) = &self.knowledge {
            if let Ok(all) = index.holdings() {
                return Ok(all);
            }
            self.knowledge = Knowledge::Nothing;
        }
        self.scanned().map(<[_]>::to_vec)
    }

    /// Reads the directory once.
    fn scanned(&mut self) -> anyhow::Result<&[Holding]> {
        if !matches!(self.knowledge, Knowledge::Scan(_)) {
            let mut all = Vec::new();
            self.each(|ip, content| match content {
                Content::Remnant => {}
                Content::Held { id, .. } => all.push(Holding {
                    ip,
                    id_hash: hash(&id),
                }),
                Content::Unknown => all.push(Holding {
                    ip,
                    id_hash: hash(""),
                }),
            })?;
            all.sort_unstable_by_key(|holding| holding.ip);
            self.knowledge = Knowledge::Scan(all);
        }
        match &self.knowledge {
            Knowledge::Scan(all) => Ok(all),
            _ => Ok(&[]),
        }
    }

    /// Reads every reservation.
    fn each(&mut self, mut visit: impl FnMut(IpAddr, Content)) -> anyhow::Result<()> {
        for ip in names(&self.directory)? {
            if let Ok(content) = Content::read(&self.path(ip)) {
                visit(ip, content);
            }
        }
        // A command killed before it could remove it also left the directory in a state
        // that makes the next command read it.
        self.stray = self.writable && self.spare.is_none() && self.directory.join(SPARE).exists();
        Ok(())
    }

    /// The addresses that have a file, which is not read.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(crate) fn names(&self) -> anyhow::Result<Vec<IpAddr>> {
        names(&self.directory)
    }

    /// Removes the index entries whose files are gone. `false` when there were none.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(crate) fn drop_vanished(&mut self) -> anyhow::Result<bool> {
        let Knowledge::Index(index) = &mut self.knowledge else {
            return Ok(false);
        };
        let mut present = names(&self.directory)?;
        present.sort_unstable();
        let vanished = |one: &Holding| present.binary_search(&one.ip).is_err();
        let dropped = index
            .holdings()
            .map(|all| all.into_iter().filter(vanished).collect());
        let dropped: Vec<Holding> = dropped.unwrap_or_default();
        for holding in &dropped {
            self.note(|index| index.remove(*holding), |_| {});
        }
        Ok(!dropped.is_empty())
    }

    /// The content of the file of an address.
    pub(crate) fn content(&self, ip: IpAddr) -> Content {
        Content::read(&self.path(ip)).unwrap_or(Content::Remnant)
    }

    /// The ID of the container that holds an address, if its file can be read.
    pub(crate) fn holder_of(&self, ip: IpAddr) -> Option<String> {
        match self.content(ip) {
            Content::Held { id, .. } => Some(id),
            _ => None,
        }
    }

    /// The address that was reserved last for the range set at `index`, if known.
    pub(crate) fn last_reserved(&self, index: usize) -> Option<IpAddr> {
        last_reserved::read(&self.directory, index)
    }

    /// Records the address reserved last for the range set at `index`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn set_last_reserved(&mut self, index: usize, ip: IpAddr) -> anyhow::Result<()> {
        last_reserved::write(&self.directory, index, ip)
    }

    /// Updates [`Knowledge`] with a change of the directory.
    fn note(
        &mut self,
        in_index: impl FnOnce(&mut Index) -> io::Result<()>,
        in_scan: impl FnOnce(&mut Vec<Holding>),
    ) {
        match &mut self.knowledge {
            Knowledge::Nothing => {}
            Knowledge::Scan(all) => in_scan(all),
            Knowledge::Index(index) => {
                if in_index(index).is_err() {
                    // It is marked as being changed, or the directory has changed: either
                    // way it is not trusted again.
                    self.knowledge = Knowledge::Nothing;
                }
            }
        }
    }

    /// Removes temporary files and writes, keeps or removes the index.
    fn finish(&mut self) -> io::Result<()> {
        if self.stray || self.spare.is_some() {
            fs::remove_file(self.directory.join(SPARE))?;
        }
        let index = self.directory.join(index::NAME);
        match &mut self.knowledge {
            Knowledge::Nothing => Ok(()),
            Knowledge::Index(index_open) if index_open.len() >= INDEX_UNTIL => index_open.commit(),
            Knowledge::Scan(all) if all.len() as u64 >= INDEX_FROM => {
                Index::build(&self.directory, all)?.commit()
            }
            Knowledge::Index(_) | Knowledge::Scan(_) => match fs::remove_file(&index) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
        }
    }
}

#[cfg(test)]
impl Store {
    /// Ends as a killed process does: only the lock is released.
    pub(crate) fn crash(mut self) {
        self.writable = false;
    }

    /// Whether an index is in use.
    pub(crate) fn is_indexed(&self) -> bool {
        matches!(self.knowledge, Knowledge::Index(_))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.writable {
            // Nothing depends on it: without an index the files are read.
            let _ = self.finish();
        }
    }
}

#[cfg(test)]
mod tests;
