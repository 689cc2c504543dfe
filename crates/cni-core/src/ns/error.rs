//! Errors of network namespaces.

use crate::errno;
use crate::quote::quote;
use nix::errno::Errno;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

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
    /// The text is not a reference to a namespace, or not a name that one can have.
    Invalid {
        /// The text.
        text: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// No running container has the label.
    NoContainer {
        /// The label.
        label: String,
        /// Where it was looked for, and how.
        reason: String,
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
    /// Returns whether there is no network namespace (any more): the path does not exist,
    /// or is something else, such as the empty file that remains of an unmounted
    /// namespace, or no container has the label.
    pub fn is_gone(&self) -> bool {
        match self {
            NsError::NotExist { .. }
            | NsError::NotNamespace { .. }
            | NsError::OtherKind { .. }
            | NsError::NoContainer { .. } => true,
            NsError::Invalid { .. } => false,
            NsError::Other { source, .. } => matches!(
                source.raw_os_error().map(Errno::from_raw),
                Some(Errno::ENOTDIR | Errno::ELOOP | Errno::ENAMETOOLONG)
            ),
        }
    }

    pub(super) fn other(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
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
            NsError::Invalid { text, reason } => {
                write!(f, "network namespace {}: {reason}", quote(text))
            }
            NsError::NoContainer { label, reason } => {
                write!(
                    f,
                    "no running container has the label {}: {reason}",
                    quote(label)
                )
            }
            NsError::Other { what, source } => write!(f, "{what}: {}", errno::of(source)),
        }
    }
}

impl std::error::Error for NsError {}

pub(super) fn quoted(path: &Path) -> String {
    quote(path.as_os_str().as_bytes())
}
