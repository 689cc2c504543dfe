//! Errors: what failed, on which path, why.

use nix::errno::Errno;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a record cannot be kept or a lock cannot be taken.
#[derive(Debug)]
pub struct Error {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// A system call failed; what it was to do.
    System(&'static str, Errno),
    /// What is at the path is not ours.
    Foreign(String),
    /// Another process held the lock for all of this time.
    Locked(Duration),
}

impl Error {
    pub(crate) fn system(verb: &'static str, path: impl Into<PathBuf>, errno: Errno) -> Error {
        Error {
            path: path.into(),
            kind: Kind::System(verb, errno),
        }
    }

    pub(crate) fn foreign(path: impl Into<PathBuf>, why: impl Into<String>) -> Error {
        Error {
            path: path.into(),
            kind: Kind::Foreign(why.into()),
        }
    }

    pub(crate) fn locked(path: impl Into<PathBuf>, waited: Duration) -> Error {
        Error {
            path: path.into(),
            kind: Kind::Locked(waited),
        }
    }

    /// Returns whether the file or directory, or one above it, does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self.kind, Kind::System(_, Errno::ENOENT))
    }

    /// Returns the path of the file or directory concerned.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether another process held the lock for longer than the caller waits.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        matches!(self.kind, Kind::Locked(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.kind {
            Kind::System(verb, errno) => {
                write!(
                    f,
                    "cannot {verb} {path}: {}",
                    errno_text::text(*errno as i32)
                )
            }
            Kind::Foreign(why) => write!(f, "{path} {why}: remove it"),
            Kind::Locked(waited) => write!(
                f,
                "cannot lock {path}: another process has held it for more than {} s; find that \
                 process (\"fuser {path}\") and end it if it hangs",
                waited.as_secs_f32()
            ),
        }
    }
}

impl std::error::Error for Error {}
