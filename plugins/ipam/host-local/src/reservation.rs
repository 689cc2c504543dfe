//! What one reservation file says: who holds the address.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use cni_core::errno;
use nix::fcntl::OFlag;

/// Between container ID and interface name, on every platform.
const SEPARATOR: &str = "\r\n";

/// More than a reservation can be: container ID and interface name come from one
/// environment, where the kernel allows 128 KiB a string (`MAX_ARG_STRLEN` of
/// linux/binfmts.h).
const MAX_SIZE: u64 = 256 * 1024;

/// Who holds an address: one interface of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    id: String,
    if_name: String,
}

impl Owner {
    /// The attachment that `CNI_CONTAINERID` and `CNI_IFNAME` name.
    pub(crate) fn new(id: &str, if_name: &str) -> Owner {
        Owner { id: id.trim().to_owned(), if_name: if_name.to_owned() }
    }

    /// The container's ID.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The text of the owner's reservation files.
    pub(crate) fn content(&self) -> String {
        format!("{}{SEPARATOR}{}", self.id, self.if_name)
    }

    /// How a reservation that says `content` relates to this owner.
    pub(crate) fn relation(&self, content: &Content) -> Relation {
        match content {
            Content::Held { id, if_name: Some(name) } if *id == self.id && *name == self.if_name => {
                Relation::Own
            }
            Content::Held { id, if_name: None } if *id == self.id => Relation::Legacy,
            _ => Relation::Other,
        }
    }
}

/// See [`Owner::relation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// Of this container and this interface.
    Own,
    /// Of this container; written by a very old release, which did not record the
    /// interface.
    Legacy,
    /// Of somebody else.
    Other,
}

/// What a reservation file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Empty, or nothing but zero bytes and white space.
    ///
    /// Every writer creates and writes a reservation under the lock, so whoever sees
    /// this under the lock sees what a crash or a power loss left: nobody holds the
    /// address, and it is free. That takes the place of an fsync on every ADD.
    Remnant,
    /// Held by an attachment.
    Held {
        /// The container's ID.
        id: String,
        /// The interface; `None` in files of very old releases.
        if_name: Option<String>,
    },
    /// Not a readable file: taken, nobody knows by whom.
    Unknown,
}

impl Content {
    /// Reads a reservation file.
    ///
    /// # Errors
    /// Only when the file is not there; whatever else cannot be read is
    /// [`Content::Unknown`].
    pub(crate) fn read(path: &Path) -> io::Result<Content> {
        // A pipe or a link that somebody put there must not hold us up or lead away.
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
        let file = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
            Err(_) => return Ok(Content::Unknown),
        };
        // A container ID has 64 digits as a rule, so that one read is the whole file.
        let mut bytes = Vec::with_capacity(128);
        match file.take(MAX_SIZE).read_to_end(&mut bytes) {
            Ok(_) if is_blank(&bytes) && !is_file(path) => Ok(Content::Unknown),
            Ok(_) => Ok(Content::parse(&bytes)),
            Err(_) => Ok(Content::Unknown),
        }
    }

    fn parse(bytes: &[u8]) -> Content {
        if is_blank(bytes) {
            return Content::Remnant;
        }
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim();
        match text.split_once(SEPARATOR) {
            Some((id, name)) => Content::Held { id: id.to_owned(), if_name: Some(name.to_owned()) },
            None => Content::Held { id: text.to_owned(), if_name: None },
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Remnant => f.write_str("not reserved"),
            Content::Held { id, if_name: Some(name) } => write!(f, "held by {id} {name}"),
            Content::Held { id, if_name: None } => write!(f, "held by {id}"),
            Content::Unknown => f.write_str("held by something unreadable"),
        }
    }
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0 || byte.is_ascii_whitespace())
}

fn is_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// `<operation> <path>: <cause>`, the form in which users know file system errors.
pub(crate) fn file_error(operation: &str, path: &Path, error: &io::Error) -> anyhow::Error {
    anyhow::anyhow!("{operation} {}: {}", path.display(), errno::of(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(id: &str, if_name: Option<&str>) -> Content {
        Content::Held { id: id.into(), if_name: if_name.map(Into::into) }
    }

    #[test]
    fn reads_what_was_ever_written() {
        let table: &[(&[u8], Content)] = &[
            (b"abc\r\neth0", held("abc", Some("eth0"))),
            (b" abc\r\neth0\n", held("abc", Some("eth0"))),
            (b"abc", held("abc", None)),
            (b"abc\n", held("abc", None)),
            (b"abc\neth0", held("abc\neth0", None)),
            (b"\xff\r\neth0", held("\u{fffd}", Some("eth0"))),
            (b"", Content::Remnant),
            (b"\0\0\0\0", Content::Remnant),
            (b"\r\n", Content::Remnant),
        ];
        for (bytes, expected) in table {
            assert_eq!(Content::parse(bytes), *expected, "{bytes:?}");
        }
    }

    #[test]
    fn tells_owners_apart() {
        let owner = Owner::new("abc", "eth0");
        assert_eq!(owner.content(), "abc\r\neth0");
        assert_eq!(owner.relation(&Content::parse(owner.content().as_bytes())), Relation::Own);
        for (content, expected) in [
            (held("abc", None), Relation::Legacy),
            (held("abc", Some("eth1")), Relation::Other),
            (held("ab", Some("eth0")), Relation::Other),
            (held("ab", None), Relation::Other),
            (Content::Remnant, Relation::Other),
            (Content::Unknown, Relation::Other),
        ] {
            assert_eq!(owner.relation(&content), expected);
        }
    }

    #[test]
    fn takes_what_is_no_file_for_taken() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("10.0.0.1")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", at("10.0.0.2")).unwrap();
        nix::unistd::mkfifo(&at("10.0.0.3"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for name in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
            assert_eq!(Content::read(&at(name)).unwrap(), Content::Unknown, "{name}");
        }
        assert!(Content::read(&at("10.0.0.4")).is_err());
    }
}
