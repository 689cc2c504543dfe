//! The lock of a network's directory: `flock(2)` on the same file as upstream, so that
//! both implementations exclude each other.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::fcntl::OFlag;

use crate::reservation::file_error;

/// Name of the lock file in the network's directory.
pub(crate) const NAME: &str = "lock";

/// How long to wait for the lock. A command holds it for milliseconds, so hundreds of
/// waiting commands take seconds. A holder that keeps it longer hangs.
pub(crate) const WAIT: Duration = Duration::from_secs(30);

/// Shared or exclusive lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Any number of readers.
    Shared,
    /// One writer alone.
    Exclusive,
}

/// Opens the lock file of `directory`, and creates it if `create` is set. `None` if it
/// does not exist.
///
/// # Errors
/// When it cannot be opened.
pub(crate) fn open(directory: &Path, create: bool) -> anyhow::Result<Option<File>> {
    let path = directory.join(NAME);
    // Read access suffices for flock and works on a read-only file system. A symbolic link
    // of another user must not be followed, and a pipe must not block.
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let mut options = OpenOptions::new();
    match options.read(true).custom_flags(flags).open(&path) {
        Ok(file) => return Ok(Some(file)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(file_error("open", &path, &error));
        }
        Err(_) if !create => return Ok(None),
        Err(_) => {}
    }
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o750)
        .custom_flags(flags)
        .open(&path);
    file.map(Some)
        .map_err(|error| file_error("open", &path, &error))
}

/// Takes the lock, which is held as long as the returned file is open.
///
/// # Errors
/// When the file system has no locks, or the lock is still held by another after `wait`.
pub(crate) fn acquire(
    file: File,
    mode: Mode,
    directory: &Path,
    wait: Duration,
) -> anyhow::Result<File> {
    let path = directory.join(NAME);
    let attempt = match mode {
        Mode::Shared => file.try_lock_shared(),
        Mode::Exclusive => file.try_lock(),
    };
    match attempt {
        Ok(()) => return Ok(file),
        Err(TryLockError::Error(error)) => return Err(file_error("lock", &path, &error)),
        Err(TryLockError::WouldBlock) => {}
    }
    // flock(2) has no timeout. Polling would lose against every process that waits in the
    // kernel, so a thread waits there.
    let (sender, receiver) = mpsc::channel();
    let waiter = std::thread::Builder::new()
        .name("lock".into())
        .spawn(move || {
            let result = lock(&file, mode).map(|()| file);
            // After the timeout there is no receiver: the file is closed, which releases
            // the lock.
            let _ = sender.send(result);
        });
    waiter.with_context(|| format!("cannot wait for the lock {}", path.display()))?;
    match receiver.recv_timeout(wait) {
        Ok(Ok(file)) => Ok(file),
        Ok(Err(error)) => Err(file_error("lock", &path, &error)),
        Err(_) => bail!(
            "lock {}: another process holds it for more than {} s; find that process (\"fuser {0}\") and end it if it hangs",
            path.display(),
            wait.as_secs_f32()
        ),
    }
}

fn lock(file: &File, mode: Mode) -> io::Result<()> {
    loop {
        let result = match mode {
            Mode::Shared => file.lock_shared(),
            Mode::Exclusive => file.lock(),
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn take(directory: &Path, mode: Mode, wait: u64) -> anyhow::Result<File> {
        let file = open(directory, true).unwrap().unwrap();
        acquire(file, mode, directory, Duration::from_millis(wait))
    }

    #[test]
    fn waits_for_the_holder_until_the_timeout() {
        let dir = tempfile::tempdir().unwrap();
        let held = take(dir.path(), Mode::Exclusive, 0).unwrap();
        let error = take(dir.path(), Mode::Exclusive, 50)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("lock: another process holds it for more than 0.05 s"),
            "{error}"
        );
        let start = Instant::now();
        let release = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(held);
        });
        take(dir.path(), Mode::Shared, 10_000).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(90));
        release.join().unwrap();
    }

    #[test]
    fn readers_share_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let _one = take(dir.path(), Mode::Shared, 0).unwrap();
        let _two = take(dir.path(), Mode::Shared, 0).unwrap();
        take(dir.path(), Mode::Exclusive, 10).unwrap_err();
    }

    #[test]
    fn the_lock_file_is_created_only_on_request() {
        let dir = tempfile::tempdir().unwrap();
        assert!(open(dir.path(), false).unwrap().is_none());
        assert!(open(dir.path(), true).unwrap().is_some());
        assert!(open(dir.path(), false).unwrap().is_some());
        let missing = dir.path().join("missing");
        let error = open(&missing, true).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("open {}/lock: no such file or directory", missing.display())
        );
    }
}
