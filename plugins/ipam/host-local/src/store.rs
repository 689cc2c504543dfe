//! The reservations of one network on disk.
//!
//! One file an address, named like the address, created exclusively and under the
//! lock: the format that other implementations read and write alongside. See
//! `Documentation/plugins/host-local.md` for the files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

use crate::index::{self, Index, hash};
use crate::last_reserved;
use crate::lock::{self, Mode};
use crate::reservation::{Relation, file_error, names};
use crate::state_dir;

pub(crate) use crate::index::Holding;
pub(crate) use crate::reservation::{Content, Owner};

/// A reservation before it has its name. Neither an address nor, with its two lines,
/// anything a reader takes for a reservation of a very old release.
const SPARE: &str = ".reservation";

/// From how many reservations on an index is kept. Reading fewer files costs no more
/// than keeping one.
const INDEX_FROM: u64 = 32;

/// Below how many reservations the index goes. Less than [`INDEX_FROM`], lest it come
/// and go with every command.
const INDEX_UNTIL: u64 = 16;

/// What is known of the directory's content.
enum Knowledge {
    /// Nothing yet.
    Nothing,
    /// An index that agrees with the directory.
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
    /// Whether a spare reservation is to be removed at the end.
    spare: bool,
    /// Held until the store goes; declared last, so that it goes last. `None` when
    /// reading a directory that nobody has locked yet.
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
        // An index that cannot be read is as good as none.
        let knowledge = match Index::open(directory, writable) {
            Ok(Some(index)) => Knowledge::Index(index),
            _ => Knowledge::Nothing,
        };
        let directory = directory.to_owned();
        Ok(Store {
            directory,
            knowledge,
            writable,
            spare: false,
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
    /// one turns out to be of somebody else: then the list is wrong.
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

    /// Everything that is reserved, sorted by address.
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

    /// Reads the directory unless that has been done.
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
        // Whoever was killed before it could tidy up also left the directory in a state
        // that makes the next one read it.
        self.spare |= self.writable && self.directory.join(SPARE).exists();
        Ok(())
    }

    /// The addresses that have a file, without a look inside.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(crate) fn names(&self) -> anyhow::Result<Vec<IpAddr>> {
        names(&self.directory)
    }

    /// Forgets what an index lists although it has no file any more. `false` when there
    /// was no such thing.
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

    /// What the file of an address says.
    pub(crate) fn content(&self, ip: IpAddr) -> Content {
        Content::read(&self.path(ip)).unwrap_or(Content::Remnant)
    }

    /// The ID of the container that holds an address, if its file tells.
    pub(crate) fn holder_of(&self, ip: IpAddr) -> Option<String> {
        match self.content(ip) {
            Content::Held { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Reserves an address. `false` when it is taken.
    ///
    /// # Errors
    /// When the reservation cannot be written; nothing is reserved then.
    pub(crate) fn reserve(&mut self, ip: IpAddr, owner: &Owner) -> anyhow::Result<bool> {
        let path = self.path(ip);
        if !self.spare {
            self.write_spare(owner)?;
        }
        let spare = self.directory.join(SPARE);
        loop {
            // Complete from the first moment on, and never over another's.
            let error = match fs::hard_link(&spare, &path) {
                Ok(()) => {
                    // As a second name of the reservation it must not stay.
                    if let Err(error) = fs::remove_file(&spare) {
                        self.unlink(ip)?;
                        return Err(file_error("remove", &spare, &error));
                    }
                    self.spare = false;
                    break;
                }
                Err(error) => error,
            };
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EEXIST) => match self.content(ip) {
                    Content::Remnant => self.unlink(ip)?,
                    _ => return Ok(false),
                },
                // A file system without hard links.
                Some(Errno::EPERM | Errno::EOPNOTSUPP | Errno::ENOSYS) => {
                    if self.create(&path, owner)? {
                        break;
                    }
                    match self.content(ip) {
                        Content::Remnant => self.unlink(ip)?,
                        _ => return Ok(false),
                    }
                }
                _ => return Err(file_error("link", &path, &error)),
            }
        }
        let holding = Holding {
            ip,
            id_hash: hash(owner.id()),
        };
        self.note(
            |index| index.insert(holding),
            |all| {
                if let Err(at) = all.binary_search_by_key(&ip, |one| one.ip) {
                    all.insert(at, holding);
                }
            },
        );
        Ok(true)
    }

    fn write_spare(&mut self, owner: &Owner) -> anyhow::Result<()> {
        let path = self.directory.join(SPARE);
        // One that was left behind may be a second name of a reservation: it is removed,
        // never written to.
        if !self.create(&path, owner)? {
            fs::remove_file(&path).map_err(|error| file_error("remove", &path, &error))?;
            self.create(&path, owner)?;
        }
        self.spare = true;
        Ok(())
    }

    /// Writes a new file with an owner's reservation; `false` when the file exists.
    fn create(&self, path: &Path, owner: &Owner) -> anyhow::Result<bool> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        let mut file = match file {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(file_error("open", path, &error)),
        };
        if let Err(error) = file.write_all(owner.content().as_bytes()) {
            let error = file_error("write", path, &error);
            return Err(match fs::remove_file(path) {
                Ok(()) => error,
                Err(undo) => error.context(file_error("remove", path, &undo)),
            });
        }
        Ok(true)
    }

