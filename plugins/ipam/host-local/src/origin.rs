//! Origin of a reservation: machine, boot and network namespace of its ADD, in an extended
//! attribute of the reservation's file.
//!
//! The attribute is part of the file, so it vanishes when another implementation removes
//! the file, and is missing if another implementation creates it. It is one line:
//!
//! ```text
//! 1 <boot> <machine> <content> <namespace>
//! ```
//!
//! Boot and machine are hashes of the boot ID and of the machine ID in hexadecimal form,
//! `content` is the hash of the file's content, so that an attribute is not believed after
//! the content has been edited. `namespace` is `<id>:<inode>`, or `-` where the kernel has no
//! file handles of namespaces. The line has some 60 bytes, which ext4 keeps in an inode of
//! 256 bytes.

use std::ffi::CStr;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::time::Duration;

use cni_core::ns::Netns;
use nix::sys::statfs::statfs;
use nix::time::{ClockId, clock_gettime};

use crate::index::{boot_id, hash};
use crate::reservation;
use crate::sys::{self, HANDLE_LEN};

/// Name of the attribute, also of the one at the lock file ([`Here::is_marked_at`]).
const ATTRIBUTE: &CStr = c"user.cni";

/// Most bytes of an attribute that are read.
const ATTRIBUTE_MAX: usize = 128;

/// Version of the attribute.
const VERSION: &str = "1";

/// `CLONE_NEWNET` of linux/sched.h, the kind of namespace in a file handle.
const NETWORK: u32 = 0x4000_0000;

/// Inode number of the initial user namespace (`PROC_USER_INIT_INO` of linux/proc_ns.h).
const INITIAL_USER_NAMESPACE: u64 = 0xefff_fffd;

/// The file with the ID of the machine.
pub(crate) const MACHINE_ID: &str = "/etc/machine-id";

/// Magic numbers (linux/magic.h, and those of bcachefs and ZFS) of file systems that one
/// machine uses at a time: ext4, XFS, Btrfs, F2FS, bcachefs, ZFS, tmpfs, overlay. On others,
/// such as NFS, the containers of another machine may hold addresses.
const LOCAL_FILE_SYSTEMS: [u64; 8] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0xf2f5_2010,
    0xca45_1a4e,
    0x2fc1_2fc1,
    0x0102_1994,
    0x794c_7630,
];

/// The running kernel on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Here {
    boot: u64,
    machine: u64,
}

impl Here {
    /// Returns the running kernel. `None` if it has no boot ID: `/proc` is not mounted.
    pub(crate) fn read() -> Option<Here> {
        let boot = boot_id().ok()?;
        let boot = String::from_utf8_lossy(&boot);
        // Machines without an ID are told apart by their file systems alone.
        let mut machine = [0; 64];
        let _ = File::open(MACHINE_ID).and_then(|file| file.read_at(&mut machine, 0));
        let machine = String::from_utf8_lossy(&machine);
        let id = |text: &str| hash(text.trim_matches(['\0', '\n']));
        Some(Here {
            boot: id(&boot),
            machine: id(&machine),
        })
    }

    /// Returns whether a file has the mark of this boot. A file system without attributes
    /// counts as marked.
    ///
    /// # Errors
    /// When the attribute cannot be read.
    pub(crate) fn is_marked_at(self, file: &File) -> io::Result<bool> {
        match sys::attribute::<ATTRIBUTE_MAX>(file, ATTRIBUTE) {
            Ok(mark) => Ok(mark == self.mark().as_bytes()),
            Err(error) if error.raw_os_error() == Some(nix::libc::ENODATA) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives the file at `path` the mark of this boot.
    ///
    /// # Errors
    /// When the attribute cannot be written.
    pub(crate) fn mark_at(self, path: &Path) -> io::Result<()> {
        sys::set_attribute(path, ATTRIBUTE, self.mark().as_bytes())
    }

    /// Returns the hash of the boot ID.
    pub(crate) fn boot(self) -> u64 {
        self.boot
    }

    fn mark(self) -> String {
        format!("{VERSION} {:016x} {:016x}", self.boot, self.machine)
    }
}

/// Why a container is certainly gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No network namespace outlives a boot.
    Boot,
    /// The kernel has no such namespace any more.
    Namespace,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Boot => "it was reserved before this boot",
            Reason::Namespace => "its network namespace no longer exists",
        })
    }
}

