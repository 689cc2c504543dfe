//! Files with the address reserved last in each range set, `last_reserved_ip.<index>`, from
//! which round robin continues.

use std::fs::OpenOptions;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use cni_core::cidr::parse_ip;
use cni_core::errno;

use crate::reservation::file_error;
use crate::text_file;

/// Most bytes that are read; the text of an address is shorter.
const TEXT_MAX: u64 = 64;

fn path(directory: &Path, index: usize) -> PathBuf {
    directory.join(format!("last_reserved_ip.{index}"))
}

/// Returns the address reserved last for the range set at `index`; `None` if there is
/// none. A file that cannot be read is logged on standard error and counts as none.
pub(crate) fn read(directory: &Path, index: usize) -> Option<IpAddr> {
    let path = path(directory, index);
    match text_file::read(&path, TEXT_MAX) {
        Ok(text) => parse_ip(&text).ok(),
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

/// Records the address reserved last for the range set at `index`.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(directory: &Path, index: usize, ip: IpAddr) -> anyhow::Result<()> {
    let path = path(directory, index);
    let text = ip.to_string();
    // Overwriting a text that is not longer with a single write leaves either the old or
    // the new text, and avoids the flush that file systems do for a file that is
    // truncated or renamed over another.
    if let Ok(file) = text_file::existing(OpenOptions::new().write(true), &path)
        && file
            .metadata()
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() <= text.len() as u64)
    {
        return file
            .write_all_at(text.as_bytes(), 0)
            .map_err(|error| file_error("write", &path, &error));
    }
    text_file::replace(directory, &path, &text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_set_has_its_own_last_address() {
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
    fn malformed_content_is_ignored() {
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
