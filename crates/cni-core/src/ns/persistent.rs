//! Persistent network namespaces: files that keep a namespace.

use super::error::{NsError, quoted};
use super::{NSFS_MAGIC, Netns};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::statfs;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// How often a busy mount is tried to be unmounted, as containerd does.
const UNMOUNT_TRIES: u32 = 50;
/// The pause between two of these.
const UNMOUNT_PAUSE: Duration = Duration::from_millis(50);

/// The path of a persistent network namespace: a file on which the namespace is mounted,
/// so that it exists without a process in it.
///
/// The value is no more than the path. The namespace stays when it is dropped, until
/// [`PersistentNetns::remove`] is called, by whomever.
///
/// A mount is visible in the mount namespaces only to which it propagates: elsewhere the
/// file is empty, and [`Netns::open`] says [`NsError::NotNamespace`]. `/run` is usually
/// shared with those that services and containers derive from the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersistentNetns {
    path: PathBuf,
}

impl PersistentNetns {
    /// Creates a namespace at `<dir>/cni-<uuid>`, as containerd and CRI-O do for a pod.
    /// `dir` is created (mode 0755) if it is missing. Nothing remains of a failure.
    ///
    /// # Errors
    /// When the kernel refuses, or the file cannot be created.
    pub fn create(dir: &Path) -> Result<PersistentNetns, NsError> {
        PersistentNetns::keep(&Netns::unnamed()?, dir)
    }

    /// Gives an existing namespace, such as [`Netns::of_process`], a file
    /// `<dir>/cni-<uuid>` that keeps it.
    ///
    /// # Errors
    /// As [`PersistentNetns::create`].
    pub fn keep(netns: &Netns, dir: &Path) -> Result<PersistentNetns, NsError> {
        make_dir(dir)?;
        // Looks like containerd's, but with the version bits of a UUID.
        let source = "/proc/sys/kernel/random/uuid";
        let uuid = fs::read_to_string(source)
            .map_err(|e| NsError::other(format!("cannot read {source}"), e))?;
        pin(netns, dir.join(format!("cni-{}", uuid.trim())))
    }

    /// Creates the namespace `<dir>/<name>`, as `ip netns add` does in `/run/netns`.
    ///
    /// `dir` becomes a shared mount, so that the namespace can be seen, and removed, in
    /// mount namespaces that are derived from this one later.
    ///
    /// # Errors
    /// [`NsError::Invalid`] if it is not a name, an error of kind `AlreadyExists` if it is
    /// taken, and as [`PersistentNetns::create`].
    pub fn create_named(dir: &Path, name: &str) -> Result<PersistentNetns, NsError> {
        check_name(name)?;
        make_dir(dir)?;
        share(dir)?;
        pin(&Netns::unnamed()?, dir.join(name))
    }

    /// Returns the persistent namespace at a path, which need not exist. Nothing is opened.
    pub fn load(path: impl Into<PathBuf>) -> PersistentNetns {
        PersistentNetns { path: path.into() }
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the namespace.
    ///
    /// # Errors
    /// As [`Netns::open`].
    pub fn open(&self) -> Result<Netns, NsError> {
        Netns::open(&self.path)
    }

    /// Returns whether the namespace has been removed, or its file unmounted. Changes
    /// nothing: containerd's function of this name deletes a plain file at the path.
    ///
    /// # Errors
    /// When that cannot be seen.
    pub fn is_closed(&self) -> Result<bool, NsError> {
        match self.open() {
            Ok(_) => Ok(false),
            Err(e) if e.is_gone() => Ok(true),
            Err(e) => Err(e),
        }
    }

    /// Unmounts the file and deletes it, through a symbolic link as well. It is no error
    /// if it does not exist, or is unmounted already.
    ///
    /// The namespace itself ends with its last process, thread, descriptor and file: the
    /// mount is detached, whoever uses it.
    ///
    /// # Errors
    /// [`NsError::NotNamespace`] if there is something else than a namespace or an empty
    /// file; it is left alone.
    pub fn remove(&self) -> Result<(), NsError> {
        let target = match fs::canonicalize(&self.path) {
            Ok(target) => target,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return unlink_dangling(&self.path),
            Err(e) => return Err(NsError::other(format!("stat {}", quoted(&self.path)), e)),
        };
        unmount(&target)?;
        unlink(&target)?;
        unlink_dangling(&self.path)
    }
}

/// Checks that `name` is the name of a file.
pub(super) fn check_name(name: &str) -> Result<(), NsError> {
    let reason = match name {
        "" => "a name is missing",
        "." | ".." => "is a directory; expected the name of a namespace, such as blue",
        _ if name.contains(['/', '\0']) => "a name must not contain slashes or zero bytes",
        // NAME_MAX of linux/limits.h.
        _ if name.len() > 255 => "a name has 255 bytes at most",
        _ => return Ok(()),
    };
    Err(NsError::Invalid {
        text: name.to_owned(),
        reason: reason.to_owned(),
    })
}

fn make_dir(dir: &Path) -> Result<(), NsError> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(dir);
    made.map_err(|e| NsError::other(format!("cannot create {}", quoted(dir)), e))
}

