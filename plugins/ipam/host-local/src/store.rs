//! The reservations of one network on disk.
//!
//! There is one file for each address, with the address as its name, created exclusively
//! and under the lock. Upstream reads and writes the same format. The files are described
//! in `Documentation/plugins/host-local.md`.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::freed;
use crate::index::{self, Index, hash};
use crate::last_reserved;
use crate::lock::{self, Mode};
use crate::origin::{Here, Origin};
use crate::reservation::{Relation, names};
use crate::state_dir;

pub(crate) use crate::index::Reservation;
pub(crate) use crate::reservation::{Content, Owner};

/// Temporary file of a new reservation. Other implementations do not take it for a
/// reservation: its name is not an address, and its content is not the container ID alone,
/// which very old releases expect.
const TEMP_FILE: &str = ".reservation";

/// Number of reservations from which an index is kept. Reading fewer files takes no longer
/// than keeping an index.
const INDEX_FROM: u64 = if cfg!(feature = "without-index") {
    u64::MAX
} else {
    32
};

/// Number of reservations below which the index is removed. Less than [`INDEX_FROM`],
/// so that it is not built and removed by every command.
const INDEX_UNTIL: u64 = 16;

mod change;
mod reclaim;

/// The reservations in the directory, as far as they are known.
enum Cache {
    /// Not read yet.
    Empty,
    /// An index that matches the directory.
    Index(Index),
    /// All reservations, read from the files and sorted by address.
    Scan(Vec<Reservation>),
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
    /// Returns the addresses of both kinds.
    pub(crate) fn all(&self) -> impl Iterator<Item = IpAddr> {
        self.own.iter().chain(&self.legacy).copied()
    }
}

/// The open and locked state of one network.
pub(crate) struct Store {
    directory: PathBuf,
    cache: Cache,
    writable: bool,
    /// Owner of the reservation in the temporary file, if this command wrote one.
    temp_owner: Option<Owner>,
    /// Whether a killed command left a temporary file behind.
    has_stale_temp_file: bool,
    /// Set if addresses of containers that are gone may be reclaimed.
    here: Option<Here>,
    /// The origin of the reservations that this command makes, if it is recorded.
    origin: Option<Origin>,
    /// Whether the kernel tells which namespaces exist, if that was asked for.
    can_tell: OnceCell<bool>,
    /// Whether the lock file lacks the mark of this boot.
    lacks_mark: bool,
    /// Whether the times are recorded at which addresses are freed.
    cools_down: bool,
    /// Declared last, so that it is released last. `None` while a directory without a lock
    /// file is read.
    lock: Option<File>,
}

impl Store {
    /// Opens the state for ADD, and creates directory and lock file if necessary.
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

    /// Opens the state for DEL or GC. `None` if nothing is reserved: there is no directory,
    /// or an empty one without a lock file.
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

