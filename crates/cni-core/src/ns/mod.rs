//! Network namespaces.
//!
//! # Threads
//!
//! A network namespace belongs to a *thread*, not to a process: `setns(2)` moves
//! the calling thread alone. A thread spawned, or a process started, while a
//! thread is inside a namespace begins its life there; threads that existed
//! before stay where they are. A netlink socket belongs for ever to the
//! namespace that was current when it was opened, and so do the files under
//! `/proc/sys/net` at the moment they are looked up.
//!
//! [`Netns::run`] enters on the calling thread, runs the closure, and comes
//! back. Rust never moves running code to another thread, so inside the closure
//! everything synchronous happens in the namespace. Three things to keep in mind:
//!
//! - Do not poll an async executor in the closure: a task that is moved to
//!   another thread would leave the namespace, and the next one would find
//!   itself in it.
//! - A socket opened in the closure may be carried out of it and keeps talking
//!   to the namespace. That is the cheap way to work in two namespaces at once.
//! - "The current namespace" is `/proc/thread-self/ns/net`; `/proc/self/ns/net`
//!   is that of the main thread.

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
/// The kinds matter: DEL goes on without a namespace that is gone ([`NsError::is_gone`]),
/// and only then.
#[derive(Debug)]
pub enum NsError {
    /// The path does not exist (`ENOENT`, nothing else).
    NotExist {
        /// The path asked for.
        path: PathBuf,
    },
    /// The path exists and is no namespace.
    NotNamespace {
        /// The path asked for.
        path: PathBuf,
        /// The file system's magic number found there.
        magic: u64,
    },
    /// The path is a namespace of another kind.
    OtherKind {
        /// The path asked for.
        path: PathBuf,
    },
    /// Any other failure.
    Other {
        /// What was tried, and on which path.
        what: String,
        /// What the system answered.
        source: io::Error,
    },
}

impl NsError {
    /// Whether no network namespace is at the path: nothing, or something else, such as
    /// the empty file that remains when a namespace is unmounted.
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

/// An open network namespace. It lives at least as long as this handle.
#[derive(Debug)]
pub struct Netns {
    file: File,
    path: PathBuf,
}

impl Netns {
    /// Opens the namespace at `path`, after making sure that it is one.
    ///
    /// # Errors
    /// [`NsError::NotExist`] when nothing is at `path`, [`NsError::NotNamespace`]
    /// when something else is. A namespace of another kind shows when it is entered.
    pub fn open(path: &Path) -> Result<Netns, NsError> {
        let stat = statfs(path).map_err(|e| match e {
            Errno::ENOENT => NsError::NotExist { path: path.into() },
            _ => NsError::other(format!("failed to Statfs {}", quoted(path)), e),
        })?;
        // The field's width and sign differ by architecture; the magic numbers fit 32 bits.
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

    /// The calling thread's namespace.
    ///
    /// # Errors
    /// When `/proc` is not mounted, chiefly.
    pub fn current() -> Result<Netns, NsError> {
        // Nothing else can be there, so the file system is not asked.
        Netns::open_file(Path::new("/proc/thread-self/ns/net"))
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether both handles mean the same namespace (device and inode are equal).
    ///
    /// # Errors
    /// When a handle cannot be examined.
    pub fn is_same(&self, other: &Netns) -> Result<bool, NsError> {
        let identity = |ns: &Netns| {
            ns.file
                .metadata()
                .map(|m| (m.dev(), m.ino()))
                .map_err(|e| NsError::other(format!("stat {}", ns.path.display()), e))
        };
        Ok(identity(self)? == identity(other)?)
    }

    /// Runs `f` inside this namespace on the calling thread and comes back.
    ///
    /// Coming back happens also when `f` panics. Should the kernel refuse the way
    /// back, the process is aborted: going on would configure the wrong host.
    /// Calls may nest.
    ///
    /// # Errors
    /// When the namespace cannot be entered; `f` has not run then.
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> Result<T, NsError> {
        let home = Netns::current()
            .map_err(|e| NsError::other("failed to open current namespace", io::Error::other(e)))?;
        self.run_from(&home, f)
    }

    /// The same for a caller that holds its own namespace open already, and saves
    /// opening it again.
    ///
    /// # Errors
    /// As [`Netns::run`].
    pub fn run_from<T>(&self, home: &Netns, f: impl FnOnce() -> T) -> Result<T, NsError> {
        self.enter()?;
        let _way_back = WayBack(home);
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

/// Returns the thread to its namespace when dropped.
struct WayBack<'a>(&'a Netns);

impl Drop for WayBack<'_> {
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

    /// A namespace of its own: the handle keeps it alive after its thread is gone.
    fn fresh() -> Netns {
        thread::spawn(|| {
            nix::sched::unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
            Netns::current().unwrap()
        })
        .join()
        .unwrap()
    }

    #[test]
    fn kinds_of_failure_are_kept_apart() {
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
    fn run_enters_and_comes_back_nested_too() {
        let (a, b) = (fresh(), fresh());
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
    fn run_comes_back_from_a_panic() {
        let ns = fresh();
        let home = inode(&Netns::current().unwrap());
        let panicked = std::panic::catch_unwind(|| ns.run(|| panic!("inside")));
        assert!(panicked.is_err());
        assert_eq!(inode(&Netns::current().unwrap()), home);
    }

    #[test]
    fn many_threads_share_one_handle() {
        let ns = fresh();
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
