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

/// Prevents mounts of this namespace from propagating to the machine.
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

/// Mounts a sysfs that shows the devices of the network namespace in `/sys/class/net`.
///
/// In a user namespace the kernel refuses this if the machine hides parts of sysfs. This is not an error, because tests
/// of unprivileged users do not need it.
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

/// Makes `path` an empty directory, even if the machine does not have the directory and must not get it.
///
/// It is impossible to mount over a missing directory. In this case the nearest existing parent is replaced by a tmpfs
/// with the same entries (bind mounts), in which the directory can be created.
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
    // The old directory remains accessible through the descriptor.
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
    // A bind mount onto itself first, so that a plain directory can be made read-only as well.
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
