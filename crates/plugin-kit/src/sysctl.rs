//! Kernel parameters under `/proc/sys`.
//!
//! What is found under `/proc/sys/net` depends on the network namespace of the
//! calling thread.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Returns the file of a parameter. `key` uses slashes, since an interface name in it
/// may contain dots: `net/ipv6/conf/eth0.100/accept_ra`.
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

/// Sets `key` to `value`. It is written only if it differs: a read-only `/proc/sys` that
/// has the right value is no error.
///
/// # Errors
/// When the value differs and cannot be written.
pub fn ensure(key: &str, value: &str) -> io::Result<()> {
    let path = file(key);
    match OpenOptions::new().read(true).write(true).open(&path) {
        // One look-up for both: it is what takes the time.
        Ok(open) if says(&open, value) => Ok(()),
        Ok(open) => open.write_all_at(value.as_bytes(), 0),
        // Read-only, or, as those are that only trigger something, write-only.
        Err(_) => match File::open(&path) {
            Ok(open) if says(&open, value) => Ok(()),
            _ => fs::write(&path, value),
        },
    }
}

/// Returns whether the parameter has `value`.
fn says(mut open: &File, value: &str) -> bool {
    // One byte for the newline, and one to see that there is no more.
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
            // Longer than the present value, and the other way round.
            let range = "net/ipv4/ip_local_port_range";
            ensure(range, "1024\t2048").unwrap();
            ensure(range, "1024\t20480").unwrap();
            assert_eq!(get(range).unwrap(), "1024\t20480");
            ensure(range, "1024\t2048").unwrap();
            assert_eq!(get(range).unwrap(), "1024\t2048");
            // Can be written only.
            assert!(get("net/ipv4/route/flush").is_err());
            ensure("net/ipv4/route/flush", "1").unwrap();
        })
        .join()
        .unwrap();
    }
}