/// The origin of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    here: Here,
    /// ID and inode number of the namespace, as in its file handle.
    namespace: Option<(u64, u32)>,
}

impl Origin {
    /// Returns the origin of a reservation for the container with the network namespace at
    /// `netns`. `None` if there is no network namespace: an address that is not for a
    /// namespace of this boot can outlive the boot.
    pub(crate) fn of(netns: &Path, here: Here) -> Option<Origin> {
        // By its descriptor: a confined process may not look at /proc/PID/ns/net any more.
        let netns = Netns::open(netns).ok()?;
        let namespace = match sys::namespace_handle(netns.as_fd()) {
            Ok(handle) if number(&handle, 8) == NETWORK => Some(handle),
            Ok(_) => return None,
            Err(_) => None,
        };
        let namespace = namespace.map(|handle| {
            let id = u64::from(number(&handle, 0)) | u64::from(number(&handle, 4)) << 32;
            (id, number(&handle, 12))
        });
        Some(Origin { here, namespace })
    }

    /// Records the origin at a reservation's file with this content.
    ///
    /// # Errors
    /// When the attribute cannot be written.
    pub(crate) fn record_at(self, path: &Path, content: &str) -> io::Result<()> {
        sys::set_attribute(path, ATTRIBUTE, self.to_text(content).as_bytes())
    }

    /// Returns the origin that is recorded at a reservation's file with this content.
    pub(crate) fn recorded_at(file: &File, content: &str) -> Option<Origin> {
        let text = sys::attribute::<ATTRIBUTE_MAX>(file, ATTRIBUTE).ok()?;
        Origin::parse(str::from_utf8(&text).ok()?, content)
    }

    /// Returns why the container is gone; `None` if it may exist. [`Reason::Namespace`] is
    /// certain only if [`can_tell`] is true.
    pub(crate) fn why_gone(self, here: Here) -> Option<Reason> {
        if self.here.machine != here.machine {
            return None;
        }
        if self.here.boot != here.boot {
            return Some(Reason::Boot);
        }
        let (id, inode) = self.namespace?;
        let mut handle = [0; HANDLE_LEN];
        handle[..8].copy_from_slice(&id.to_ne_bytes());
        handle[8..12].copy_from_slice(&NETWORK.to_ne_bytes());
        handle[12..].copy_from_slice(&inode.to_ne_bytes());
        match sys::namespace_exists(handle) {
            Ok(false) => Some(Reason::Namespace),
            _ => None,
        }
    }

    fn to_text(self, content: &str) -> String {
        let mark = self.here.mark();
        let content = short_hash(content);
        match self.namespace {
            Some((id, inode)) => format!("{mark} {content:08x} {id}:{inode}"),
            None => format!("{mark} {content:08x} -"),
        }
    }

    fn parse(text: &str, content: &str) -> Option<Origin> {
        let mut fields = text.split(' ');
        let mut field = || fields.next();
        let version = field()?;
        let boot = u64::from_str_radix(field()?, 16).ok()?;
        let machine = u64::from_str_radix(field()?, 16).ok()?;
        let of_content = u32::from_str_radix(field()?, 16).ok()?;
        let namespace = match field()? {
            "-" => None,
            pair => {
                let (id, inode) = pair.split_once(':')?;
                Some((id.parse().ok()?, inode.parse().ok()?))
            }
        };
        let valid = version == VERSION && of_content == short_hash(content);
        valid.then_some(Origin {
            here: Here { boot, machine },
            namespace,
        })
    }
}

/// Returns whether the kernel tells this process the truth about namespaces.
///
/// Without `CAP_SYS_ADMIN` over the owner of a living namespace its answer is the same as for
/// one that is gone. In the initial user namespace, `CAP_SYS_ADMIN` is over all owners. A new
/// namespace shows whether the process has it, and whether a security module lets it use it.
pub(crate) fn can_tell() -> bool {
    let own = fs::metadata("/proc/self/ns/user");
    let is_initial = own.is_ok_and(|own| own.ino() == INITIAL_USER_NAMESPACE);
    let finds_new = || {
        let netns = Netns::unnamed().ok()?;
        let handle = sys::namespace_handle(netns.as_fd()).ok()?;
        sys::namespace_exists(handle).ok()
    };
    is_initial && finds_new() == Some(true)
}

