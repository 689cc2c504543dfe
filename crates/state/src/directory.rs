//! A directory by its descriptor, and the files in it.

use crate::error::Error;
use crate::{tree, warn};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat};
use nix::unistd::{AccessFlags, UnlinkatFlags, faccessat, geteuid, linkat, unlinkat};
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Longest file that is read, in bytes.
const READ_MAX: u64 = 8 << 20;

/// How often a step is tried again after another process removed the directory, or
/// the temporary file, under it.
pub(crate) const ATTEMPTS: u32 = 100;

/// What the names of temporary files begin with; no record has such a name.
pub(crate) const TEMPORARY: char = '.';

/// An open directory.
#[derive(Debug)]
pub struct Directory {
    pub(crate) fd: OwnedFd,
    pub(crate) path: PathBuf,
}

impl Directory {
    /// Opens a directory that the configuration names; `None` if there is none. Links
    /// on the way are followed, as the path is the administrator's, but not to a
    /// directory of `/run/cni`, which must be as ours are.
    ///
    /// # Errors
    /// When it cannot be opened, and for one of `/run/cni` that is not ours.
    pub fn open(path: &Path) -> Result<Option<Directory>, Error> {
        match tree::topic(path) {
            Some(topic) => tree::open(topic),
            None => Directory::open_path(path),
        }
    }

