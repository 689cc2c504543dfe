//! Addresses that are kept for reservation keys (strategy `sticky`).
//!
//! The file `.sticky` has one line for each address, `<address> <hash of the key>`, in the
//! order in which they were given out first. It is not a reservation: the address is kept
//! only as long as others are free.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::range::RangeSet;
use crate::reservation::file_error;
use crate::text_file;

/// Name of the file in the network's directory.
const NAME: &str = ".sticky";

/// Most addresses that are kept; those given out first are forgotten.
const MAX_ENTRIES: usize = 65_536;

/// Most bytes that are read: the longest line has 57.
const MAX_SIZE: u64 = MAX_ENTRIES as u64 * 64;

/// The addresses kept in one network, as seen by one reservation key.
#[derive(Debug)]
pub(crate) struct Sticky {
    directory: PathBuf,
    key: u64,
    entries: Vec<(IpAddr, u64)>,
    /// The addresses kept for other keys.
    of_others: BTreeSet<IpAddr>,
}

impl Sticky {
    /// Reads the addresses kept. Lines that are damaged are ignored.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn read(directory: &Path, key: u64) -> anyhow::Result<Sticky> {
        let path = directory.join(NAME);
        let text = match text_file::read(&path, MAX_SIZE) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(file_error("read", &path, &error)),
        };
        let entries: Vec<(IpAddr, u64)> = text.lines().filter_map(parse).collect();
        let of_others = entries.iter().filter(|(_, of)| *of != key);
        Ok(Sticky {
            directory: directory.to_owned(),
            key,
            of_others: of_others.map(|(ip, _)| *ip).collect(),
            entries,
        })
    }

    /// Returns the address of a set that is kept for the key.
    pub(crate) fn own(&self, set: &RangeSet) -> Option<IpAddr> {
        let own = self.entries.iter().filter(|(_, key)| *key == self.key);
        own.map(|(ip, _)| *ip).find(|ip| set.offers(*ip))
    }

    /// Returns whether an address is kept for another key.
    pub(crate) fn is_of_other(&self, ip: IpAddr) -> bool {
        self.of_others.contains(&ip)
    }

    /// Returns the addresses of a set that are kept for other keys, those given out first
    /// at the front.
    pub(crate) fn of_others(&self, set: &RangeSet) -> Vec<IpAddr> {
        let others = self.entries.iter().filter(|(_, key)| *key != self.key);
        others
            .map(|(ip, _)| *ip)
            .filter(|ip| set.offers(*ip))
            .collect()
    }

    /// Keeps an address of a set for the key, instead of the one kept so far.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn keep(&mut self, ip: IpAddr, set: &RangeSet) -> anyhow::Result<()> {
        if self.entries.contains(&(ip, self.key)) {
            return Ok(());
        }
        let own = self.key;
        self.entries
            .retain(|(other, key)| *other != ip && (*key != own || !set.contains(*other)));
        self.entries.push((ip, own));
        self.of_others.remove(&ip);
        let too_many = self.entries.len().saturating_sub(MAX_ENTRIES);
        let lines = self.entries.iter().skip(too_many);
        let text: String = lines.map(|(ip, key)| format!("{ip} {key:x}\n")).collect();
        text_file::replace(&self.directory, &self.directory.join(NAME), &text)
    }
}

fn parse(line: &str) -> Option<(IpAddr, u64)> {
    let (ip, key) = line.split_once(' ')?;
    Some((ip.parse().ok()?, u64::from_str_radix(key, 16).ok()?))
}
