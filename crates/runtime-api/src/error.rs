//! Errors of requests.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a runtime could not be asked, or what it answered instead.
#[derive(Debug)]
pub enum Error {
    /// Nobody answers at the socket.
    Unreachable {
        /// Path of the socket.
        socket: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The answer was not complete in time.
    TimedOut {
        /// What was asked.
        request: String,
        /// The limit.
        after: Duration,
    },
    /// The connection failed during a request.
    Broken {
        /// What was asked.
        request: String,
        /// The cause.
        cause: String,
    },
    /// The runtime refused the request.
    Refused {
        /// What was asked.
        request: String,
        /// Status of HTTP (Docker) or gRPC (CRI).
        status: u32,
        /// The runtime's text.
        message: String,
    },
    /// The answer cannot be read.
    Malformed {
        /// What was asked.
        request: String,
        /// What is wrong.
        cause: String,
    },
    /// A setting is wrong.
    Invalid {
        /// The setting, its value, and what would be right.
        what: String,
    },
    /// No container with the label appeared in time.
    NoContainer {
        /// The label.
        label: String,
        /// Where it was looked for.
        reason: String,
    },
}

impl Error {
    /// Returns whether the runtime may answer later: it is not running, or does not answer.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Error::Unreachable { source, .. } => source.kind() != io::ErrorKind::PermissionDenied,
            Error::TimedOut { .. } | Error::Broken { .. } => true,
            Error::Refused { status, .. } => *status >= 500,
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unreachable { socket, source } => write!(
                f,
                "cannot connect to the runtime's socket {}: {}",
                socket.display(),
                cni_core::errno::of(source)
            ),
            Error::TimedOut { request, after } => {
                write!(f, "{request}: no answer within {after:?}")
            }
            Error::Broken { request, cause } => write!(f, "{request}: connection failed: {cause}"),
            Error::Refused {
                request,
                status,
                message,
            } => write!(f, "{request}: refused with status {status}: {message}"),
            Error::Malformed { request, cause } => {
                write!(f, "{request}: the answer cannot be read: {cause}")
            }
            Error::Invalid { what } => f.write_str(what),
            Error::NoContainer { label, reason } => {
                write!(f, "no running container has the label {label}: {reason}")
            }
        }
    }
}

impl std::error::Error for Error {}