    pub(crate) fn open_path(path: &Path) -> Result<Option<Directory>, Error> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let directory = |fd| Directory {
            fd,
            path: path.to_owned(),
        };
        match open(path, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(directory(fd))),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(errno) => Err(Error::system("open", path, errno)),
        }
    }

    /// Opens a directory that the configuration names, after creating it and its
    /// missing parents with mode 0700.
    ///
    /// # Errors
    /// When it cannot be created or opened.
    pub fn create(path: &Path) -> Result<Directory, Error> {
        match tree::topic(path) {
            Some(topic) => tree::create(topic),
            None => Directory::create_path(path, 0o700),
        }
    }

    pub(crate) fn create_path(path: &Path, mode: u32) -> Result<Directory, Error> {
        if let Some(existing) = Directory::open_path(path)? {
            return Ok(existing);
        }
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(mode);
        builder
            .create(path)
            .map_err(|e| Error::system("create", path, errno_of(&e)))?;
        Directory::open_path(path)?.ok_or_else(|| Error::system("open", path, Errno::ENOENT))
    }

    /// Writes a file as [`Directory::write`] does, in the directory that `create`
    /// returns. Another process may remove that with its last file in between.
    pub(crate) fn write_in(
        create: impl Fn() -> Result<Directory, Error>,
        name: &str,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let mut attempt = 0;
        loop {
            let written = create()?.write(name, bytes);
            attempt += 1;
            match written {
                Err(error) if error.is_missing() && attempt < ATTEMPTS => {}
                written => return written,
            }
        }
    }

    /// Writes a file as [`Directory::write`] does, in the directory at `path`, which is
    /// created if missing.
    ///
    /// # Errors
    /// As [`Directory::create`] and [`Directory::write`].
    pub fn write_at(path: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
        Directory::write_in(|| Directory::create(path), name, bytes)
    }

    /// Removes the directory at `path` if it is one of `/run/cni` and empty.
    pub fn remove_empty(path: &Path) {
        if let Some(topic) = tree::topic(path) {
            tree::remove_empty(topic);
        }
    }

    /// Opens a directory in this one; `None` if there is none. A link is not followed.
    pub(crate) fn open_child(&self, name: &str) -> Result<Option<Directory>, Error> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let path = self.path.join(name);
        match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Directory { fd, path })),
            Err(Errno::ENOENT) => Ok(None),
            Err(Errno::ENOTDIR | Errno::ELOOP) => Err(Error::foreign(
                path,
                "is not a directory, or is a symbolic link",
            )),
            Err(errno) => Err(Error::system("open", path, errno)),
        }
    }

    /// Creates a directory in this one; one that exists is fine. `false` if this one
    /// has been removed.
    pub(crate) fn create_child(&self, name: &str, mode: Mode) -> Result<bool, Error> {
        match mkdirat(&self.fd, name, mode) {
            Ok(()) | Err(Errno::EEXIST) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(Error::system("create", self.path.join(name), errno)),
        }
    }

    pub(crate) fn stat(&self) -> Result<FileStat, Error> {
        fstat(&self.fd).map_err(|errno| Error::system("stat", &self.path, errno))
    }

    /// Returns the content of a file, `None` if it is missing. One that is a link, a
    /// pipe, another user's, or longer than 8 MiB counts as missing, with a warning.
    ///
    /// # Errors
    /// When it cannot be opened or read.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path.join(name);
        // A pipe must not block the opening.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let mut file = match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP | Errno::ENXIO) => {
                warn(&format!("ignoring {}: not a regular file", path.display()));
                return Ok(None);
            }
            Err(errno) => return Err(Error::system("open", path, errno)),
        };
        let stat = fstat(&file).map_err(|errno| Error::system("stat", &path, errno))?;
        if let Some(why) = refusal(&stat) {
            warn(&format!("ignoring {}: {why}", path.display()));
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(stat.st_size).unwrap_or_default() + 1);
        let read = (&mut file).take(READ_MAX).read_to_end(&mut bytes);
        read.map_err(|e| Error::system("read", &path, errno_of(&e)))?;
        Ok(Some(bytes))
    }

    /// Writes a file of mode 0600, wholly or not at all, in the place of whatever is
    /// there. Two processes must not write one file at the same time, as the verbs of
    /// one attachment never do.
    ///
    /// # Errors
    /// When it cannot be created, written, or renamed.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.replace(name, bytes, false)
    }

    /// Writes a file as [`Directory::write`] does; it outlives a loss of power.
    ///
    /// # Errors
    /// As [`Directory::write`], and when it cannot be synced.
    pub fn write_synced(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.replace(name, bytes, true)
    }

    fn replace(&self, name: &str, bytes: &[u8], sync: bool) -> Result<(), Error> {
        let Some(mut file) = self.create_unnamed(name)? else {
            let file = self.create_temporary(name)?;
            return self.fill_and_rename(file, &temporary(name), name, bytes, sync);
        };
        let written = file
            .write_all(bytes)
            .and_then(|()| if sync { file.sync_all() } else { Ok(()) })
            .and_then(|()| self.publish(&file, name).map_err(io::Error::from));
        written.map_err(|e| {
            let _ = self.unlink(&temporary(name));
            Error::system("write", self.path.join(name), errno_of(&e))
        })
    }

    /// Writes the temporary file `temporary`, and renames it to `name`.
    pub(crate) fn fill_and_rename(
        &self,
        mut file: File,
        temporary: &str,
        name: &str,
        bytes: &[u8],
        sync: bool,
    ) -> Result<(), Error> {
        let written = file
            .write_all(bytes)
            .and_then(|()| if sync { file.sync_all() } else { Ok(()) })
            .and_then(|()| renameat(&self.fd, temporary, &self.fd, name).map_err(io::Error::from));
        written.map_err(|e| {
            let _ = self.unlink(temporary);
            Error::system("write", self.path.join(name), errno_of(&e))
        })
    }

    /// Creates a file that has no name until it is complete: a killed writer of `name`
    /// leaves nothing. `None` where the file system has no such files, or nothing can give
    /// them a name.
    fn create_unnamed(&self, name: &str) -> Result<Option<File>, Error> {
        let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let private = Mode::S_IRUSR | Mode::S_IWUSR;
        match openat(&self.fd, ".", flags, private) {
            Ok(fd) if is_visible(&fd) => Ok(Some(File::from(fd))),
            Ok(_) | Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL) => Ok(None),
            Err(errno) => Err(Error::system("write", self.path.join(name), errno)),
        }
    }

    /// Gives a file without a name the name `name`, in the place of whatever has it.
    fn publish(&self, file: &File, name: &str) -> Result<(), Errno> {
        let link = |name: &str| {
            let flags = AtFlags::AT_SYMLINK_FOLLOW;
            linkat(AT_FDCWD, own_path(file).as_str(), &self.fd, name, flags)
        };
        match link(name) {
            Err(Errno::EEXIST) => {}
            linked => return linked,
        }
        // Only rename(2) replaces a file.
        let temporary = temporary(name);
        match link(&temporary) {
            // That of a killed writer.
            Err(Errno::EEXIST) => {
                let _ = self.unlink(&temporary);
                link(&temporary)?;
            }
            linked => linked?,
        }
        renameat(&self.fd, temporary.as_str(), &self.fd, name)
    }

    /// Creates the temporary file of `name`, in the place of one that a killed writer
    /// or another user left.
    fn create_temporary(&self, name: &str) -> Result<File, Error> {
        let temporary = temporary(name);
        let failed = |errno| Error::system("write", self.path.join(name), errno);
        for _ in 0..ATTEMPTS {
            match self.create_exclusive(&temporary) {
                Ok(file) => return Ok(file),
                Err(Errno::EEXIST) => self.unlink(&temporary)?,
                Err(errno) => return Err(failed(errno)),
            }
        }
        Err(failed(Errno::EEXIST))
    }

    /// Creates a file of mode 0600 that must not exist.
    pub(crate) fn create_exclusive(&self, name: &str) -> Result<File, Errno> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let private = Mode::S_IRUSR | Mode::S_IWUSR;
        openat(&self.fd, name, flags, private).map(File::from)
    }

    /// Removes a file, and what a killed writer of it left; one that is missing is fine.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.unlink(&temporary(name))?;
        self.unlink(name)
    }

    pub(crate) fn unlink(&self, name: &str) -> Result<(), Error> {
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(Error::system("remove", self.path.join(name), errno)),
        }
    }

    /// Removes a directory in this one if it is empty.
    pub(crate) fn remove_empty_child(&self, name: &str) {
        // ENOTEMPTY is the usual case.
        let _ = unlinkat(&self.fd, name, UnlinkatFlags::RemoveDir);
    }

    /// Returns the names of the files, in no order. Temporary files are left out, and
    /// so are names that are not UTF-8.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let mut names = self.all_names()?;
        names.retain(|name| !name.starts_with(TEMPORARY));
        Ok(names)
    }

    /// Returns the same with temporary files.
    pub(crate) fn all_names(&self) -> Result<Vec<String>, Error> {
        let failed = |errno| Error::system("list", &self.path, errno);
        // A descriptor of its own: a duplicate would share the position.
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let mut directory =
            Dir::openat(self.fd.as_fd(), ".", flags, Mode::empty()).map_err(failed)?;
        let mut names = Vec::new();
        for entry in directory.iter() {
            let entry = entry.map_err(failed)?;
            if let Ok(name) = entry.file_name().to_str()
                && ![".", ".."].contains(&name)
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }
}

/// Returns the path of an open file of this process, with or without a name.
fn own_path(file: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Returns whether an open file can be linked by its path: not without `/proc`.
fn is_visible(file: &impl AsRawFd) -> bool {
    faccessat(
        AT_FDCWD,
        own_path(file).as_str(),
        AccessFlags::F_OK,
        AtFlags::empty(),
    )
    .is_ok()
}

/// Returns the name that a file is written under before it is renamed. One for each
/// file, so that the next writer clears away what a killed one left.
fn temporary(name: &str) -> String {
    format!("{TEMPORARY}{name}")
}

/// Returns why a file is not believed, `None` for a regular file of the calling user.
pub(crate) fn refusal(stat: &FileStat) -> Option<String> {
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    if kind != SFlag::S_IFREG {
        return Some("not a regular file".to_owned());
    }
    let own = geteuid().as_raw();
    if stat.st_uid != own {
        return Some(format!("it belongs to user {}, not to {own}", stat.st_uid));
    }
    let too_long = u64::try_from(stat.st_size).is_ok_and(|size| size > READ_MAX);
    too_long.then(|| format!("longer than {READ_MAX} bytes"))
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
