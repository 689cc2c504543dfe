//! The error type of the crate.

use std::fmt;

use crate::errno;

/// A failed request.
///
/// `Display` is meant to follow the caller's own text ("failed to set up: …"): for a
/// kernel error it is the lower-case error text and, if the kernel sent one, ": " and
/// its extended acknowledgement. [`Error::what`] describes the request.
pub struct Error {
    kind: Kind,
    what: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// The kernel refused; the text is that of the extended acknowledgement.
    Kernel {
        errno: i32,
        text: String,
    },
    /// A system call on the socket failed.
    Socket {
        errno: i32,
        call: &'static str,
    },
    LinkNotFound,
    /// No answer within this many seconds.
    Timeout {
        seconds: u64,
    },
    /// The table changed during each of this many dumps.
    Interrupted {
        attempts: u32,
    },
    /// The request was not sent because it is invalid.
    Invalid {
        problem: String,
    },
    /// The kernel's answer lacks required data.
    Malformed {
        problem: &'static str,
    },
}

impl Error {
    pub(crate) fn kernel(errno: i32, text: String, what: &str) -> Error {
        Error::new(Kind::Kernel { errno, text }, what)
    }

    pub(crate) fn socket(errno: i32, call: &'static str, what: &str) -> Error {
        Error::new(Kind::Socket { errno, call }, what)
    }

    pub(crate) fn link_not_found(what: &str) -> Error {
        Error::new(Kind::LinkNotFound, what)
    }

    pub(crate) fn timeout(seconds: u64, what: &str) -> Error {
        Error::new(Kind::Timeout { seconds }, what)
    }

    pub(crate) fn interrupted(attempts: u32, what: &str) -> Error {
        Error::new(Kind::Interrupted { attempts }, what)
    }

    pub(crate) fn invalid(problem: String, what: &str) -> Error {
        Error::new(Kind::Invalid { problem }, what)
    }

    pub(crate) fn malformed(problem: &'static str, what: &str) -> Error {
        Error::new(Kind::Malformed { problem }, what)
    }

    /// The same error for another request.
    pub(crate) fn about(&self, what: &str) -> Error {
        Error::new(self.kind.clone(), what)
    }

    fn new(kind: Kind, what: &str) -> Error {
        Error {
            kind,
            what: what.to_owned(),
        }
    }

    /// The error number of the kernel or of the failed system call (`errno.h`),
    /// `None` for other errors. Use [`Error::is_not_found`] for missing objects.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self.kind {
            Kind::Kernel { errno, .. } | Kind::Socket { errno, .. } => Some(errno),
            Kind::LinkNotFound => Some(errno::ENODEV),
            _ => None,
        }
    }

    /// The text of the kernel's extended acknowledgement (`NLMSGERR_ATTR_MSG`),
    /// empty if it sent none.
    #[must_use]
    pub fn ext_ack(&self) -> &str {
        match &self.kind {
            Kind::Kernel { text, .. } => text,
            _ => "",
        }
    }

    /// The request in words, for example `add address 10.0.0.1/24 to link 3`.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Whether the object of the request does not exist: a link (`ENODEV`), an address
    /// (`EADDRNOTAVAIL`), a route (`ESRCH`), a neighbour (`ENOENT`). A deletion that
    /// fails with it has nothing left to do.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(
            self.errno(),
            Some(errno::ENODEV | errno::EADDRNOTAVAIL | errno::ESRCH | errno::ENOENT)
        )
    }

    /// Whether the object to be created exists already (`EEXIST`).
    #[must_use]
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(errno::EEXIST)
    }

    /// Whether the kernel did not answer in time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, Kind::Timeout { .. })
    }

    /// Whether the kernel lacks support for the request (`EOPNOTSUPP`), such as a kind
    /// of link or an option.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        self.errno() == Some(errno::EOPNOTSUPP)
    }

    /// Whether the kernel lacks the kind of the qdisc to be added (`ENOENT` of
    /// `qdisc_create`, after trying to load the module).
    #[must_use]
    pub fn is_unknown_qdisc(&self) -> bool {
        self.errno() == Some(errno::ENOENT)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Kernel { errno, text } => {
                f.write_str(&errno_text::text(*errno))?;
                if text.is_empty() {
                    return Ok(());
                }
                write!(f, ": {text}")
            }
            Kind::Socket { errno, call } => {
                write!(f, "netlink {call}: ")?;
                f.write_str(&errno_text::text(*errno))
            }
            Kind::LinkNotFound => f.write_str("Link not found"),
            Kind::Timeout { seconds } => {
                write!(
                    f,
                    "no answer from the kernel after {seconds} s: {}",
                    self.what
                )
            }
            Kind::Interrupted { attempts } => write!(
                f,
                "table kept changing while it was read, gave up after {attempts} attempts: {}",
                self.what
            ),
            Kind::Invalid { problem } => write!(f, "{problem}: {}", self.what),
            Kind::Malformed { problem } => {
                write!(
                    f,
                    "unusable answer from the kernel, {problem}: {}",
                    self.what
                )
            }
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.what)
    }
}

impl std::error::Error for Error {}