    /// Opens the state for CHECK or STATUS, which change nothing. `None` if there is no
    /// directory.
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
        let cache = match Index::open(directory, writable) {
            Ok(Some(index)) => Cache::Index(index),
            _ => Cache::Empty,
        };
        let directory = directory.to_owned();
        Ok(Store {
            directory,
            cache,
            writable,
            temp_owner: None,
            has_stale_temp_file: false,
            here: None,
            origin: None,
            can_tell: OnceCell::new(),
            lacks_mark: false,
            cools_down: false,
            lock,
        })
    }

    fn path(&self, ip: IpAddr) -> PathBuf {
        self.directory.join(ip.to_string())
    }

    /// Returns the addresses that `owner` holds.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(crate) fn held_by(&mut self, owner: &Owner) -> anyhow::Result<Held> {
        let id_hash = hash(owner.id());
        if let Cache::Index(index) = &self.cache {
            if let Ok(listed) = index.find(id_hash)
                && let (held, true) = self.verify(owner, listed)
            {
                return Ok(held);
            }
            self.cache = Cache::Empty;
        }
        let listed = self.scanned()?.iter().filter(|one| one.id_hash == id_hash);
        let listed = listed.map(|one| one.ip).collect();
        Ok(self.verify(owner, listed).0)
    }

    /// Reads the files of the addresses that are listed for an owner's container, and returns
    /// those that it holds, and whether the list is right: none of another container.
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

    /// Returns all reservations, sorted by address.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(crate) fn reservations(&mut self) -> anyhow::Result<Vec<Reservation>> {
        if let Cache::Index(index) = &self.cache {
            if let Ok(all) = index.reservations() {
                return Ok(all);
            }
            self.cache = Cache::Empty;
        }
        self.scanned().map(<[_]>::to_vec)
    }

    /// Returns all reservations as read from the files, which are read only once.
    fn scanned(&mut self) -> anyhow::Result<&[Reservation]> {
        if !matches!(self.cache, Cache::Scan(_)) {
            let mut all = Vec::new();
            self.for_each(|ip, content| match content {
                Content::Empty => {}
                Content::Held { id, .. } => all.push(Reservation {
                    ip,
                    id_hash: hash(&id),
                }),
                Content::Unknown => all.push(Reservation {
                    ip,
                    id_hash: hash(""),
                }),
            })?;
            all.sort_unstable_by_key(|reservation| reservation.ip);
            self.cache = Cache::Scan(all);
        }
        match &self.cache {
            Cache::Scan(all) => Ok(all),
            _ => Ok(&[]),
        }
    }

    /// Calls `visit` with the content of every reservation file.
    fn for_each(&mut self, mut visit: impl FnMut(IpAddr, Content)) -> anyhow::Result<()> {
        for ip in names(&self.directory)? {
            if let Ok(content) = Content::read(&self.path(ip)) {
                visit(ip, content);
            }
        }
        // The temporary file of a killed command is always noticed here: that command did
        // not commit the index, so the next one reads the files.
        self.has_stale_temp_file =
            self.writable && self.temp_owner.is_none() && self.directory.join(TEMP_FILE).exists();
        Ok(())
    }

    /// Returns the addresses that have a file, without reading the files.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(crate) fn names(&self) -> anyhow::Result<Vec<IpAddr>> {
        names(&self.directory)
    }

    /// Removes the index entries whose files are gone. Returns whether there were any.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(crate) fn drop_vanished(&mut self) -> anyhow::Result<bool> {
        let Cache::Index(index) = &mut self.cache else {
            return Ok(false);
        };
        let mut present = names(&self.directory)?;
        present.sort_unstable();
        let vanished = |one: &Reservation| present.binary_search(&one.ip).is_err();
        let dropped = index
            .reservations()
            .map(|all| all.into_iter().filter(vanished).collect());
        let dropped: Vec<Reservation> = dropped.unwrap_or_default();
        for reservation in &dropped {
            self.update_cache(|index| index.remove(*reservation), |_| {});
        }
        Ok(!dropped.is_empty())
    }

    /// Records the origin of each reservation, as part of its file. A file system without
    /// attributes or room for one is not an error: an address without an origin is never
    /// reclaimed.
    pub(crate) fn set_origin(&mut self, origin: Option<Origin>) {
        self.origin = origin;
    }

    /// Records the time whenever an address is freed, if there is a cool-down.
    pub(crate) fn set_cool_down(&mut self, is_set: bool) {
        self.cools_down = is_set;
    }

    /// Returns the addresses that were freed less than `cool_down` ago, with the time left.
    ///
    /// # Errors
    /// When the file that lists them cannot be read.
    pub(crate) fn cooling(
        &self,
        cool_down: Duration,
    ) -> anyhow::Result<BTreeMap<IpAddr, Duration>> {
        freed::cooling(&self.directory, cool_down, self.boot(), self.writable)
    }

    /// Returns the hash of the boot ID; 0 if there is none.
    fn boot(&self) -> u64 {
        Here::read().map_or(0, Here::boot)
    }

    /// Returns the content of the file of an address.
    pub(crate) fn content(&self, ip: IpAddr) -> Content {
        Content::read(&self.path(ip)).unwrap_or(Content::Empty)
    }

    /// Returns the ID of the container that holds an address, if its file can be read.
    pub(crate) fn holder_of(&self, ip: IpAddr) -> Option<String> {
        self.content(ip).id().map(str::to_owned)
    }

    /// Returns the address reserved last for the range set at `index`, if known.
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

    /// Applies a change of the directory to the cache.
    fn update_cache(
        &mut self,
        in_index: impl FnOnce(&mut Index) -> io::Result<()>,
        in_scan: impl FnOnce(&mut Vec<Reservation>),
    ) {
        match &mut self.cache {
            Cache::Empty => {}
            Cache::Scan(all) => in_scan(all),
            Cache::Index(index) => {
                if in_index(index).is_err() {
                    // The index is marked dirty, or the directory has changed, so that no
                    // later command uses it.
                    self.cache = Cache::Empty;
                }
            }
        }
    }

    /// Removes the temporary file, and commits, builds or removes the index.
    fn finish(&mut self) -> io::Result<()> {
        if self.has_stale_temp_file || self.temp_owner.is_some() {
            fs::remove_file(self.directory.join(TEMP_FILE))?;
        }
        let index = self.directory.join(index::NAME);
        match &mut self.cache {
            Cache::Empty => Ok(()),
            Cache::Index(index_open) if index_open.len() >= INDEX_UNTIL => index_open.commit(),
            Cache::Scan(all) if all.len() as u64 >= INDEX_FROM => {
                Index::build(&self.directory, all)?.commit()
            }
            Cache::Index(_) | Cache::Scan(_) => match fs::remove_file(&index) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
        }
    }
}

#[cfg(test)]
impl Store {
    /// Drops the store as if the process were killed: only the lock is released.
    pub(crate) fn crash(mut self) {
        self.writable = false;
    }

    /// Returns whether an index is in use.
    pub(crate) fn is_indexed(&self) -> bool {
        matches!(self.cache, Cache::Index(_))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.writable {
            // A failure does no harm: without an index the files are read.
            let _ = self.finish();
        }
    }
}

#[cfg(test)]
mod tests;
