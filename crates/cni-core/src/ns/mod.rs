//! Network namespaces: open, create, enter, keep, and refer to them.
//!
//! | type | what it is |
//! |---|---|
//! | [`Netns`] | an open namespace, which exists at least as long as this handle |
//! | [`PersistentNetns`] | a namespace that a file keeps, as `ip netns` and runtimes have them |
//! | [`Reference`] | how users name a namespace: path, process, name, or container label |
//!
//! ```no_run
//! use cni_core::ns::{Netns, PersistentNetns};
//! use std::path::Path;
//!
//! # fn main() -> Result<(), cni_core::ns::NsError> {
//! // Creates /run/netns/cni-<uuid>, as containerd does for a pod.
//! let pod = PersistentNetns::create(Path::new("/run/netns"))?;
//! let addresses = pod.open()?.run(|| std::fs::read_to_string("/proc/thread-self/net/dev"))?;
//! pod.remove()?;
//! // A namespace without a name ends with its last handle, process and thread.
//! let scratch = Netns::unnamed()?;
//! assert!(!scratch.is_same(&Netns::current()?)?);
//! # Ok(())
//! # }
//! ```
//!
//! # Ownership
//!
//! A [`Netns`] closes a descriptor when it is dropped, and nothing else, wherever it is
//! from. The file of a [`PersistentNetns`] is deleted by [`PersistentNetns::remove`] only:
//! runtimes outlive neither their pods nor themselves. In the Go library `Close` deletes
//! the file if the object was made by `NewNS`, and keeps it if the same namespace was
//! opened by `GetNS`. Its operations and ours:
//!
//! | Go | here |
//! |---|---|
//! | `GetCurrentNS()` | [`Netns::current`] |
//! | `GetNS(path)` | [`Netns::open`] |
//! | `NewNS()` | [`PersistentNetns::create`] |
//! | `TempNetNS()` | [`Netns::unnamed`] |
//! | `Do(f)` | [`Netns::run`], or [`Netns::run_on_thread`], which passes the caller's namespace to `f` |
//! | `WithNetNSPath(path, f)` | `Netns::open(path)?.run(f)` |
//! | `Path()`, `Fd()` | [`Netns::path`], [`AsFd`] |
//! | `Set()` | none: a thread always returns |
//! | `Close()` | dropping the handle; [`PersistentNetns::remove`] |
//!
//! # Threads
//!
//! A network namespace is a property of a *thread*, not of a process: `setns(2)` changes
//! only that of the calling thread. Threads and processes that it starts inherit it;
//! existing threads are not affected. A netlink socket stays in the namespace in which it
//! was opened, and a path under `/proc/sys/net` is resolved in the current one.
//!
//! [`Netns::run`] enters the namespace on the calling thread, runs the closure, and
//! returns to the previous namespace. All synchronous code in the closure runs in the
//! namespace. Note:
//!
//! - Do not poll an async executor in the closure: a task that continues on another thread
//!   would leave the namespace, and another task could run in it. From async code use
//!   [`Netns::run_on_thread`] within a blocking task.
//! - A socket that is opened in the closure can be used outside of it and stays in the
//!   namespace. This is the cheapest way to work in two namespaces at once.
//! - The current namespace is `/proc/thread-self/ns/net`; `/proc/self/ns/net` is that of
//!   the main thread.

mod error;
mod held;
mod persistent;
mod reference;

pub use error::NsError;
pub(crate) use held::{hold, identity};
pub use persistent::PersistentNetns;
pub use reference::{Containers, Reference, Resolver};

use error::quoted;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::statfs;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

/// `NSFS_MAGIC` of linux/magic.h.
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// An open network namespace. It exists at least as long as this handle.
#[derive(Debug)]
pub struct Netns {
    file: File,
    path: PathBuf,
}

impl Netns {
    /// Opens the namespace at `path`.
    ///
    /// # Errors
    /// [`NsError::NotExist`] if `path` does not exist, [`NsError::NotNamespace`] if it is
    /// not a namespace. A namespace of another kind is detected when it is entered.
    pub fn open(path: &Path) -> Result<Netns, NsError> {
        match held::find(path) {
            Some(held) => held.duplicate(),
            None => Netns::open_path(path),
        }
    }

    fn open_path(path: &Path) -> Result<Netns, NsError> {
        let stat = statfs(path).map_err(|e| match e {
            Errno::ENOENT => NsError::NotExist { path: path.into() },
            _ => NsError::other(format!("failed to Statfs {}", quoted(path)), e),
        })?;
        // Size and sign of the field depend on the architecture; magic numbers have 32 bits.
        let magic = (stat.filesystem_type().0 as u64) & 0xffff_ffff;
        if magic != NSFS_MAGIC {
            return Err(NsError::NotNamespace {
                path: path.into(),
                magic,
            });
        }
        Netns::open_file(path)
    }

    fn open_file(path: &Path) -> Result<Netns, NsError> {
        let file =
            File::open(path).map_err(|e| NsError::other(format!("open {}", path.display()), e))?;
        Ok(Netns {
            file,
            path: path.into(),
        })
    }