    fn unlink(&self, ip: IpAddr) -> anyhow::Result<()> {
        let path = self.path(ip);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(file_error("remove", &path, &error))
            }
            _ => Ok(()),
        }
    }

    /// Frees an address that container `id` holds. One that is free is no error.
    ///
    /// # Errors
    /// When its file cannot be removed.
    pub(crate) fn release(&mut self, ip: IpAddr, id: &str) -> anyhow::Result<()> {
        self.unlink(ip)?;
        let holding = Holding {
            ip,
            id_hash: hash(id),
        };
        self.note(
            |index| index.remove(holding),
            |all| all.retain(|one| one.ip != ip),
        );
        Ok(())
    }

    /// Frees everything that `owner` holds: what is recorded for its interface, or if
    /// there is no such thing, what a very old release recorded for its container.
    ///
    /// # Errors
    /// When a file cannot be removed; the others are removed all the same.
    pub(crate) fn release_all(&mut self, owner: &Owner) -> anyhow::Result<()> {
        let held = self.held_by(owner)?;
        let ips = if held.own.is_empty() {
            held.legacy
        } else {
            held.own
        };
        collect_errors(ips.into_iter().map(|ip| self.release(ip, owner.id())))
    }

    /// Frees every address for whose reservation `keep` says no, and what crashes left.
    ///
    /// # Errors
    /// When the directory cannot be read or a file cannot be removed; the others are
    /// removed all the same.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Content) -> bool) -> anyhow::Result<()> {
        let mut stale = Vec::new();
        let mut all = Vec::new();
        self.each(|ip, content| {
            let id = match &content {
                Content::Held { id, .. } => id.as_str(),
                Content::Remnant | Content::Unknown => "",
            };
            all.push(Holding {
                ip,
                id_hash: hash(id),
            });
            if content == Content::Remnant || !keep(&content) {
                stale.push((ip, id.to_owned()));
            }
        })?;
        all.sort_unstable_by_key(|holding| holding.ip);
        self.knowledge = Knowledge::Scan(all);
        collect_errors(stale.into_iter().map(|(ip, id)| self.release(ip, &id)))
    }

    /// The address that was reserved last for the range set at `index`, if known.
    pub(crate) fn last_reserved(&self, index: usize) -> Option<IpAddr> {
        last_reserved::read(&self.directory, index)
    }

    /// Remembers the address reserved last for the range set at `index`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn set_last_reserved(&mut self, index: usize, ip: IpAddr) -> anyhow::Result<()> {
        last_reserved::write(&self.directory, index, ip)
    }

    /// Records a change of the directory in what is known of it.
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
                    // It is marked as being changed, or the directory has changed under
                    // it: either way it is not trusted again.
                    self.knowledge = Knowledge::Nothing;
                }
            }
        }
    }

    /// Leaves the directory tidy and the index, if it is worth one, in agreement.
    fn finish(&mut self) -> io::Result<()> {
        if self.spare {
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

impl Drop for Store {
    fn drop(&mut self) {
        if self.writable {
            // Nothing depends on it: without an index the files are read.
            let _ = self.finish();
        }
    }
}

/// All errors in one, `a; b`.
fn collect_errors(results: impl Iterator<Item = anyhow::Result<()>>) -> anyhow::Result<()> {
    let errors: Vec<String> = results
        .filter_map(|result| result.err().map(|error| format!("{error:#}")))
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(anyhow::anyhow!(errors.join(";")))
    }
}

#[cfg(test)]
mod tests;
