//! Who has the rules of an address, kept beside the rules.
//!
//! Rules in upstream's form do not say whose they are: they name an address and
//! nothing else. So each address that iptables or firewalld lets through has a file
//! that tells, by which GC and a DEL without prevResult find the rules, and by which
//! a late DEL leaves those alone that the address's next container has.
//!
//! A missing record costs no more than that: upstream keeps none.

use crate::attachment::Owner;
use cni_core::{errno, json};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Where the records are. The kernel's rules do not outlive a reboot, and neither do
/// they.
const DIRECTORY: &str = "/run/cni/firewall";

/// How long another attachment of the address may be at work; longer than the lock
/// of iptables is waited for.
const PATIENCE: Duration = Duration::from_secs(90);

const PAUSE: Duration = Duration::from_millis(2);

/// What is known of an address's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Whose they are.
    pub(crate) owner: Owner,
    /// The zone of firewalld that the address is in; `None` with iptables.
    pub(crate) zone: Option<String>,
    /// The bridge of its policy, and the policy's name.
    pub(crate) bridge: Option<(String, String)>,
}

/// A record as it is written; all of it text.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    network: String,
    container_id: String,
    if_name: String,
    zone: String,
    bridge: String,
    policy: String,
}

impl Record {
    fn parse(text: &[u8]) -> Option<Record> {
        // One line; what is behind it was left by a longer one.
        let line = text.split(|byte| *byte == b'\n').next()?;
        let raw: Raw = json::decode(&json::parse(line).ok()?).ok()?;
        let bridge = (!raw.bridge.is_empty()).then_some((raw.bridge, raw.policy));
        (!raw.network.is_empty()).then_some(Record {
            owner: Owner {
                network: raw.network,
                container_id: raw.container_id,
                if_name: raw.if_name,
            },
            zone: (!raw.zone.is_empty()).then_some(raw.zone),
            bridge,
        })
    }

    fn line(&self) -> String {
        let mut value: Value = json!({
            "network": self.owner.network,
            "container_id": self.owner.container_id,
            "if_name": self.owner.if_name,
        });
        if let Some(zone) = &self.zone {
            value["zone"] = zone.as_str().into();
        }
        if let Some((bridge, policy)) = &self.bridge {
            value["bridge"] = bridge.as_str().into();
            value["policy"] = policy.as_str().into();
        }
        json::to_string(&value) + "\n"
    }

    /// The record of an address; `None` when there is none that can be read.
    pub(crate) fn read(address: IpAddr) -> Option<Record> {
        Record::parse(&fs::read(path(address)).ok()?)
    }

    /// Every record there is. Whatever else is in the directory is left alone.
    pub(crate) fn all() -> Vec<(IpAddr, Record)> {
        let files = fs::read_dir(DIRECTORY).into_iter().flatten().flatten();
        let mut all: Vec<(IpAddr, Record)> = files
            .filter_map(|file| {
                let address: IpAddr = file.file_name().to_str()?.parse().ok()?;
                Some((address, Record::read(address)?))
            })
            .collect();
        all.sort_unstable_by_key(|(address, _)| *address);
        all
    }
}

fn path(address: IpAddr) -> PathBuf {
    Path::new(DIRECTORY).join(address.to_string())
}

/// The sole right to change the rules of an address, until it is dropped.
pub(crate) struct Claim {
    /// The address.
    pub(crate) address: IpAddr,
    /// What its record said when the claim was made.
    pub(crate) before: Option<Record>,
    /// Open and locked; `None` where none can be kept.
    file: Option<File>,
}

impl Claim {
    /// Waits until nobody else changes the address's rules. Several addresses must be
    /// claimed in their order. Where no records can be kept (a file system that is
    /// read-only), it is noted on standard error, and nothing is locked.
    ///
    /// # Errors
    /// When another process has had the address for too long.
    pub(crate) fn make(address: IpAddr) -> anyhow::Result<Claim> {
        match lock(&path(address)) {
            Ok((file, text)) => Ok(Claim {
                address,
                before: Record::parse(&text),
                file: Some(file),
            }),
            Err(error) if error.kind() == ErrorKind::TimedOut => Err(anyhow::anyhow!(
                "the rules of {address} are being changed by another process, \
                 gave up after {} s; who holds {} open?",
                PATIENCE.as_secs(),
                path(address).display()
            )),
            Err(error) => {
                note(&format!(
                    "no record of {address}, going on without: {}: {}",
                    path(address).display(),
                    errno::of(&error)
                ));
                Ok(Claim {
                    address,
                    before: None,
                    file: None,
                })
            }
        }
    }

    /// The same for an address that has a record already; `None` for one without.
    ///
    /// # Errors
    /// As [`Claim::make`].
    pub(crate) fn of_existing(address: IpAddr) -> anyhow::Result<Option<Claim>> {
        if !path(address).exists() {
            return Ok(None);
        }
        let claim = Claim::make(address)?;
        if claim.before.is_none() {
            claim.remove();
            return Ok(None);
        }
        Ok(Some(claim))
    }

    /// Writes the record, before the rules are made.
    pub(crate) fn write(&self, record: &Record) {
        let Some(file) = &self.file else {
            return;
        };
        let line = record.line();
        // The line as a whole comes in place of the one before; its rest is no
        // record, nor part of one.
        let written = file
            .write_all_at(line.as_bytes(), 0)
            .and_then(|()| file.set_len(line.len() as u64));
        if let Err(error) = written {
            note(&format!(
                "cannot write {}: {}",
                path(self.address).display(),
                errno::of(&error)
            ));
        }
    }

    /// Puts back what the record said before.
    pub(crate) fn restore(self) {
        match &self.before {
            Some(record) => self.write(record),
            None => self.remove(),
        }
    }

    /// Removes the record, after the rules are gone.
    pub(crate) fn remove(self) {
        if self.file.is_some()
            && let Err(error) = fs::remove_file(path(self.address))
            && error.kind() != ErrorKind::NotFound
        {
            note(&format!(
                "cannot remove {}: {}",
                path(self.address).display(),
                errno::of(&error)
            ));
        }
    }
}

/// Opens, or creates, and locks a record, and reads it.
fn lock(path: &Path) -> io::Result<(File, Vec<u8>)> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut file = open(path)?;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if Instant::now() > deadline => {
                    return Err(ErrorKind::TimedOut.into());
                }
                Err(TryLockError::WouldBlock) => sleep(PAUSE),
            }
        }
        // Whoever had it may have removed it; then this is nobody's file.
        if file.metadata()?.nlink() > 0 {
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            return Ok((file, text));
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let open = || {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
    };
    match open() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(DIRECTORY)?;
            open()
        }
        opened => opened,
    }
}

/// Tells an operator of something that does not keep the plugin from its work.
pub(crate) fn note(text: &str) {
    // Nothing better can be done when standard error is closed.
    let _ = writeln!(io::stderr(), "firewall: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_come_back(
            names in prop::array::uniform3("[^\0]{1,40}"),
            zone in prop::option::of(".{1,20}"),
            bridge in prop::option::of((".{1,15}", ".{0,12}")),
            rest in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let [network, container_id, if_name] = names;
            let record = Record { owner: Owner { network, container_id, if_name }, zone, bridge };
            let mut text = record.line().into_bytes();
            text.extend(rest);
            prop_assert_eq!(Record::parse(&text), Some(record));
        }

        #[test]
        fn anything_is_read(text in prop::collection::vec(any::<u8>(), 0..200)) {
            Record::parse(&text);
        }
    }
}
