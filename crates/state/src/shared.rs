//! Files that several processes may write at the same time.

use crate::directory::{ATTEMPTS, Directory, TEMPORARY};
use crate::error::Error;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the names of their temporary files begin with, after the dot.
const PREFIX: &str = "shared-";

/// Number of the next temporary file of this process.
static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Directory {
    /// Writes a file of mode 0600, wholly or not at all, in the directory at `path`, which
    /// is created if missing. Unlike [`Directory::write_at`], several may write one file at
    /// the same time, and the last one stays. [`Directory::sweep_shared`] removes what a
    /// killed writer leaves.
    ///
    /// # Errors
    /// As [`Directory::create`] and [`Directory::write`].
    pub fn write_shared(path: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let directory = Directory::create(path)?;
        let mut attempt = 0;
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let temporary = format!("{TEMPORARY}{PREFIX}{}-{number}", process::id());
            attempt += 1;
            match directory.create_exclusive(&temporary) {
                Ok(file) => {
                    return directory.fill_and_rename(file, &temporary, name, bytes, false);
                }
                // That of a process with the same number, now dead or in another PID
                // namespace.
                Err(Errno::EEXIST) if attempt < ATTEMPTS => {}
                Err(errno) => return Err(Error::system("write", directory.path.join(name), errno)),
            }
        }
    }

    /// Removes a file of [`Directory::write_shared`]; one that is missing is fine.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove_shared(&self, name: &str) -> Result<(), Error> {
        self.unlink(name)
    }

    /// Removes temporary files of [`Directory::write_shared`] that are older than `age`:
    /// their writers were killed.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn sweep_shared(&self, age: Duration) -> Result<(), Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let limit = now.unwrap_or_default().saturating_sub(age).as_secs();
        let prefix = format!("{TEMPORARY}{PREFIX}");
        for name in self.all_names()? {
            let is_old = || {
                let stat = fstatat(&self.fd, name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
                stat.is_ok_and(|stat| u64::try_from(stat.st_mtime).is_ok_and(|time| time < limit))
            };
            if name.starts_with(&prefix) && is_old() {
                self.unlink(&name)?;
            }
        }
        Ok(())
    }
}
