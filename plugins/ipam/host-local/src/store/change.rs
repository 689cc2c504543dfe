//! Reserves and frees addresses in a network's directory.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::errno::Errno;

use super::{Cache, Content, Owner, Reservation, Store, TEMP_FILE};
use crate::freed;
use crate::index::hash;
use crate::reservation::file_error;

impl Store {
    /// Reserves an address. Returns `false` if it is taken.
    ///
    /// # Errors
    /// When the reservation cannot be written; nothing is reserved then.
    pub(crate) fn reserve(&mut self, ip: IpAddr, owner: &Owner) -> anyhow::Result<bool> {
        let path = self.path(ip);
        if self.temp_owner.as_ref() != Some(owner) {
            self.write_temp_file(owner)?;
        }
        let temp = self.directory.join(TEMP_FILE);
        loop {
            // A link makes the complete file visible at once and never replaces another.
            let error = match fs::hard_link(&temp, &path) {
                Ok(()) => {
                    // The temporary file is now a second name of the reservation.
                    if let Err(error) = fs::remove_file(&temp) {
                        self.unlink(ip)?;
                        return Err(file_error("remove", &temp, &error));
                    }
                    self.temp_owner = None;
                    break;
                }
                Err(error) => error,
            };
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EEXIST) => match self.content(ip) {
                    Content::Empty => self.unlink(ip)?,
                    _ => return Ok(false),
                },
                // A file system without hard links.
                Some(Errno::EPERM | Errno::EOPNOTSUPP | Errno::ENOSYS) => {
                    if self.create(&path, owner)? {
                        break;
                    }
                    match self.content(ip) {
                        Content::Empty => self.unlink(ip)?,
                        _ => return Ok(false),
                    }
                }
                _ => return Err(file_error("link", &path, &error)),
            }
        }
        let reservation = Reservation {
            ip,
            id_hash: hash(owner.id()),
        };
        self.update_cache(
            |index| index.insert(reservation),
            |all| {
                if let Err(at) = all.binary_search_by_key(&ip, |one| one.ip) {
                    all.insert(at, reservation);
                }
            },
        );
        Ok(true)
    }

    pub(super) fn write_temp_file(&mut self, owner: &Owner) -> anyhow::Result<()> {
        let path = self.directory.join(TEMP_FILE);
        // A leftover temporary file may be a second name of a reservation, so it is removed
        // and not written to.
        if !self.create(&path, owner)? {
            fs::remove_file(&path).map_err(|error| file_error("remove", &path, &error))?;
            self.create(&path, owner)?;
        }
        self.temp_owner = Some(owner.clone());
        self.has_stale_temp_file = false;
        Ok(())
    }

    /// Writes a new file with an owner's reservation. Returns `false` if the file exists.
    pub(super) fn create(&self, path: &Path, owner: &Owner) -> anyhow::Result<bool> {
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
        if let Some(origin) = self.origin {
            let _ = origin.record_at(path, &owner.content());
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

    /// Frees an address that container `id` holds. A free address is not an error.
    ///
    /// # Errors
    /// When its file cannot be removed.
    pub(crate) fn release(&mut self, ip: IpAddr, id: &str) -> anyhow::Result<()> {
        self.unlink(ip)?;
        let reservation = Reservation {
            ip,
            id_hash: hash(id),
        };
        self.update_cache(
            |index| index.remove(reservation),
            |all| all.retain(|one| one.ip != ip),
        );
        Ok(())
    }

    /// Like [`Store::release`], for an address that was in use: its cool-down begins, if
    /// there is one.
    ///
    /// # Errors
    /// When its file cannot be removed.
    pub(crate) fn free(&mut self, ip: IpAddr, id: &str) -> anyhow::Result<()> {
        self.release(ip, id)?;
        // Without the record the address can be used again at once, which is better than
        // never.
        if self.cools_down
            && let Err(error) = freed::record(&self.directory, ip, self.boot())
        {
            eprintln!("host-local: {ip} is free without cool-down: {error:#}");
        }
        Ok(())
    }

    /// Frees all addresses of `owner` after a failed ADD: those recorded for its interface,
    /// or if there are none, those that a very old release recorded for its container.
    ///
    /// # Errors
    /// When a file cannot be removed; the others are removed nevertheless.
    pub(crate) fn release_all(&mut self, owner: &Owner) -> anyhow::Result<()> {
        let ips = self.all_of(owner)?.into_iter();
        collect_errors(ips.map(|ip| self.release(ip, owner.id())))
    }

    /// Like [`Store::release_all`], for addresses that were in use.
    ///
    /// # Errors
    /// As for [`Store::release_all`].
    pub(crate) fn free_all(&mut self, owner: &Owner) -> anyhow::Result<()> {
        let ips = self.all_of(owner)?.into_iter();
        collect_errors(ips.map(|ip| self.free(ip, owner.id())))
    }

    fn all_of(&mut self, owner: &Owner) -> anyhow::Result<Vec<IpAddr>> {
        let held = self.held_by(owner)?;
        Ok(if held.own.is_empty() {
            held.legacy
        } else {
            held.own
        })
    }

    /// Frees every address for whose reservation `keep` returns `false`, after it has told
    /// `leaving` its file, and removes empty files left by a crash.
    ///
    /// # Errors
    /// When the directory cannot be read, or a file cannot be removed; the others are
    /// removed nevertheless.
    pub(crate) fn retain(
        &mut self,
        keep: impl Fn(&Content) -> bool,
        leaving: impl Fn(IpAddr, &Content, &Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let (mut stale, mut all) = (Vec::new(), Vec::new());
        self.for_each(|ip, content| {
            let id = content.id().unwrap_or_default();
            all.push(Reservation {
                ip,
                id_hash: hash(id),
            });
            if content == Content::Empty || !keep(&content) {
                stale.push((ip, content));
            }
        })?;
        all.sort_unstable_by_key(|reservation| reservation.ip);
        self.cache = Cache::Scan(all);
        collect_errors(stale.into_iter().map(|(ip, content)| {
            let told = leaving(ip, &content, &self.path(ip));
            let id = content.id().unwrap_or_default();
            self.free(ip, id).and(told)
        }))
    }
}

/// Joins all errors into one, `a;b`.
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
