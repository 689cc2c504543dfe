//! Landlock (`landlock(7)`, Linux 5.13): limits a thread to files that it names.

use super::sys::{self, Handled};
use super::{Access, Rule};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc::c_long;
use nix::sys::stat::Mode;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::path::Path;

/// `LANDLOCK_ACCESS_FS_*` of linux/landlock.h.
mod access {
    use super::c_long;

    pub(super) const WRITE_FILE: u64 = 1 << 1;
    pub(super) const READ_FILE: u64 = 1 << 2;
    pub(super) const READ_DIR: u64 = 1 << 3;
    pub(super) const REMOVE_DIR: u64 = 1 << 4;
    pub(super) const REMOVE_FILE: u64 = 1 << 5;
    pub(super) const MAKE_DIR: u64 = 1 << 7;
    pub(super) const MAKE_REG: u64 = 1 << 8;
    pub(super) const TRUNCATE: u64 = 1 << 14;
    pub(super) const IOCTL_DEV: u64 = 1 << 15;

    /// Those of files that are no directories.
    pub(super) const OF_FILES: u64 = WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;

    /// All that version 1 of Landlock knows, execution and special files included.
    pub(super) const FIRST: u64 = (1 << 13) - 1;

    /// Those that later versions of Landlock added.
    pub(super) const LATER: [(c_long, u64); 3] = [(2, 1 << 13), (3, TRUNCATE), (5, IOCTL_DEV)];
}

/// The version that knows `LANDLOCK_ACCESS_NET_*`, and the two of them: bind and connect TCP.
const NETWORK: (c_long, u64) = (4, 3);

/// The version that knows `LANDLOCK_SCOPE_*`, and the two of them: abstract sockets and signals.
const SCOPES: (c_long, u64) = (6, 3);

impl Access {
    fn bits(self) -> u64 {
        let read = access::READ_FILE | access::READ_DIR;
        let change = read | access::WRITE_FILE | access::TRUNCATE | access::IOCTL_DEV;
        match self {
            Access::Read => read,
            Access::Change => change,
            Access::Write => {
                change
                    | access::MAKE_REG
                    | access::MAKE_DIR
                    | access::REMOVE_FILE
                    | access::REMOVE_DIR
            }
        }
    }
}

/// Confines the calling thread to `rules`: other files can be looked at (`stat`), but not
/// opened, created, removed or executed, and TCP, abstract sockets, and signals to and
/// memory of processes outside are refused, as far as the kernel knows how. Returns the
/// kernel's version of Landlock.
///
/// # Errors
/// Those of the kernel, the thread is not confined then.
pub(super) fn restrict(rules: &[Rule]) -> nix::Result<c_long> {
    let version = sys::landlock_version()?;
    let handled = handled(version);
    let ruleset = sys::create_ruleset(&handled)?;
    for rule in rules {
        let Some(path) = open_path(rule)? else {
            continue;
        };
        let bits = rule.access.bits() & handled.files;
        match sys::allow(ruleset.as_fd(), path.as_fd(), bits) {
            Err(Errno::EINVAL) => {
                sys::allow(ruleset.as_fd(), path.as_fd(), bits & access::OF_FILES)?;
            }
            allowed => allowed?,
        }
        // The rule is for the inode. /proc makes a new inode when it has forgotten a
        // directory, which it does not while that is open: so it is left open.
        let _ = path.into_raw_fd();
    }
    sys::restrict_self(ruleset.as_fd())?;
    Ok(version)
}

fn handled(version: c_long) -> Handled {
    let since = |(since, bits): (c_long, u64)| if version >= since { bits } else { 0 };
    let later = access::LATER.map(since);
    Handled {
        files: later
            .into_iter()
            .fold(access::FIRST, |all, bits| all | bits),
        network: since(NETWORK),
        scopes: since(SCOPES),
    }
}

/// Opens the file of a rule. For a directory to write in that does not exist, that is the
/// nearest one above it that exists; for anything else that does not exist, `None`.
fn open_path(rule: &Rule) -> nix::Result<Option<OwnedFd>> {
    let mut path: &Path = &rule.path;
    loop {
        match open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(fd) => return Ok(Some(fd)),
            Err(Errno::ENOENT | Errno::ENOTDIR) if rule.access == Access::Write => {
                match path.parent() {
                    Some(parent) if parent.as_os_str().is_empty() => path = Path::new("."),
                    Some(parent) => path = parent,
                    None => return Ok(None),
                }
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn what_is_to_be_written_may_not_exist_yet() {
        let open = |path: &str, access| {
            let path = path.into();
            open_path(&Rule { path, access }).unwrap().map(File::from)
        };
        for (path, expected) in [
            ("/no-such/file", "/"),
            ("src/no-such/file", "src"),
            ("src/lib.rs/file", "src/lib.rs"),
            ("no-such/file", "."),
            ("no-such", "."),
        ] {
            let found = open(path, Access::Write).unwrap().metadata().unwrap();
            assert_eq!(found.ino(), fs::metadata(expected).unwrap().ino(), "{path}");
        }
        assert!(open("no-such", Access::Change).is_none());
    }
}