    /// Opens the namespace of a process: of its main thread.
    ///
    /// The number is that of the calling process's PID namespace. It may have been reused
    /// since the caller has learnt it; whoever told it must be asked again afterwards.
    ///
    /// # Errors
    /// [`NsError::NotExist`] if there is no such process, or it has ended and not been
    /// waited for.
    pub fn of_process(pid: u32) -> Result<Netns, NsError> {
        Netns::open(&process_path(pid))
    }

    /// Creates a namespace without a file. Its only link is `lo`, which is down.
    ///
    /// It ends with the last handle, process and thread in it. Its [`path`](Netns::path)
    /// can be passed to other processes as long as this handle is open.
    ///
    /// # Errors
    /// When the kernel refuses (no `CAP_SYS_ADMIN`, or `user.max_net_namespaces` reached).
    pub fn unnamed() -> Result<Netns, NsError> {
        let create = || {
            unshare(CloneFlags::CLONE_NEWNET)
                .map_err(|e| NsError::other("cannot create a network namespace", e))?;
            Netns::current()
        };
        let mut netns = on_thread(create)??;
        let fd = netns.file.as_raw_fd();
        netns.path = format!("/proc/{}/fd/{fd}", std::process::id()).into();
        Ok(netns)
    }

    /// Opens the calling thread's namespace.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn current() -> Result<Netns, NsError> {
        // This is always a namespace, so the file system is not checked.
        Netns::open_file(Path::new("/proc/thread-self/ns/net"))
    }

    /// Returns another handle of the namespace. Both have one file description, and so
    /// one `flock(2)`.
    fn duplicate(&self) -> Result<Netns, NsError> {
        let duplicated = self.file.try_clone();
        let file =
            duplicated.map_err(|e| NsError::other(format!("open {}", self.path.display()), e))?;
        Ok(Netns {
            file,
            path: self.path.clone(),
        })
    }

    /// Returns the path by which it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether both handles refer to the same namespace (equal device and inode).
    ///
    /// # Errors
    /// When `fstat(2)` fails.
    pub fn is_same(&self, other: &Netns) -> Result<bool, NsError> {
        let identity = |ns: &Netns| {
            ns.identity()
                .map_err(|e| NsError::other(format!("stat {}", ns.path.display()), e))
        };
        Ok(identity(self)? == identity(other)?)
    }

    fn identity(&self) -> io::Result<(u64, u64)> {
        self.file.metadata().map(|m| (m.dev(), m.ino()))
    }

    /// Runs `f` in this namespace on the calling thread, and returns to the previous
    /// namespace, also if `f` panics. Calls may be nested.
    ///
    /// If the thread cannot return, the process is aborted: to continue would change the
    /// wrong namespace.
    ///
    /// # Errors
    /// When the namespace cannot be entered. `f` is not called then.
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> Result<T, NsError> {
        let home = Netns::current()
            .map_err(|e| NsError::other("failed to open current namespace", io::Error::other(e)))?;
        self.run_from(&home, f)
    }

    /// Like [`Netns::run`], for a caller that already has its own namespace open as `home`.
    ///
    /// # Errors
    /// As [`Netns::run`].
    pub fn run_from<T>(&self, home: &Netns, f: impl FnOnce() -> T) -> Result<T, NsError> {
        self.enter()?;
        let _guard = ReturnGuard(home);
        Ok(f())
    }

    /// Runs `f` in this namespace on a thread of its own, and passes it the caller's
    /// namespace. The calling thread waits, and never leaves its namespace. A panic of `f`
    /// continues in the caller.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or no thread can be started. `f` is not
    /// called then.
    pub fn run_on_thread<T: Send>(&self, f: impl FnOnce(&Netns) -> T + Send) -> Result<T, NsError> {
        let home = Netns::current()?;
        on_thread(|| {
            self.enter()?;
            Ok(f(&home))
        })?
    }

    /// Moves the calling thread into this namespace.
    ///
    /// # Errors
    /// When the kernel refuses (no `CAP_SYS_ADMIN` over it; not a network namespace).
    fn enter(&self) -> Result<(), NsError> {
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(|e| match e {
            Errno::EINVAL => NsError::OtherKind {
                path: self.path.clone(),
            },
            _ => NsError::other(format!("error switching to ns {}", self.path.display()), e),
        })
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Path of the network namespace of a process.
fn process_path(pid: u32) -> PathBuf {
    format!("/proc/{pid}/ns/net").into()
}

/// Runs `f` on a thread of its own: whatever namespace it enters ends with that thread.
fn on_thread<T: Send>(f: impl FnOnce() -> T + Send) -> Result<T, NsError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, f);
        let thread = thread.map_err(|e| NsError::other("cannot start a thread", e))?;
        match thread.join() {
            Ok(value) => Ok(value),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Guard that returns the thread to its previous namespace when dropped.
struct ReturnGuard<'a>(&'a Netns);

impl Drop for ReturnGuard<'_> {
    fn drop(&mut self) {
        if let Err(e) = self.0.enter() {
            eprintln!("cannot return to the host's network namespace, giving up: {e}");
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests;
