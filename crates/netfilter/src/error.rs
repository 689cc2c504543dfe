//! Errors of packet filters.

use std::fmt;
use std::time::Duration;

use nix::libc;
use rtnl::netlink;

/// A failed read or change of packet filters.
///
/// `Display` writes what was being done, the cause (the kernel's error and extended
/// acknowledgement, the first error of a command, the text of a D-Bus error) and, where
/// known, what to do about it.
pub struct Error(Box<Inner>);

struct Inner {
    what: String,
    kind: Kind,
}

pub(crate) enum Kind {
    /// The kernel refused a request.
    Kernel {
        errno: i32,
        /// Text of the extended acknowledgement; may be empty.
        text: String,
        culprit: Culprit,
    },
    /// The netlink socket or a dump failed.
    Netlink(netlink::Error),
    /// The rules kept changing while they were being read or written.
    Changing {
        waited: Duration,
    },
    /// The request is invalid and was not sent.
    Invalid {
        problem: String,
    },
    MissingCommand {
        command: String,
    },
    /// A command ended with an error.
    Command {
        arguments: String,
        status: String,
        stderr: String,
        hint: &'static str,
    },
    /// Another process held a lock for too long.
    Locked {
        waited: Duration,
        lock: String,
    },
    Timeout {
        waited: Duration,
    },
    /// A command printed more than `limit` bytes.
    TooMuchOutput {
        limit: usize,
    },
    Io {
        call: &'static str,
        error: std::io::Error,
    },
    /// A D-Bus error reply.
    Bus {
        name: String,
        text: String,
    },
    /// An answer lacks a required part.
    Malformed {
        problem: &'static str,
    },
}

/// The part of a request that the kernel reported as the cause.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Culprit {
    #[default]
    Unknown,
    /// The name of a table, chain or set.
    Name(String),
    ChainType(String),
    Expression(String),
}

impl Error {
    pub(crate) fn new(kind: Kind, what: impl Into<String>) -> Error {
        let what = what.into();
        Error(Box::new(Inner { what, kind }))
    }

    pub(crate) fn invalid(problem: impl Into<String>, what: impl Into<String>) -> Error {
        let problem = problem.into();
        Error::new(Kind::Invalid { problem }, what)
    }

    pub(crate) fn io(
        call: &'static str,
        error: impl Into<std::io::Error>,
        what: impl Into<String>,
    ) -> Error {
        let error = error.into();
        Error::new(Kind::Io { call, error }, what)
    }

    /// A refusal of the kernel; `text` is that of the extended acknowledgement.
    pub(crate) fn kernel(
        errno: i32,
        text: String,
        culprit: Culprit,
        what: impl Into<String>,
    ) -> Error {
        let kind = Kind::Kernel {
            errno,
            text,
            culprit,
        };
        Error::new(kind, what)
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.0.kind
    }

    /// Returns what was being done, for example `add rule to chain inet filter input`.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// Returns the error number of the kernel or of a failed system call (`errno.h`).
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self.kind() {
            Kind::Kernel { errno, .. } => Some(*errno),
            Kind::Netlink(error) => error.errno(),
            Kind::Io { error, .. } => error.raw_os_error(),
            _ => None,
        }
    }

    /// Returns whether the table, chain, rule, set or element does not exist (`ENOENT`).
    /// False if the kernel does not support the type of object, see
    /// [`Error::is_unsupported`].
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.errno() == Some(libc::ENOENT) && !self.is_unsupported()
    }

    /// Returns whether the object exists already in another form (`EEXIST`).
    #[must_use]
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }

    /// Returns whether the object to be deleted is still referenced (`EBUSY`).
    #[must_use]
    pub(crate) fn is_busy(&self) -> bool {
        self.errno() == Some(libc::EBUSY)
    }

    /// Returns whether a permission is missing (`CAP_NET_ADMIN`, access to a file).
    #[must_use]
    pub fn is_permission(&self) -> bool {
        match self.kind() {
            Kind::Command { stderr, .. } => is_denied(stderr),
            _ => matches!(self.errno(), Some(libc::EPERM | libc::EACCES)),
        }
    }

    /// Returns whether the kernel does not support the request: it was built without a
    /// part of nf_tables, or is too old for it.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        match self.kind() {
            Kind::Kernel { errno, culprit, .. } => match (*errno, culprit) {
                (libc::ENOENT, Culprit::ChainType(_)) => true,
                // These refer to other objects, which may be what is missing.
                (libc::ENOENT, Culprit::Expression(name)) => {
                    !matches!(name.as_str(), "immediate" | "lookup")
                }
                (errno, _) => no_support(errno),
            },
            Kind::Netlink(error) => error.errno().is_some_and(no_support),
            _ => false,
        }
    }

    /// Returns whether a command is not installed.
    #[must_use]
    pub fn is_missing_command(&self) -> bool {
        matches!(self.kind(), Kind::MissingCommand { .. })
    }

    /// Returns whether a deadline passed: another process held a lock, or there was no
    /// answer.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match self.kind() {
            Kind::Locked { .. } | Kind::Timeout { .. } | Kind::Changing { .. } => true,
            Kind::Netlink(error) => error.is_timeout(),
            _ => false,
        }
    }

    /// Returns the name of a D-Bus error (`org.freedesktop.DBus.Error.…`).
    #[must_use]
    pub fn bus_error(&self) -> Option<&str> {
        match self.kind() {
            Kind::Bus { name, .. } => Some(name),
            _ => None,
        }
    }
}

