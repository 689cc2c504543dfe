//! Index of the reservation files by container ID.
//!
//! The files are authoritative, and other implementations change them without knowing
//! of this index. It is trusted only while the directory is unchanged since it was
//! written:
//!
//! - After the last change of a command the directory's modification time is set to a
//!   marker, two seconds back with the current nanoseconds, and recorded here. When a
//!   file is created or removed afterwards, the kernel overwrites the marker with the
//!   current time, however coarse its clock.
//! - The change time, which cannot be set, the device and the inode number of the
//!   directory are recorded too, so a directory that was restored or replaced is
//!   recognised.
//! - While the index is being changed its header is marked dirty, so a killed process
//!   leaves an index that is not trusted.
//! - Nothing is synced to disk. The header records the boot ID of the kernel that wrote
//!   it; after a power loss the index is not trusted.
//!
//! The addresses that it lists for a container are verified by reading their files. It is
//! a hash table with open addressing, so an operation takes a few small reads and writes,
//! however many addresses are reserved.
//!
//! | bytes | header field |
//! |---|---|
//! | 0..16 | magic and format version |
//! | 16..56 | boot ID, zero-padded |
//! | 56..64, 64..72 | device and inode number of the directory |
//! | 72..80, 80..88 | its modification time: seconds, nanoseconds |
//! | 88..96, 96..104 | its change time: seconds, nanoseconds |
//! | 104..112 | number of slots |
//! | 112..120, 120..128 | slots in use, slots in use or deleted |
//! | 128..136 | 1 if clean |
//! | 136..144 | FNV-1a hash of the preceding bytes |
//!
//! The slots follow, 24 bytes each: the hash of a container ID (0: never used, 1: deleted)
//! and the address, IPv4 as IPv4-mapped. Numbers are little-endian.

use std::fs::{File, FileTimes, OpenOptions};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::fcntl::OFlag;

/// Name of the index in the network's directory. The leading dot hides it from `ls` and
/// from shell patterns. Neither the name is an address nor the content a reservation, so
/// other implementations ignore it.
pub(crate) const NAME: &str = ".index";

const MAGIC: &[u8; 16] = b"cni-host-local\x00\x01";
const HEADER: usize = 144;
const SLOT: usize = 24;
const EMPTY: u64 = 0;
const DELETED: u64 = 1;
/// Slots read at once. A probe sequence is rarely longer than a few slots.
const BLOCK: u64 = 16;
const MIN_SLOTS: u64 = 128;
/// Upper limit of the number of slots, beyond the number of files of any file system.
const MAX_SLOTS: u64 = 1 << 32;

/// A reservation as recorded in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    /// The address.
    pub(crate) ip: IpAddr,
    /// [`hash`] of the container's ID.
    pub(crate) id_hash: u64,
}

