//! The file operations of one host-local lease.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use crate::Outcome;

fn locked(dir: &Path) -> Outcome<File> {
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("lock"))?;
    lock.lock()?;
    Ok(lock)
}

/// Reserves the addresses: one file each, created exclusively, and the file of the last reserved address.
pub(crate) fn add(dir: &str, addresses: &[&str]) -> Outcome {
    let dir = Path::new(dir);
    let _lock = locked(dir)?;
    for (number, address) in addresses.iter().enumerate() {
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .open(dir.join(address))?;
        file.write_all(b"floor\r\neth0")?;
        fs::write(dir.join(format!("last_reserved_ip.{number}")), address)?;
    }
    Ok(())
}

/// Reads the files of the addresses.
pub(crate) fn check(dir: &str, addresses: &[&str]) -> Outcome {
    let dir = Path::new(dir);
    let _lock = locked(dir)?;
    for address in addresses {
        fs::read(dir.join(address))?;
    }
    Ok(())
}

/// Releases the addresses.
pub(crate) fn del(dir: &str, addresses: &[&str]) -> Outcome {
    let dir = Path::new(dir);
    let _lock = locked(dir)?;
    for address in addresses {
        fs::read(dir.join(address))?;
        fs::remove_file(dir.join(address))?;
    }
    Ok(())
}
