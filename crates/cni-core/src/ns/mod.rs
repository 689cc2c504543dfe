//! Network namespaces.
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
//!   would leave the namespace, and another task could run in it.
//! - A socket that is opened in the closure can be used outside of it and stays in the
//!   namespace. This is the cheapest way to work in two namespaces at once.
//! - The current namespace is `/proc/thread-self/ns/net`; `/proc/self/ns/net` is that of
//!   the main thread.

use crate::errno;
use crate::quote::quote;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::statfs;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// `NSFS_MAGIC` of linux/magic.h.
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// Why a network namespace could not be opened or entered.
///
/// DEL ignores the error of a namespace that is gone ([`NsError::is_gone`]), and no other.
#[derive(Debug)]
pub enum NsError {
    /// The path does not exist (`ENOENT`, nothing else).
    NotExist {
        /// The path.
        path: PathBuf,
    },
    /// The path exists and is not a namespace.
    NotNamespace {
        /// The path.
        path: PathBuf,
        /// Magic number of the file system at the path.
        magic: u64,
    },
    /// The path is a namespace of another kind.
    OtherKind {
        /// The path.
        path: PathBuf,
    },
    /// Any other failure.
    Other {
        /// Operation and path.
        what: String,
        /// Error of the system call.
        source: io::Error,
    },
}

impl NsError {
    /// Returns whether there is no network namespace at the path: it does not exist, or it
    /// is something else, such as the empty file that remains of an unmounted namespace.
    pub fn is_gone(&self) -> bool {
        match self {
            NsError::NotExist { .. } | NsError::NotNamespace { .. } | NsError::OtherKind { .. } => {
                true
            }
            NsError::Other { source, .. } => matches!(
                source.raw_os_error().map(Errno::from_raw),
                Some(Errno::ENOTDIR | Errno::ELOOP | Errno::ENAMETOOLONG)
            ),
        }
    }

    fn other(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        NsError::Other {
            what: what.into(),
            source: source.into(),
        }
    }
}

impl fmt::Display for NsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NsError::NotExist { path } => {
                write!(
                    f,
                    "failed to Statfs {}: no such file or directory",
                    quoted(path)
                )
            }
            NsError::NotNamespace { path, magic } => {
                write!(f, "unknown FS magic on {}: {magic:x}", quoted(path))
            }
            NsError::OtherKind { path } => write!(
                f,
                "error switching to ns {}: not a network namespace",
                path.display()
            ),
            NsError::Other { what, source } => write!(f, "{what}: {}", errno::of(source)),
        }
    }
}

impl std::error::Error for NsError {}

fn quoted(path: &Path) -> String {
    quote(path.as_os_str().as_bytes())
}

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

    /// Opens the calling thread's namespace.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn current() -> Result<Netns, NsError> {
        // This is always a namespace, so the file system is not checked.
        Netns::open_file(Path::new("/proc/thread-self/ns/net"))
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
            ns.file
                .metadata()
                .map(|m| (m.dev(), m.ino()))
                .map_err(|e| NsError::other(format!("stat {}", ns.path.display()), e))
        };
        Ok(identity(self)? == identity(other)?)
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
mod tests {
    use super::*;
    use std::thread;

    fn inode(ns: &Netns) -> u64 {
        ns.file.metadata().unwrap().ino()
    }

    /// Creates a namespace, which the handle keeps alive after its thread has ended.
    fn new_netns() -> Netns {
        thread::spawn(|| {
            nix::sched::unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
            Netns::current().unwrap()
        })
        .join()
        .unwrap()
    }

    #[test]
    fn failures_are_distinguished() {
        let missing = Netns::open(Path::new("/nonexistent/netns")).unwrap_err();
        assert_eq!(
            missing.to_string(),
            r#"failed to Statfs "/nonexistent/netns": no such file or directory"#
        );
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plain");
        std::fs::write(&path, "").unwrap();
        let plain = Netns::open(&path).unwrap_err();
        assert!(matches!(plain, NsError::NotNamespace { .. }), "{plain}");
        assert!(
            plain.to_string().starts_with("unknown FS magic on \""),
            "{plain}"
        );
        let under = Netns::open(&path.join("x")).unwrap_err();
        assert!(under.to_string().ends_with(": not a directory"), "{under}");
        let mnt = Netns::open(Path::new("/proc/self/ns/mnt")).unwrap();
        let mnt = mnt.run(|| ()).unwrap_err();
        assert_eq!(
            mnt.to_string(),
            "error switching to ns /proc/self/ns/mnt: not a network namespace"
        );
        let proc_file = Netns::open(Path::new("/proc/uptime")).unwrap_err();
        for error in [missing, plain, under, mnt, proc_file] {
            assert!(error.is_gone(), "{error}");
        }
        assert!(!NsError::other("", Errno::EACCES).is_gone());
    }

    #[test]
    fn run_returns_to_the_previous_namespace_even_nested() {
        let (a, b) = (new_netns(), new_netns());
        let home = inode(&Netns::current().unwrap());
        let here = || inode(&Netns::current().unwrap());
        let seen = a
            .run(|| {
                let outer = here();
                let inner = b.run(here).unwrap();
                (outer, inner, here())
            })
            .unwrap();
        assert_eq!(seen, (inode(&a), inode(&b), inode(&a)));
        assert_eq!(here(), home);
        assert!(!a.is_same(&b).unwrap());
        assert!(a.is_same(&a).unwrap());
    }

    #[test]
    fn run_returns_to_the_previous_namespace_after_a_panic() {
        let ns = new_netns();
        let home = inode(&Netns::current().unwrap());
        let panicked = std::panic::catch_unwind(|| ns.run(|| panic!("inside")));
        assert!(panicked.is_err());
        assert_eq!(inode(&Netns::current().unwrap()), home);
    }

    #[test]
    fn many_threads_share_one_handle() {
        let ns = new_netns();
        let expected = inode(&ns);
        thread::scope(|scope| {
            for _ in 0..50 {
                scope.spawn(|| {
                    assert_eq!(
                        ns.run(|| inode(&Netns::current().unwrap())).unwrap(),
                        expected
                    );
                });
            }
        });
    }
}
