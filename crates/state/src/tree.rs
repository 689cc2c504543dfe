//! The directories below `/run/cni`.

use crate::directory::{ATTEMPTS, Directory};
use crate::error::Error;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::geteuid;
use std::path::{Component, Path};

const RUN: &str = "/run";
const ROOT: &str = "cni";

/// Modes of the directories that are ours.
const PRIVATE: Mode = Mode::S_IRWXU;

/// What others may do in `/run/cni` if somebody else has created it: upstream's dhcp
/// daemon has its socket there.
const ROOT_MAX: Mode = Mode::S_IRWXU
    .union(Mode::S_IRGRP)
    .union(Mode::S_IXGRP)
    .union(Mode::S_IROTH)
    .union(Mode::S_IXOTH);

/// Returns the topic of a path that is that of a directory in `/run/cni`.
pub(crate) fn topic(path: &Path) -> Option<&str> {
    let topic = path.strip_prefix(RUN).ok()?.strip_prefix(ROOT).ok()?;
    let mut components = topic.components();
    match (components.next()?, components.next()) {
        (Component::Normal(topic), None) => topic.to_str(),
        _ => None,
    }
}

/// Opens `/run/cni/<topic>`; `None` if there is none.
pub(crate) fn open(topic: &str) -> Result<Option<Directory>, Error> {
    let Some(run) = open_run()? else {
        return Ok(None);
    };
    let Some(root) = checked(run.open_child(ROOT)?, ROOT_MAX)? else {
        return Ok(None);
    };
    checked(root.open_child(topic)?, PRIVATE)
}

/// Opens `/run/cni/<topic>` after creating what is missing.
pub(crate) fn create(topic: &str) -> Result<Directory, Error> {
    let run = match open_run()? {
        Some(run) => run,
        None => Directory::create_path(Path::new(RUN), 0o755)?,
    };
    // The last user of a directory may remove it between two of our steps.
    for _ in 0..ATTEMPTS {
        let Some(root) = child(&run, ROOT, ROOT_MAX)? else {
            continue;
        };
        if let Some(directory) = child(&root, topic, PRIVATE)? {
            return Ok(directory);
        }
    }
    let path = Path::new(RUN).join(ROOT).join(topic);
    Err(Error::system("create", path, Errno::EBUSY))
}

/// Removes `/run/cni/<topic>` if it is empty. A process that has it open and is about to
/// create something in it gets `ENOENT`, and creates the directory again.
///
/// `/run/cni` stays: a process that is confined to it (Landlock) could not write in
/// another one of that name.
pub(crate) fn remove_empty(topic: &str) {
    if let Ok(Some(run)) = open_run()
        && let Ok(Some(root)) = run.open_child(ROOT)
    {
        root.remove_empty_child(topic);
    }
}

/// Opens `/run` to find `cni` in it. It cannot be listed by that, which a process may not
/// do that is confined to `/run/cni`.
fn open_run() -> Result<Option<Directory>, Error> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_PATH | OFlag::O_CLOEXEC;
    match nix::fcntl::open(RUN, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(Directory {
            fd,
            path: RUN.into(),
        })),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(Error::system("open", RUN, errno)),
    }
}

/// Opens or creates a directory; `None` if it, or its parent, was removed meanwhile.
fn child(parent: &Directory, name: &str, most: Mode) -> Result<Option<Directory>, Error> {
    if let Some(existing) = checked(parent.open_child(name)?, most)? {
        return Ok(Some(existing));
    }
    match parent.create_child(name, PRIVATE)? {
        true => checked(parent.open_child(name)?, most),
        false => Ok(None),
    }
}

/// Refuses a directory of another user, and takes away what its mode allows beyond
/// `most`: a process with umask 0 may have created it. The owner gets all rights: upstream's
/// tuning creates `/run/cni` with mode 0600, in which a process without `CAP_DAC_OVERRIDE` finds
/// nothing.
fn checked(directory: Option<Directory>, most: Mode) -> Result<Option<Directory>, Error> {
    let Some(directory) = directory else {
        return Ok(None);
    };
    let stat = directory.stat()?;
    let own = geteuid().as_raw();
    if stat.st_uid != own {
        let why = format!("belongs to user {}, not to {own}", stat.st_uid);
        return Err(Error::foreign(directory.path, why));
    }
    let mode = Mode::from_bits_truncate(stat.st_mode);
    let wanted = (mode & most) | PRIVATE;
    if mode != wanted {
        fchmod(&directory.fd, wanted)
            .map_err(|errno| Error::system("change the mode of", &directory.path, errno))?;
    }
    Ok(Some(directory))
}