/// Makes `dir` a shared mount. It must be a mount for that: it is mounted on itself if not.
fn share(dir: &Path) -> Result<(), NsError> {
    let none = None::<&str>;
    let change =
        |source: Option<&Path>, flags| mount(source, dir, none, flags | MsFlags::MS_REC, none);
    let made = match change(None, MsFlags::MS_SHARED) {
        Err(Errno::EINVAL) => {
            change(Some(dir), MsFlags::MS_BIND).and_then(|()| change(None, MsFlags::MS_SHARED))
        }
        made => made,
    };
    made.map_err(|e| NsError::other(format!("cannot make {} a shared mount", quoted(dir)), e))
}

/// Creates the file and mounts the namespace on it.
fn pin(netns: &Netns, path: PathBuf) -> Result<PersistentNetns, NsError> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create_new(true)
        .mode(0o444)
        .open(&path)
        .map_err(|e| NsError::other(format!("cannot create {}", quoted(&path)), e))?;
    let source = format!("/proc/thread-self/fd/{}", netns.as_fd().as_raw_fd());
    let none = None::<&str>;
    if let Err(e) = mount(Some(source.as_str()), &path, none, MsFlags::MS_BIND, none) {
        // The mount's error is the one to report.
        let _ = fs::remove_file(&path);
        let what = format!("failed to bind mount ns at {}", path.display());
        return Err(NsError::other(what, e));
    }
    Ok(PersistentNetns { path })
}

/// Unmounts all that is mounted at `path`, which must have been a namespace.
fn unmount(path: &Path) -> Result<(), NsError> {
    let fail = |e: Errno| NsError::other(format!("failed to umount netns {}", quoted(path)), e);
    for _ in 0..UNMOUNT_TRIES {
        let magic = match statfs(path) {
            Ok(stat) => stat.filesystem_type().0 as u64 & 0xffff_ffff,
            Err(Errno::ENOENT) => return Ok(()),
            Err(e) => return Err(fail(e)),
        };
        if magic != NSFS_MAGIC {
            return is_remnant(path, magic);
        }
        match umount2(path, MntFlags::MNT_DETACH) {
            // Perhaps there is another mount below it.
            Ok(()) => {}
            Err(Errno::EBUSY) => thread::sleep(UNMOUNT_PAUSE),
            Err(e) => return Err(fail(e)),
        }
    }
    Err(fail(Errno::EBUSY))
}

/// Succeeds if the file is what remains of an unmounted namespace: empty.
fn is_remnant(path: &Path, magic: u64) -> Result<(), NsError> {
    let empty = fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == 0);
    let error = || NsError::NotNamespace {
        path: path.into(),
        magic,
    };
    empty.then_some(()).ok_or_else(error)
}

fn unlink(path: &Path) -> Result<(), NsError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            let what = format!("failed to remove netns {}", quoted(path));
            Err(NsError::other(what, e))
        }
        _ => Ok(()),
    }
}

/// Deletes `path` if it is a symbolic link.
fn unlink_dangling(path: &Path) -> Result<(), NsError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => unlink(path),
        _ => Ok(()),
    }
}