/// Returns the hash of a container ID, never one of the reserved values: FNV-1a, then the
/// finalizer of MurmurHash3, so that the low bits are usable. Part of the file format.
pub(crate) fn hash(id: &str) -> u64 {
    let mut h = fnv(id.as_bytes());
    h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (h ^ (h >> 33)).max(DELETED + 1)
}

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, byte| {
        (h ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// An open index that matches its directory.
pub(crate) struct Index {
    file: File,
    directory: File,
    boot_id: [u8; 40],
    slots: u64,
    live: u64,
    used: u64,
    clean: bool,
}

/// Device, inode number and times of a directory at one moment.
#[derive(PartialEq, Eq)]
struct Stamp([u64; 6]);

impl Stamp {
    fn of(directory: &File) -> io::Result<Stamp> {
        let m = directory.metadata()?;
        // Only compared for equality, so the sign does not matter.
        let times = [m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec()].map(i64::cast_unsigned);
        Ok(Stamp([
            m.dev(),
            m.ino(),
            times[0],
            times[1],
            times[2],
            times[3],
        ]))
    }
}

/// The file with the boot ID of the running kernel.
pub(crate) const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Returns the boot ID of the running kernel.
///
/// # Errors
/// When `/proc` is not mounted; then no index is used.
pub(crate) fn boot_id() -> io::Result<[u8; 40]> {
    let file = File::open(BOOT_ID)?;
    let mut id = [0; 40];
    let len = file.read_at(&mut id, 0)?;
    if len == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(id)
}

impl Index {
    /// Opens the index of a directory. `None` if there is none, or it does not match the
    /// directory.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn open(path: &Path, writable: bool) -> io::Result<Option<Index>> {
        let mut options = OpenOptions::new();
        options.read(true).write(writable).custom_flags(flags());
        let file = match options.open(path.join(NAME)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut header = [0; HEADER];
        if file.read_exact_at(&mut header, 0).is_err() {
            return Ok(None);
        }
        let directory = File::open(path)?;
        let index = Index {
            slots: number(&header, 104),
            live: number(&header, 112),
            used: number(&header, 120),
            clean: true,
            boot_id: boot_id()?,
            file,
            directory,
        };
        let plausible = index.slots.is_power_of_two()
            && (MIN_SLOTS..=MAX_SLOTS).contains(&index.slots)
            && index.live <= index.used
            && index.used < index.slots;
        let same = plausible
            && header == index.header(&Stamp::of(&index.directory)?)
            && index.file.metadata()?.len() == HEADER as u64 + index.slots * SLOT as u64;
        Ok(same.then_some(index))
    }

    /// Writes a new index of `reservations`. It is valid after [`Index::commit`].
    ///
    /// # Errors
    /// When it cannot be written. A partial index is not valid.
    pub(crate) fn build(path: &Path, reservations: &[Reservation]) -> io::Result<Index> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(flags())
            .open(path.join(NAME))?;
        let mut index = Index {
            file,
            directory: File::open(path)?,
            boot_id: boot_id()?,
            slots: 0,
            live: 0,
            used: 0,
            clean: false,
        };
        index.fill(reservations)?;
        Ok(index)
    }

    /// Rewrites the whole table.
    fn fill(&mut self, reservations: &[Reservation]) -> io::Result<()> {
        let count = reservations.len() as u64;
        // At most half full, so that a quarter of the slots can be used before the next
        // rewrite.
        self.slots = (count * 2).next_power_of_two().clamp(MIN_SLOTS, MAX_SLOTS);
        self.live = count;
        self.used = count;
        let mut table = vec![0; self.slots as usize * SLOT];
        for reservation in reservations {
            let mut at = self.first_slot(reservation.id_hash);
            while number(&table, at as usize * SLOT) != EMPTY {
                at = (at + 1) & (self.slots - 1);
            }
            let at = at as usize * SLOT;
            table[at..at + SLOT].copy_from_slice(&slot(*reservation));
        }
        self.file.set_len(0)?;
        self.file.set_len(HEADER as u64)?;
        self.file.write_all_at(&table, HEADER as u64)
    }

    /// Returns the number of reservations listed.
    pub(crate) fn len(&self) -> u64 {
        self.live
    }

    /// Returns the addresses listed for a container, in no particular order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn find(&self, id_hash: u64) -> io::Result<Vec<IpAddr>> {
        let mut found = Vec::new();
        self.probe(id_hash, |_, key, ip| {
            if key == id_hash {
                found.push(ip);
            }
            key == EMPTY
        })?;
        Ok(found)
    }

    /// Returns all reservations listed, sorted by address.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn reservations(&self) -> io::Result<Vec<Reservation>> {
        let mut table = vec![0; self.slots as usize * SLOT];
        self.file.read_exact_at(&mut table, HEADER as u64)?;
        let mut all: Vec<Reservation> = table
            .chunks_exact(SLOT)
            .filter(|slot| number(slot, 0) > DELETED)
            .map(|slot| Reservation {
                ip: address(slot),
                id_hash: number(slot, 0),
            })
            .collect();
        all.sort_unstable_by_key(|reservation| reservation.ip);
        Ok(all)
    }

    /// Adds a reservation.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn insert(&mut self, reservation: Reservation) -> io::Result<()> {
        self.mark_dirty()?;
        if (self.used + 1) * 4 > self.slots * 3 {
            let mut all = self.reservations()?;
            all.push(reservation);
            return self.fill(&all);
        }
        let mut place = None;
        self.probe(reservation.id_hash, |at, key, _| {
            if key <= DELETED && place.is_none() {
                place = Some((at, key));
            }
            key <= DELETED
        })?;
        let Some((at, key)) = place else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        self.write_slot(at, &slot(reservation))?;
        self.live += 1;
        self.used += u64::from(key == EMPTY);
        Ok(())
    }

    /// Removes a reservation. One that is not listed is not an error.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn remove(&mut self, reservation: Reservation) -> io::Result<()> {
        self.mark_dirty()?;
        let mut place = None;
        self.probe(reservation.id_hash, |at, key, ip| {
            if key == reservation.id_hash && ip == reservation.ip {
                place = Some(at);
            }
            key == EMPTY || place.is_some()
        })?;
        if let Some(at) = place {
            let mut deleted = [0; SLOT];
            deleted[..8].copy_from_slice(&DELETED.to_le_bytes());
            self.write_slot(at, &deleted)?;
            self.live = self.live.saturating_sub(1);
        }
        Ok(())
    }

    /// Marks the index as matching the directory.
    ///
    /// # Errors
    /// When the directory's time or the header cannot be written. The index is not valid
    /// then.
    pub(crate) fn commit(&mut self) -> io::Result<()> {
        if self.clean {
            return Ok(());
        }
        let marker = SystemTime::now() - Duration::from_secs(2);
        self.directory
            .set_times(FileTimes::new().set_modified(marker))?;
        self.clean = true;
        self.write_header()
    }

    /// Marks the index as not matching the directory, before the first change.
    fn mark_dirty(&mut self) -> io::Result<()> {
        if self.clean {
            self.clean = false;
            self.write_header()?;
        }
        Ok(())
    }

    fn write_header(&self) -> io::Result<()> {
        let header = self.header(&Stamp::of(&self.directory)?);
        self.file.write_all_at(&header, 0)
    }

    fn header(&self, stamp: &Stamp) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..16].copy_from_slice(MAGIC);
        header[16..56].copy_from_slice(&self.boot_id);
        let counts = [self.slots, self.live, self.used, u64::from(self.clean)];
        for (i, value) in stamp.0.iter().chain(&counts).enumerate() {
            header[56 + 8 * i..64 + 8 * i].copy_from_slice(&value.to_le_bytes());
        }
        let sum = fnv(&header[..136]);
        header[136..].copy_from_slice(&sum.to_le_bytes());
        header
    }

    /// Returns the first slot of the probe sequence of a hash.
    fn first_slot(&self, id_hash: u64) -> u64 {
        id_hash & (self.slots - 1)
    }

    fn write_slot(&self, at: u64, slot: &[u8; SLOT]) -> io::Result<()> {
        self.file
            .write_all_at(slot, HEADER as u64 + at * SLOT as u64)
    }

    /// Visits the slots of the probe sequence of a hash, until `visit` returns `true` or
    /// all slots have been visited.
    fn probe(
        &self,
        id_hash: u64,
        mut visit: impl FnMut(u64, u64, IpAddr) -> bool,
    ) -> io::Result<()> {
        let mut at = self.first_slot(id_hash);
        let mut left = self.slots;
        let mut block = [0; BLOCK as usize * SLOT];
        while left > 0 {
            let count = BLOCK.min(self.slots - at).min(left);
            let bytes = &mut block[..count as usize * SLOT];
            self.file
                .read_exact_at(bytes, HEADER as u64 + at * SLOT as u64)?;
            for (i, slot) in bytes.chunks_exact(SLOT).enumerate() {
                if visit(at + i as u64, number(slot, 0), address(slot)) {
                    return Ok(());
                }
            }
            left -= count;
            at = (at + count) & (self.slots - 1);
        }
        Ok(())
    }
}

/// Returns the flags for opening: symbolic links are not followed, and a pipe does not
/// block.
fn flags() -> i32 {
    (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()
}

fn slot(reservation: Reservation) -> [u8; SLOT] {
    let ip = match reservation.ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut slot = [0; SLOT];
    slot[..8].copy_from_slice(&reservation.id_hash.to_le_bytes());
    slot[8..].copy_from_slice(&ip.octets());
    slot
}

/// Returns the number at an offset; 0 beyond the end.
fn number(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

fn address(slot: &[u8]) -> IpAddr {
    let octets: [u8; 16] = slot
        .get(8..)
        .and_then(|b| b.try_into().ok())
        .unwrap_or_default();
    IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
}

#[cfg(test)]
mod tests;
