//! The files that remember where round robin goes on: `last_reserved_ip.<index>`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use cni_core::cidr::parse_ip;
use cni_core::errno;
use nix::fcntl::OFlag;

use crate::reservation::file_error;

/// The next content of such a file.
const SPARE: &str = ".last_reserved_ip";

/// More than the text of an address takes, in bytes.
const TEXT_MAX: u64 = 64;

/// Opens a file that is there. A link or a pipe that another user put there must neither
/// lead away nor block.
fn existing(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    options.custom_flags(flags.bits()).open(path)
}

fn path(directory: &Path, index: usize) -> PathBuf {
    directory.join(format!("last_reserved_ip.{index}"))
}

/// The address that was reserved last for the range set at `index`. `None` when there
/// is none; one that cannot be read is reported on standard error and counts as none.
pub(crate) fn read(directory: &Path, index: usize) -> Option<IpAddr> {
    let path = path(directory, index);
    let mut text = Vec::new();
    let read = existing(OpenOptions::new().read(true), &path)
        .and_then(|file| file.take(TEXT_MAX).read_to_end(&mut text));
    match read {
        Ok(_) => parse_ip(str::from_utf8(&text).ok()?).ok(),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                let cause = errno::of(&error);
                let path = path.display();
                eprintln!("Error retrieving last reserved ip: open {path}: {cause}");
            }
            None
        }
    }
}

/// Remembers the address reserved last for the range set at `index`.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(directory: &Path, index: usize, ip: IpAddr) -> anyhow::Result<()> {
    let path = path(directory, index);
    let text = ip.to_string();
    // A single write over a text that is no longer leaves the old or the new one, never
    // a torn one, and spares the file system the flush that it does for every file that
    // is truncated or renamed over another.
    if let Ok(file) = existing(OpenOptions::new().write(true), &path)
        && file
            .metadata()
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() <= text.len() as u64)
    {
        return file
            .write_all_at(text.as_bytes(), 0)
            .map_err(|error| file_error("write", &path, &error));
    }
    let spare = directory.join(SPARE);
    let replaced = replace(&spare, &path, &text);
    if replaced.is_err() {
        // The error that made it useless is the one to report.
        let _ = fs::remove_file(&spare);
    }
    replaced
}

fn replace(spare: &Path, path: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut opened = options.open(spare);
    if opened
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists)
    {
        // What a killed process left, or another user put there.
        fs::remove_file(spare).map_err(|error| file_error("remove", spare, &error))?;
        opened = options.open(spare);
    }
    let mut file = opened.map_err(|error| file_error("open", spare, &error))?;
    file.write_all(text.as_bytes())
        .map_err(|error| file_error("write", spare, &error))?;
    fs::rename(spare, path).map_err(|error| file_error("rename", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_one_of_every_set() {
        let dir = tempfile::tempdir().unwrap();
        let at = |index| read(dir.path(), index).map(|ip| ip.to_string());
        assert_eq!(at(0), None);
        for text in [
            "10.0.0.9",
            "10.0.0.10",
            "10.0.0.8",
            "2001:db8::1",
            "10.0.0.255",
        ] {
            write(dir.path(), 0, text.parse().unwrap()).unwrap();
            assert_eq!(at(0).as_deref(), Some(text));
            assert_eq!(fs::read(path(dir.path(), 0)).unwrap(), text.as_bytes());
        }
        write(dir.path(), 1, "10.1.0.1".parse().unwrap()).unwrap();
        assert_eq!(at(0).as_deref(), Some("10.0.0.255"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn ignores_what_is_no_address() {
        let dir = tempfile::tempdir().unwrap();
        for text in [&b"10.0.0.1\n"[..], b"", b"10.0.0", b"\xff", b"10.0.0.1 "] {
            fs::write(path(dir.path(), 0), text).unwrap();
            assert_eq!(read(dir.path(), 0), None);
        }
        fs::remove_file(path(dir.path(), 0)).unwrap();
        fs::create_dir(path(dir.path(), 0)).unwrap();
        assert_eq!(read(dir.path(), 0), None);
        let error = write(dir.path(), 0, "10.0.0.1".parse().unwrap())
            .unwrap_err()
            .to_string();
        assert!(
            error.ends_with("last_reserved_ip.0: is a directory"),
            "{error}"
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
