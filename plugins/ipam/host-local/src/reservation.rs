//! Reservation files: their names, and the owner that they contain.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use cni_core::errno;
use nix::fcntl::OFlag;

/// Separator of container ID and interface name, the same on every platform.
const SEPARATOR: &str = "\r\n";

/// Upper limit of the size of a reservation in bytes: container ID and interface name are
/// environment variables of at most 128 KiB each (`MAX_ARG_STRLEN` of linux/binfmts.h).
const MAX_SIZE: u64 = 256 * 1024;

/// The owner of an address: one interface of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    id: String,
    if_name: String,
}

impl Owner {
    /// Returns the owner with this `CNI_CONTAINERID` and `CNI_IFNAME`.
    pub(crate) fn new(id: &str, if_name: &str) -> Owner {
        Owner {
            id: id.trim().to_owned(),
            if_name: if_name.to_owned(),
        }
    }

    /// Returns the container ID.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Returns the content of the owner's reservation files.
    pub(crate) fn content(&self) -> String {
        format!("{}{SEPARATOR}{}", self.id, self.if_name)
    }

    /// Returns how a reservation with this content relates to the owner.
    pub(crate) fn relation(&self, content: &Content) -> Relation {
        match content {
            Content::Held {
                id,
                if_name: Some(name),
            } if *id == self.id && *name == self.if_name => Relation::Own,
            Content::Held { id, if_name: None } if *id == self.id => Relation::Legacy,
            _ => Relation::Other,
        }
    }
}

/// Relation of a reservation to an owner, see [`Owner::relation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// Of this container and this interface.
    Own,
    /// Of this container; written by a very old release, which recorded no interface.
    Legacy,
    /// Of another container or interface.
    Other,
}

/// Content of a reservation file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Empty, or only zero bytes and white space. The address is free.
    ///
    /// Reservations are created and written under the lock. A reader that holds the lock
    /// sees an empty one only after a crash or a power loss. This saves an fsync for every
    /// ADD.
    Empty,
    /// Held by an attachment.
    Held {
        /// The container's ID.
        id: String,
        /// The interface; `None` in files of very old releases.
        if_name: Option<String>,
    },
    /// Not a regular file, or unreadable: reserved for an unknown owner.
    Unknown,
}

impl Content {
    /// Reads a reservation file.
    ///
    /// # Errors
    /// Only when the file does not exist; anything else that cannot be read is
    /// [`Content::Unknown`].
    pub(crate) fn read(path: &Path) -> io::Result<Content> {
        let file = match open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
            Err(_) => return Ok(Content::Unknown),
        };
        match read_all(&file) {
            Ok(bytes) if is_blank(&bytes) && !is_file(path) => Ok(Content::Unknown),
            Ok(bytes) => Ok(Content::parse(&bytes)),
            Err(_) => Ok(Content::Unknown),
        }
    }

    /// Returns the ID of the container that holds the address, if one is known to.
    pub(crate) fn id(&self) -> Option<&str> {
        match self {
            Content::Held { id, .. } => Some(id),
            Content::Empty | Content::Unknown => None,
        }
    }

    /// Returns the interface that the address is held for, if it is known.
    pub(crate) fn if_name(&self) -> Option<&str> {
        match self {
            Content::Held { if_name, .. } => if_name.as_deref(),
            Content::Empty | Content::Unknown => None,
        }
    }

    /// Returns the content that these bytes of a file stand for.
    pub(crate) fn parse(bytes: &[u8]) -> Content {
        if is_blank(bytes) {
            return Content::Empty;
        }
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim();
        match text.split_once(SEPARATOR) {
            Some((id, name)) => Content::Held {
                id: id.to_owned(),
                if_name: Some(name.to_owned()),
            },
            None => Content::Held {
                id: text.to_owned(),
                if_name: None,
            },
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Empty => f.write_str("not reserved"),
            Content::Held {
                id,
                if_name: Some(name),
            } => write!(f, "held by {id} {name}"),
            Content::Held { id, if_name: None } => write!(f, "held by {id}"),
            Content::Unknown => f.write_str("held by something unreadable"),
        }
    }
}

/// Opens a file for reading. A pipe must not block, and a symbolic link must not be
/// followed.
///
/// # Errors
/// Those of open(2).
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits()).open(path)
}