/// Returns whether another implementation has made a reservation, since this boot: its file
/// has no origin, although the file system has attributes.
pub(crate) fn is_foreign(path: &Path) -> bool {
    let has_none = reservation::open(path).is_ok_and(|file| {
        let attribute = sys::attribute::<ATTRIBUTE_MAX>(&file, ATTRIBUTE);
        attribute.is_err_and(|error| error.raw_os_error() == Some(nix::libc::ENODATA))
    });
    has_none && !is_older_than_boot(path)
}

/// Returns whether a file was written before the system was started. If that cannot be told,
/// it was not.
fn is_older_than_boot(path: &Path) -> bool {
    let written = fs::metadata(path).and_then(|metadata| metadata.modified());
    let age = written.ok().and_then(|time| time.elapsed().ok());
    let running = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from);
    age.zip(running.ok())
        .is_some_and(|(age, running)| age > running)
}

/// Returns whether the containers of other machines hold no addresses in a directory: its
/// file system is one that a single machine uses.
pub(crate) fn is_local(directory: &Path) -> bool {
    statfs(directory).is_ok_and(|stat| {
        // Size and sign of the field depend on the architecture; magic numbers have 32 bits.
        let magic = (stat.filesystem_type().0 as u64) & 0xffff_ffff;
        LOCAL_FILE_SYSTEMS.contains(&magic)
    })
}

/// Returns 32 bits of the hash of a content.
fn short_hash(content: &str) -> u32 {
    (hash(content.trim()) & u64::from(u32::MAX)) as u32
}

/// Returns the native number of 32 bits at an offset of a handle.
fn number(handle: &[u8; HANDLE_LEN], at: usize) -> u32 {
    handle
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: &str = "abc\r\neth0";

    #[test]
    fn a_file_is_of_an_earlier_boot_by_its_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(!is_older_than_boot(file.path()));
        let epoch = std::time::SystemTime::UNIX_EPOCH;
        file.as_file().set_modified(epoch).unwrap();
        assert!(is_older_than_boot(file.path()));
        assert!(!is_older_than_boot(&file.path().with_extension("none")));
    }

    fn origin(boot: u64, machine: u64, namespace: Option<(u64, u32)>) -> Origin {
        Origin {
            here: Here { boot, machine },
            namespace,
        }
    }

    #[test]
    fn an_attribute_is_read_as_it_was_written() {
        for namespace in [None, Some((7, 4_026_532_000)), Some((u64::MAX, u32::MAX))] {
            let origin = origin(1, u64::MAX, namespace);
            let text = origin.to_text(CONTENT);
            assert!(text.len() <= ATTRIBUTE_MAX, "{text}");
            assert_eq!(Origin::parse(&text, CONTENT), Some(origin));
            assert_eq!(Origin::parse(&text, "abc\r\neth0\n"), Some(origin));
            // The content was edited.
            assert_eq!(Origin::parse(&text, "abd\r\neth0"), None);
            for damaged in [
                text.replacen('1', "2", 1),
                text.replace(' ', ""),
                text[..30].to_owned(),
                String::new(),
            ] {
                assert_eq!(Origin::parse(&damaged, CONTENT), None, "{damaged}");
            }
        }
    }

    #[test]
    fn only_what_is_certain_counts_as_gone() {
        let here = Here {
            boot: 1,
            machine: 2,
        };
        let none = Some((u64::MAX - 1, 1));
        for (origin, is_gone) in [
            (origin(9, 2, None), true),
            (origin(9, 2, none), true),
            // Another machine, whatever its boot.
            (origin(9, 3, none), false),
            (origin(1, 3, none), false),
            // This boot, and a namespace that is not known.
            (origin(1, 2, None), false),
        ] {
            assert_eq!(origin.why_gone(here).is_some(), is_gone, "{origin:?}");
        }
    }

    #[test]
    fn a_living_namespace_is_not_gone() {
        let here = Here::read().unwrap();
        let of = |path: &str| Origin::of(Path::new(path), here);
        let own = of("/proc/self/ns/net").unwrap();
        assert_eq!(own.why_gone(here), None);
        for path in ["/etc/passwd", "/nonexistent", ""] {
            assert_eq!(of(path), None, "{path}");
        }
        let other_kind = of("/proc/self/ns/mnt");
        assert!(other_kind.is_none_or(|origin| origin.namespace.is_none()));
    }
}
