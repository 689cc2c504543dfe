//! Kernel parameters under `/proc/sys`.
//!
//! What is found under `/proc/sys/net` depends on the network namespace of the
//! calling thread.

use std::fs;
use std::io;
use std::path::PathBuf;

/// The file of a parameter. `key` uses slashes, since an interface name in it
/// may contain dots: `net/ipv6/conf/eth0.100/accept_ra`.
fn file(key: &str) -> PathBuf {
    PathBuf::from(format!("/proc/sys/{key}"))
}

/// The value of `key`, without its final newline.
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

/// Makes `key` have `value`. It is written only when it differs: a read-only
/// `/proc/sys` that already says the right thing is no error.
///
/// # Errors
/// When the value differs and cannot be written.
pub fn ensure(key: &str, value: &str) -> io::Result<()> {
    if get(key).is_ok_and(|current| current == value) {
        return Ok(());
    }
    fs::write(file(key), value)
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
        })
        .join()
        .unwrap();
    }
}
