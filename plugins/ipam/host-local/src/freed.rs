//! Addresses that were freed lately, for the cool-down before they are used again.
//!
//! The file `.freed` has one line for each, `<address> <boot> <milliseconds>`: a hash of the
//! boot ID, and the time since that boot (`CLOCK_BOOTTIME`), which neither jumps nor stands
//! still while the machine is suspended. A line of another boot has no effect.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::time::{ClockId, clock_gettime};

use crate::reservation::file_error;
use crate::text_file;

/// Name of the file in the network's directory.
const NAME: &str = ".freed";

/// Most bytes that are read. Lines that no longer matter are removed long before.
const MAX_SIZE: u64 = 16 << 20;

/// Size in bytes from which lines that no longer matter are removed.
const CLEAN_FROM: usize = 4096;

/// Records that an address was freed now.
///
/// # Errors
/// When the line cannot be written.
pub(crate) fn record(directory: &Path, ip: IpAddr, boot: u64) -> anyhow::Result<()> {
    let path = directory.join(NAME);
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(flags.bits())
        .open(&path);
    let mut file = file.map_err(|error| file_error("open", &path, &error))?;
    let line = format!("{ip} {boot:x} {}\n", uptime()?.as_millis());
    file.write_all(line.as_bytes())
        .map_err(|error| file_error("write", &path, &error))
}

/// Returns the addresses that were freed less than `cool_down` ago, with the time that is
/// left. A command that may write removes the lines of others.
///
/// # Errors
/// When there is no clock, or the file cannot be read.
pub(crate) fn cooling(
    directory: &Path,
    cool_down: Duration,
    boot: u64,
    writable: bool,
) -> anyhow::Result<BTreeMap<IpAddr, Duration>> {
    let path = directory.join(NAME);
    let text = match text_file::read(&path, MAX_SIZE) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(file_error("read", &path, &error)),
    };
    let now = uptime()?;
    let mut cooling = BTreeMap::new();
    let mut kept = String::new();
    for line in text.lines() {
        let Some((ip, freed)) = parse(line, boot) else {
            continue;
        };
        // A time in the future is damage, which must not withhold an address for ever.
        let elapsed = now.checked_sub(freed);
        if let Some(left) = elapsed.and_then(|elapsed| cool_down.checked_sub(elapsed)) {
            cooling.insert(ip, left);
            kept.push_str(line);
            kept.push('\n');
        }
    }
    if writable && text.len() >= CLEAN_FROM && kept.len() < text.len() / 2 {
        // A failure does no harm: the lines have no effect.
        let _ = match kept.is_empty() {
            true => fs::remove_file(&path).map_err(Into::into),
            false => text_file::replace(directory, &path, &kept),
        };
    }
    Ok(cooling)
}

/// Returns address and time of a line of this boot.
fn parse(line: &str, boot: u64) -> Option<(IpAddr, Duration)> {
    let mut fields = line.split(' ');
    let ip = fields.next()?.parse().ok()?;
    let of_boot = u64::from_str_radix(fields.next()?, 16).ok()?;
    let freed = Duration::from_millis(fields.next()?.parse().ok()?);
    (of_boot == boot).then_some((ip, freed))
}

/// Returns the time since the boot.
fn uptime() -> anyhow::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_BOOTTIME)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn addresses(directory: &Path, cool_down: Duration, boot: u64) -> Vec<String> {
        let cooling = cooling(directory, cool_down, boot, true).unwrap();
        cooling.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn only_addresses_freed_lately_cool_down() {
        let dir = tempfile::tempdir().unwrap();
        assert!(addresses(dir.path(), HOUR, 1).is_empty());
        for ip in ["10.0.0.2", "2001:db8::1", "10.0.0.2"] {
            record(dir.path(), ip.parse().unwrap(), 1).unwrap();
        }
        assert_eq!(addresses(dir.path(), HOUR, 1), ["10.0.0.2", "2001:db8::1"]);
        assert!(addresses(dir.path(), HOUR, 2).is_empty(), "another boot");
        let left = cooling(dir.path(), HOUR, 1, false).unwrap();
        assert!(left.values().all(|left| *left <= HOUR));
    }

    #[test]
    fn damaged_lines_have_no_effect() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let future = "10.0.0.2 1 99999999999999999";
        for text in [
            &b"\0\0\0"[..],
            b"\xff\n10.0.0.2 1",
            b"10.0.0.2 1 x",
            b"10.0.0.2",
        ] {
            fs::write(&path, text).unwrap();
            assert!(addresses(dir.path(), HOUR, 1).is_empty());
        }
        fs::write(&path, future).unwrap();
        assert!(addresses(dir.path(), HOUR, 1).is_empty());
        // A damaged line does not hide those after it.
        fs::write(&path, "garbage\n").unwrap();
        record(dir.path(), "10.0.0.3".parse().unwrap(), 1).unwrap();
        assert_eq!(addresses(dir.path(), HOUR, 1), ["10.0.0.3"]);
    }

    #[test]
    fn lines_that_no_longer_matter_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        fs::write(&path, "10.0.0.2 2 1\n".repeat(1000)).unwrap();
        record(dir.path(), "10.0.0.3".parse().unwrap(), 1).unwrap();
        assert_eq!(addresses(dir.path(), HOUR, 1), ["10.0.0.3"]);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
        fs::write(&path, "10.0.0.2 2 1\n".repeat(1000)).unwrap();
        assert!(addresses(dir.path(), HOUR, 1).is_empty());
        assert!(!path.exists());
    }
}
