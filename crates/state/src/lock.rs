//! Locks between processes.

use crate::directory::ATTEMPTS;
use crate::error::Error;
use crate::{name, tree};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use std::fs::{File, TryLockError};
use std::thread::sleep;
use std::time::{Duration, Instant};

const TOPIC: &str = "locks";

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(2);

/// A lock that is held by this process: `flock(2)` on a file in `/run/cni/locks`, which
/// no other user can open. The file goes with the lock.
#[derive(Debug)]
pub struct Lock {
    name: String,
    /// Open, and locked by that.
    _file: File,
}

impl Lock {
    /// Waits until nobody else holds the lock `name`, at most for `patience`.
    ///
    /// # Errors
    /// [`Error::is_locked`] after that time; and when the file cannot be created, as on
    /// a file system that is read-only.
    pub fn take(name: &str, patience: Duration) -> Result<Lock, Error> {
        let name = name::of_key(name);
        let until = Instant::now() + patience;
        loop {
            let file = open(&name)?;
            while let Err(error) = file.try_lock() {
                match error {
                    TryLockError::WouldBlock if Instant::now() < until => sleep(PAUSE),
                    TryLockError::WouldBlock => return Err(Error::locked(path(&name), patience)),
                    TryLockError::Error(e) => {
                        let errno = e.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
                        return Err(Error::system("lock", path(&name), errno));
                    }
                }
            }
            // Its last holder removed it; the lock is a new file by now.
            let stat = fstat(&file).map_err(|e| Error::system("stat", path(&name), e))?;
            if stat.st_nlink > 0 {
                return Ok(Lock { name, _file: file });
            }
        }
    }

    /// Removes the files of all locks that nobody holds: their holders were killed.
    ///
    /// The next holder of a lock removes its file, too; this is for locks that nobody may
    /// take again, such as those named after an address.
    pub fn sweep() {
        let Ok(Some(directory)) = tree::open(TOPIC) else {
            return;
        };
        for name in directory.names().unwrap_or_default() {
            let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            let Ok(fd) = openat(&directory.fd, name.as_str(), flags, Mode::empty()) else {
                continue;
            };
            // What is not ours is left alone, for `take` to complain about.
            let Ok(file) = own(File::from(fd), &name) else {
                continue;
            };
            if file.try_lock().is_ok() && fstat(&file).is_ok_and(|stat| stat.st_nlink > 0) {
                drop(Lock { name, _file: file });
            }
        }
        tree::remove_empty(TOPIC);
    }
}

impl Drop for Lock {
    /// Removes the file while it is still locked: whoever waits for it notices, and
    /// opens the next one.
    fn drop(&mut self) {
        if let Ok(Some(directory)) = tree::open(TOPIC) {
            // One that stays is taken again by the next process.
            let _ = directory.remove(&self.name);
            tree::remove_empty(TOPIC);
        }
    }
}

fn open(name: &str) -> Result<File, Error> {
    let flags =
        OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    for _ in 0..ATTEMPTS {
        let directory = tree::create(TOPIC)?;
        match openat(&directory.fd, name, flags, Mode::S_IRUSR | Mode::S_IWUSR) {
            Ok(fd) => return own(File::from(fd), name),
            // The last lock of another process took the directory along.
            Err(Errno::ENOENT) => {}
            Err(Errno::ELOOP) => return Err(Error::foreign(path(name), "is a symbolic link")),
            Err(errno) => return Err(Error::system("open", path(name), errno)),
        }
    }
    Err(Error::system("open", path(name), Errno::ENOENT))
}

/// Refuses a file that another user could have open.
fn own(file: File, name: &str) -> Result<File, Error> {
    let stat = fstat(&file).map_err(|errno| Error::system("stat", path(name), errno))?;
    match crate::directory::refusal(&stat) {
        Some(why) => Err(Error::foreign(
            path(name),
            format!("cannot be a lock ({why})"),
        )),
        None => Ok(file),
    }
}

fn path(name: &str) -> String {
    format!("/run/cni/{TOPIC}/{name}")
}
