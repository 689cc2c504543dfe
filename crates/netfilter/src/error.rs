//! What can go wrong with a packet filter.

use std::fmt;
use std::time::Duration;

use nix::libc;
use rtnl::netlink;

/// A failed reading or change of packet filters.
///
/// `Display` says what was being done, the cause in its owner's words (the
/// kernel's error text and extended acknowledgement, the standard error of a
/// command, the name and text of a D-Bus error) and, where there is something
/// to be done about it, what.
pub struct Error(Box<Inner>);

struct Inner {
    what: String,
    kind: Kind,
}

pub(crate) enum Kind {
    /// The kernel refused.
    Kernel {
        errno: i32,
        /// Of the extended acknowledgement; empty if there is none.
        text: String,
        culprit: Culprit,
    },
    /// The netlink socket failed, or a dump did.
    Netlink(netlink::Error),
    /// The rules kept changing while they were being read or written.
    Changing {
        waited: Duration,
    },
    /// It was not tried because it cannot be meant.
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
    /// Somebody else held a lock for too long.
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
    /// An answer lacks what it must hold.
    Malformed {
        problem: &'static str,
    },
}

/// The part of a request that the kernel found fault with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Culprit {
    #[default]
    Unknown,
    /// A name: of a table, chain, set.
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

    /// What was being done, for example `add rule to chain inet filter input`.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// The error number of the kernel or of a failed system call (`errno.h`),
    /// `None` if the error is not of that sort.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self.kind() {
            Kind::Kernel { errno, .. } => Some(*errno),
            Kind::Netlink(error) => error.errno(),
            Kind::Io { error, .. } => error.raw_os_error(),
            _ => None,
        }
    }

    /// Whether the table, chain, rule, set or element does not exist
    /// (`ENOENT`). False for what the kernel does not know the kind of, see
    /// [`Error::is_unsupported`].
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.errno() == Some(libc::ENOENT) && !self.is_unsupported()
    }

    /// Whether what was to be created exists already, in another form
    /// (`EEXIST`, `EBUSY` of an element with other data).
    #[must_use]
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }

    /// Whether the thing to be deleted is still referred to (`EBUSY`).
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.errno() == Some(libc::EBUSY)
    }

    /// Whether the permission is missing (`CAP_NET_ADMIN`, access to a file).
    #[must_use]
    pub fn is_permission(&self) -> bool {
        match self.kind() {
            Kind::Command { stderr, .. } => is_denied(stderr),
            _ => matches!(self.errno(), Some(libc::EPERM | libc::EACCES)),
        }
    }

    /// Whether the kernel does not know what was asked: it was built without a
    /// part of nf_tables, or is too old for it.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        match self.kind() {
            Kind::Kernel { errno, culprit, .. } => match (*errno, culprit) {
                (libc::ENOENT, Culprit::ChainType(_)) => true,
                // Of these the name may be another object's that is missing.
                (libc::ENOENT, Culprit::Expression(name)) => {
                    !matches!(name.as_str(), "immediate" | "lookup")
                }
                (errno, _) => no_support(errno),
            },
            Kind::Netlink(error) => error.errno().is_some_and(no_support),
            _ => false,
        }
    }

    /// Whether a command that is needed is not installed.
    #[must_use]
    pub fn is_missing_command(&self) -> bool {
        matches!(self.kind(), Kind::MissingCommand { .. })
    }

    /// Whether a deadline passed: somebody else held a lock, or there was no
    /// answer.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match self.kind() {
            Kind::Locked { .. } | Kind::Timeout { .. } | Kind::Changing { .. } => true,
            Kind::Netlink(error) => error.is_timeout(),
            _ => false,
        }
    }

    /// The name of the D-Bus error (`org.freedesktop.DBus.Error.…`), `None` if
    /// the error is not of that sort.
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
            // These name what was asked themselves.
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
            Kind::Malformed { problem } => write!(f, "{what}: unusable answer, {problem}")?,
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
