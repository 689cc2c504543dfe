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

/// Takes the addresses: a file each, created exclusively, and the note of the last one.
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

/// Reads the addresses' files.
pub(crate) fn check(dir: &str, addresses: &[&str]) -> Outcome {
    let dir = Path::new(dir);
    let _lock = locked(dir)?;
    for address in addresses {
        fs::read(dir.join(address))?;
    }
    Ok(())
}

/// Gives the addresses back.
pub(crate) fn del(dir: &str, addresses: &[&str]) -> Outcome {
    let dir = Path::new(dir);
    let _lock = locked(dir)?;
    for address in addresses {
        fs::read(dir.join(address))?;
        fs::remove_file(dir.join(address))?;
    }
    Ok(())
}
