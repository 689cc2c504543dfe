//! Private file systems for a host.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::mount::{MsFlags, mount};

fn none() -> Option<&'static str> {
    None
}

/// Mounts an empty tmpfs over `path`; `options` as in tmpfs(5), for example `size=4k`.
pub(crate) fn tmpfs(path: &Path, options: &str) -> io::Result<()> {
    mount(
        Some("testkit"),
        path,
        Some("tmpfs"),
        MsFlags::empty(),
        Some(options),
    )
    .map_err(io::Error::from)
}

/// Stops mounts of this namespace from reaching the machine.
pub(crate) fn make_private() -> io::Result<()> {
    mount(
        none(),
        "/",
        none(),
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        none(),
    )
    .map_err(io::Error::from)
}

/// Shows the namespace's own devices under `/sys/class/net`.
///
/// Refused in a user namespace where the machine hides parts of sysfs; nothing that a test of an
/// unprivileged user does needs it, so that is no error.
pub(crate) fn fresh_sysfs() -> io::Result<()> {
    match mount(
        Some("sysfs"),
        "/sys",
        Some("sysfs"),
        MsFlags::empty(),
        none(),
    ) {
        Ok(()) | Err(nix::errno::Errno::EPERM) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Makes `path` an empty directory, also where the machine has none and must not get one.
///
/// A missing directory cannot be mounted over. Then the nearest existing parent is replaced by a tmpfs
/// that shows the same entries (bound one by one), in which the directory can be made.
pub(crate) fn empty_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return tmpfs(path, "mode=755");
    }
    let mut parent = path.parent().unwrap_or(Path::new("/"));
    while !parent.is_dir() {
        parent = parent.parent().unwrap_or(Path::new("/"));
    }
    if parent == Path::new("/") {
        return Err(io::Error::other(format!(
            "{}: no parent directory to put it in",
            path.display()
        )));
    }
    // The descriptor keeps the old directory reachable below the new mount.
    let old = fs::File::open(parent)?;
    let entries: Vec<_> = fs::read_dir(parent)?.collect::<Result<_, _>>()?;
    tmpfs(parent, "mode=755")?;
    for entry in entries {
        let source = format!(
            "/proc/thread-self/fd/{}/{}",
            old.as_raw_fd(),
            entry.file_name().to_string_lossy()
        );
        let target = parent.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source)?, &target)?;
            continue;
        }
        if kind.is_dir() {
            fs::create_dir(&target)?;
        } else {
            fs::File::create(&target)?;
        }
        mount(
            Some(source.as_str()),
            &target,
            none(),
            MsFlags::MS_BIND | MsFlags::MS_REC,
            none(),
        )?;
    }
    fs::create_dir_all(path)
}

/// Makes the mount at `path` read-only.
pub(crate) fn read_only(path: &Path) -> io::Result<()> {
    // Bound onto itself first, so that a plain directory can be made read-only as well.
    mount(
        Some(path),
        path,
        none(),
        MsFlags::MS_BIND | MsFlags::MS_REC,
        none(),
    )?;
    mount(
        none(),
        path,
        none(),
        MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY,
        none(),
    )
    .map_err(io::Error::from)
}
