//! Kernel parameters under `/proc/sys`.
//!
//! Those under `/proc/sys/net` are of the network namespace of the calling thread.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Returns the path of a parameter. `key` has slashes, since an interface name may contain
/// dots: `net/ipv6/conf/eth0.100/accept_ra`.
fn file(key: &str) -> PathBuf {
    PathBuf::from(format!("/proc/sys/{key}"))
}

/// Returns the value of `key`, without its final newline.
///
/// # Errors
/// When the parameter does not exist or is not readable.
pub fn get(key: &str) -> io::Result<String> {
    let mut value = fs::read_to_string(file(key))?;
    if value.ends_with('\n') {
        value.pop();
    }
    Ok(value)
}

/// Sets `key` to `value`, unless it has that value already. So a read-only `/proc/sys` with
/// the right value is not an error.
///
/// # Errors
/// When the value differs and cannot be written.
pub fn ensure(key: &str, value: &str) -> io::Result<()> {
    let path = file(key);
    match OpenOptions::new().read(true).write(true).open(&path) {
        // Read and write with one open(2), whose path look-up takes most of the time.
        Ok(open) if has_value(&open, value) => Ok(()),
        Ok(open) => open.write_all_at(value.as_bytes(), 0),
        // Read-only, or write-only, as parameters that trigger an action.
        Err(_) => match File::open(&path) {
            Ok(open) if has_value(&open, value) => Ok(()),
            _ => fs::write(&path, value),
        },
    }
}

/// Checks that `key` has `value` or is writable, without writing.
///
/// # Errors
/// When the value differs and the file cannot be opened for writing.
pub(crate) fn probe(key: &str, value: &str) -> io::Result<()> {
    match get(key) {
        Ok(present) if present == value => Ok(()),
        _ => OpenOptions::new().write(true).open(file(key)).map(drop),
    }
}

/// Returns whether the parameter has `value`.
fn has_value(mut open: &File, value: &str) -> bool {
    // One more byte for the newline, and one to detect a longer value.
    let mut content = vec![0; value.len() + 2];
    match open.read(&mut content) {
        Ok(len) => {
            content[..len]
                .strip_suffix(b"\n")
                .unwrap_or(&content[..len])
                == value.as_bytes()
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn reads_and_writes_in_the_threads_namespace() {
        thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("needs root");
            let key = "net/ipv4/ip_forward";
            let before = get(key).unwrap();
            ensure(key, "1").unwrap();
            ensure(key, "1").unwrap();
            assert_eq!(get(key).unwrap(), "1");
            ensure(key, &before).unwrap();
            assert!(ensure("net/ipv4/conf/nosuchif/arp_notify", "1").is_err());
            // Longer and shorter than the current value.
            let range = "net/ipv4/ip_local_port_range";
            ensure(range, "1024\t2048").unwrap();
            ensure(range, "1024\t20480").unwrap();
            assert_eq!(get(range).unwrap(), "1024\t20480");
            ensure(range, "1024\t2048").unwrap();
            assert_eq!(get(range).unwrap(), "1024\t2048");
            // Write-only.
            assert!(get("net/ipv4/route/flush").is_err());
            ensure("net/ipv4/route/flush", "1").unwrap();
        })
        .join()
        .unwrap();
    }
}
