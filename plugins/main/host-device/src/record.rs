//! What the device was on the host, kept for its way back.
//!
//! The name is in the link's alias as well, where every release has had it; the rest
//! cannot be told from the device. So a record that is missing, because another
//! implementation moved the device or the state was lost, costs no more than the
//! device's state of up or down.

use anyhow::anyhow;
use cni_core::{errno, json};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::path::PathBuf;

/// Where the records are. The kernel's state does not outlive a reboot, and neither
/// do they.
const DIRECTORY: &str = "/run/cni/host-device";

/// Between the parts of a record's file name. None of them can have it in itself.
const SEPARATOR: char = ':';

/// Whose record it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// The network's name.
    pub(crate) network: String,
    /// The container's ID.
    pub(crate) container_id: String,
    /// The device's name in the container.
    pub(crate) if_name: String,
}

/// A device on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Record {
    /// Its name on the host.
    pub(crate) name: String,
    /// It was up.
    pub(crate) up: bool,
    /// The alias it had.
    pub(crate) alias: String,
    /// Its hardware address as text; empty when it has none.
    pub(crate) mac: String,
    /// The path of the container's namespace.
    pub(crate) netns: PathBuf,
}

impl Key {
    /// The records of a network. Whatever else is in the directory is left alone.
    pub(crate) fn all_of(network: &str) -> Vec<Key> {
        let files = fs::read_dir(DIRECTORY).into_iter().flatten().flatten();
        files
            .filter_map(|file| {
                let name = file.file_name().into_string().ok()?;
                let mut parts = name.split(SEPARATOR);
                let key = Key {
                    network: parts.next()?.to_owned(),
                    container_id: parts.next()?.to_owned(),
                    if_name: parts.next()?.to_owned(),
                };
                (parts.next().is_none() && key.network == network).then_some(key)
            })
            .collect()
    }

    fn path(&self) -> PathBuf {
        let Key {
            network,
            container_id,
            if_name,
        } = self;
        PathBuf::from(DIRECTORY).join(format!(
            "{network}{SEPARATOR}{container_id}{SEPARATOR}{if_name}"
        ))
    }
}

impl Record {
    /// The record of an attachment; `None` when there is none that can be read.
    pub(crate) fn read(key: &Key) -> Option<Record> {
        let text = fs::read(key.path()).ok()?;
        let record: Record = json::decode(&json::parse(&text).ok()?).ok()?;
        (!record.name.is_empty()).then_some(record)
    }

    /// Writes it, wholly or not at all.
    pub(crate) fn write(&self, key: &Key) -> io::Result<()> {
        let value: Value = json!({
            "name": self.name,
            "up": self.up,
            "alias": self.alias,
            "mac": self.mac,
            "netns": self.netns.to_string_lossy(),
        });
        fs::create_dir_all(DIRECTORY)?;
        // No name of a record begins with a dot.
        let passing = PathBuf::from(DIRECTORY).join(format!(".{}", std::process::id()));
        fs::write(&passing, json::to_string(&value))?;
        fs::rename(&passing, key.path()).inspect_err(|_| {
            let _ = fs::remove_file(&passing);
        })
    }

    /// Removes the record of an attachment; one that is gone is done.
    pub(crate) fn remove(key: &Key) -> anyhow::Result<()> {
        let gone = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
        match fs::remove_file(key.path()) {
            Err(e) if !gone.contains(&e.kind()) => Err(anyhow!("{}", errno::of(&e))
                .context(format!("cannot remove {}", key.path().display()))),
            _ => Ok(()),
        }
    }
}