/// Reads a file, by one system call if it is short, which it nearly always is: a container
/// ID of 64 digits and an interface name. Thousands of them may be read in a row.
pub(crate) fn read_all(mut file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 256];
    let len = file.read(&mut bytes)?;
    bytes.truncate(len);
    if len == 256 {
        file.take(MAX_SIZE).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Returns the addresses that have a file in a directory, in no particular order.
///
/// # Errors
/// When the directory cannot be read.
pub(crate) fn names(directory: &Path) -> anyhow::Result<Vec<IpAddr>> {
    let failed = |error: io::Error| file_error("open", directory, &error);
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if let Some(ip) = name.to_str().and_then(address_of) {
            all.push(ip);
        }
    }
    Ok(all)
}

/// Returns the address that a file name stands for, if it is in canonical form.
fn address_of(name: &str) -> Option<IpAddr> {
    let ip: IpAddr = name.parse().ok()?;
    // The parser accepts only one form of an IPv4 address; mapped ones are never written.
    (ip.is_ipv4() || ip.to_canonical().to_string() == name).then_some(ip)
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| *byte == 0 || byte.is_ascii_whitespace())
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// Returns the error `<operation> <path>: <cause>`, which is upstream's form.
pub(crate) fn file_error(operation: &str, path: &Path, error: &io::Error) -> anyhow::Error {
    anyhow::anyhow!("{operation} {}: {}", path.display(), errno::of(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(id: &str, if_name: Option<&str>) -> Content {
        Content::Held {
            id: id.into(),
            if_name: if_name.map(Into::into),
        }
    }

    #[test]
    fn reads_every_format_ever_written() {
        let table: &[(&[u8], Content)] = &[
            (b"abc\r\neth0", held("abc", Some("eth0"))),
            (b" abc\r\neth0\n", held("abc", Some("eth0"))),
            (b"abc", held("abc", None)),
            (b"abc\n", held("abc", None)),
            (b"abc\neth0", held("abc\neth0", None)),
            (b"\xff\r\neth0", held("\u{fffd}", Some("eth0"))),
            (b"", Content::Empty),
            (b"\0\0\0\0", Content::Empty),
            (b"\r\n", Content::Empty),
        ];
        for (bytes, expected) in table {
            assert_eq!(Content::parse(bytes), *expected, "{bytes:?}");
        }
    }

    #[test]
    fn reads_files_of_any_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("10.0.0.1");
        for len in [1, 255, 256, 257, 100_000] {
            let id = "x".repeat(len);
            fs::write(&path, format!("{id}\r\neth0")).unwrap();
            assert_eq!(Content::read(&path).unwrap(), held(&id, Some("eth0")));
        }
    }

    #[test]
    fn relation_of_a_reservation_to_an_owner() {
        let owner = Owner::new("abc", "eth0");
        assert_eq!(owner.content(), "abc\r\neth0");
        assert_eq!(
            owner.relation(&Content::parse(owner.content().as_bytes())),
            Relation::Own
        );
        for (content, expected) in [
            (held("abc", None), Relation::Legacy),
            (held("abc", Some("eth1")), Relation::Other),
            (held("ab", Some("eth0")), Relation::Other),
            (held("ab", None), Relation::Other),
            (Content::Empty, Relation::Other),
            (Content::Unknown, Relation::Other),
        ] {
            assert_eq!(owner.relation(&content), expected);
        }
    }

    #[test]
    fn only_canonical_addresses_name_reservation_files() {
        for name in ["10.0.0.1", "2001:db8::1", "::1:0:0", "::"] {
            assert_eq!(
                address_of(name).map(|ip| ip.to_string()).as_deref(),
                Some(name)
            );
        }
        for name in [
            "lock",
            ".index",
            "last_reserved_ip.0",
            "10.0.0.01",
            "2001:DB8::1",
            "::ffff:1.2.3.4",
        ] {
            assert_eq!(address_of(name), None, "{name}");
        }
    }

    #[test]
    fn entries_that_are_not_files_count_as_reserved() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("10.0.0.1")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", at("10.0.0.2")).unwrap();
        nix::unistd::mkfifo(&at("10.0.0.3"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for name in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
            assert_eq!(
                Content::read(&at(name)).unwrap(),
                Content::Unknown,
                "{name}"
            );
        }
        assert!(Content::read(&at("10.0.0.4")).is_err());
    }
}