/// Returns whether the standard error of iptables says that a permission is missing.
pub(crate) fn is_denied(stderr: &str) -> bool {
    [
        "Permission denied",
        "must be root",
        "Operation not permitted",
    ]
    .iter()
    .any(|words| stderr.contains(words))
}

fn no_support(errno: i32) -> bool {
    matches!(
        errno,
        libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT
    )
}

impl From<netlink::Error> for Error {
    fn from(error: netlink::Error) -> Error {
        let what = error.what().to_owned();
        Error::new(Kind::Netlink(error), what)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.what();
        match self.kind() {
            Kind::Kernel {
                errno,
                text,
                culprit,
            } => {
                write!(f, "{what}: {}", errno_text::text(*errno))?;
                if !text.is_empty() {
                    write!(f, ": {text}")?;
                }
                match culprit {
                    Culprit::Unknown => {}
                    Culprit::Name(name) => write!(f, " ({name:?})")?,
                    Culprit::ChainType(name) => write!(f, " (chain type {name:?})")?,
                    Culprit::Expression(name) => write!(f, " (expression {name:?})")?,
                }
            }
            // These name the request themselves.
            Kind::Netlink(error) if error.errno().is_none() => write!(f, "{error}")?,
            Kind::Netlink(error) => write!(f, "{what}: {error}")?,
            Kind::Changing { waited } => write!(
                f,
                "{what}: packet filters kept changing, gave up after {} s",
                waited.as_secs()
            )?,
            Kind::Invalid { problem } => write!(f, "{what}: {problem}")?,
            Kind::MissingCommand { command } => {
                write!(f, "exec: {command:?}: executable file not found in $PATH; ")?;
                f.write_str(if command == "nft" {
                    "install nftables"
                } else {
                    "install iptables or use nftables"
                })?;
            }
            Kind::Command {
                arguments,
                status,
                stderr,
                hint,
            } => {
                write!(f, "running [{arguments}]: {status}: {}", stderr.trim_end())?;
                f.write_str(hint)?;
            }
            Kind::Locked { waited, lock } => write!(
                f,
                "{what}: {lock} is held by another process, gave up after {} s",
                waited.as_secs()
            )?,
            Kind::Timeout { waited } => {
                write!(f, "{what}: no answer after {} s", waited.as_secs())?;
            }
            Kind::TooMuchOutput { limit } => {
                write!(f, "{what}: more than {} MiB of output", limit >> 20)?;
            }
            Kind::Io { call, error } => match error.raw_os_error() {
                Some(errno) => write!(f, "{what}: {call}: {}", errno_text::text(errno))?,
                None => write!(f, "{what}: {call}: {error}")?,
            },
            Kind::Bus { name, text } if text.is_empty() => write!(f, "{what}: {name}")?,
            Kind::Bus { text, .. } => write!(f, "{what}: {text}")?,
            Kind::Malformed { problem } => write!(f, "{what}: invalid answer: {problem}")?,
        }
        self.write_advice(f)
    }
}

impl Error {
    fn write_advice(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !matches!(self.kind(), Kind::Kernel { .. } | Kind::Netlink(_)) {
            return Ok(());
        }
        if self.is_permission() {
            return f.write_str("; CAP_NET_ADMIN is needed");
        }
        if !self.is_unsupported() {
            return Ok(());
        }
        f.write_str(match self.kind() {
            Kind::Kernel {
                culprit: Culprit::ChainType(_),
                ..
            } => {
                "; this kernel has no such chains in this family: \
                 NAT needs CONFIG_NFT_NAT, in family inet also Linux 5.2 or later"
            }
            _ => {
                "; this kernel lacks a part of nf_tables (CONFIG_NF_TABLES, CONFIG_NFT_*), \
                 is too old for it, or does not allow it in such a chain"
            }
        })
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}
