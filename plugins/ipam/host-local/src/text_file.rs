//! Small text files in a network's directory, read and replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::OFlag;

use crate::reservation::file_error;

/// Temporary file, which is renamed over the old one. One is enough: it is written under
/// the lock.
const TEMP_FILE: &str = ".last_reserved_ip";

/// Opens an existing file. A symbolic link of another user must not be followed, and a
/// pipe must not block.
pub(crate) fn existing(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    options.custom_flags(flags.bits()).open(path)
}

/// Returns the content of a file, at most `max` bytes. Bytes that are not UTF-8 are
/// replaced.
///
/// # Errors
/// When it does not exist or cannot be read.
pub(crate) fn read(path: &Path, max: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    let file = existing(OpenOptions::new().read(true), path)?;
    file.take(max).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Replaces a file in `directory`: a reader sees either the old or the new content.
///
/// # Errors
/// When it cannot be written; the old content stays.
pub(crate) fn replace(directory: &Path, path: &Path, text: &str) -> anyhow::Result<()> {
    let temp = directory.join(TEMP_FILE);
    let replaced = write_and_rename(&temp, path, text);
    if replaced.is_err() {
        // Report the first error, not that of the cleanup.
        let _ = fs::remove_file(&temp);
    }
    replaced
}

fn write_and_rename(temp: &Path, path: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut opened = options.open(temp);
    if opened
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists)
    {
        // Left by a killed process, or created by another user.
        fs::remove_file(temp).map_err(|error| file_error("remove", temp, &error))?;
        opened = options.open(temp);
    }
    let mut file = opened.map_err(|error| file_error("open", temp, &error))?;
    file.write_all(text.as_bytes())
        .map_err(|error| file_error("write", temp, &error))?;
    fs::rename(temp, path).map_err(|error| file_error("rename", path, &error))
}
