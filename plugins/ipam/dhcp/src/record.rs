//! Records of attachments, from which a restarted daemon goes on, and of the deletions that
//! it missed.
//!
//! They are in `/run/cni/dhcp` and `/run/cni/dhcp-deleted`, of the host if the daemon has
//! `-hostprefix`. A record belongs to the daemon of one socket.

use crate::location::Location;
use crate::time::Time;
use cni_core::Cidr;
use cni_state::{Directory, Error, Owner, bounded};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const LEASES: &str = "/run/cni/dhcp";
const DELETED: &str = "/run/cni/dhcp-deleted";

/// The form that is written; records of another one are ignored.
const VERSION: u32 = 1;

/// The record of an attachment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    version: u32,
    network: String,
    #[serde(rename = "containerID")]
    container_id: String,
    if_name: String,
    /// The daemon's socket.
    pub(crate) socket: String,
    /// `CNI_ARGS`.
    pub(crate) args: String,
    /// The object `ipam` of the configuration.
    pub(crate) ipam: Value,
    pub(crate) place: Location,
    /// What each client wrote, by its name.
    pub(crate) clients: BTreeMap<String, Value>,
    /// What ADD returned last.
    #[serde(default)]
    pub(crate) handed_out: HandedOut,
}

/// The addresses that ADD returned, which the interface plugin is going to configure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct HandedOut {
    pub(crate) addresses: Vec<Cidr>,
    /// Until when that may take.
    pub(crate) until: Time,
}

/// The directories of the records.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    leases: PathBuf,
    deleted: PathBuf,
}

impl Records {
    /// Returns the records below `prefix`, which is empty or a directory without final
    /// slash. Nothing is opened yet.
    pub(crate) fn new(prefix: &str) -> Records {
        let below = |path: &str| PathBuf::from(format!("{prefix}{path}"));
        Records {
            leases: below(LEASES),
            deleted: below(DELETED),
        }
    }

    /// Writes the record of `owner`.
    ///
    /// # Errors
    /// When it, or its directory, cannot be created or written.
    pub(crate) fn write(&self, record: &Record) -> Result<(), Error> {
        let owner = record.owner();
        // Maps with text keys are always JSON.
        let text = serde_json::to_string(record).unwrap_or_default() + "\n";
        Directory::write_at(&self.leases, &file_name(&owner), text.as_bytes())
    }

    /// Removes the record of `owner`, and that of its deletion.
    ///
    /// # Errors
    /// When one is there and cannot be removed.
    pub(crate) fn remove(&self, owner: &Owner) -> Result<(), Error> {
        let removed = [&self.leases, &self.deleted].map(|path| {
            let outcome =
                Directory::open(path)?.map_or(Ok(()), |dir| dir.remove(&file_name(owner)));
            Directory::remove_empty(path);
            outcome
        });
        removed.into_iter().collect()
    }

    /// Returns all records of the daemon of `socket`.
    pub(crate) fn all(&self, socket: &str) -> Vec<Record> {
        read_all(&self.leases, socket)
    }

    /// Records that the attachment was deleted while the daemon could not be reached, if
    /// there is a lease to be released. Returns whether there is.
    ///
    /// # Errors
    /// When the record cannot be read or written.
    pub(crate) fn mark_deleted(&self, owner: &Owner) -> Result<bool, Error> {
        let name = file_name(owner);
        let lease = match Directory::open(&self.leases)? {
            Some(directory) => directory.read(&name)?,
            None => None,
        };
        if let Some(record) = lease {
            Directory::write_at(&self.deleted, &name, &record)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Returns the attachments of the daemon of `socket` that were deleted meanwhile.
    pub(crate) fn deleted(&self, socket: &str) -> Vec<Owner> {
        let records = read_all(&self.deleted, socket);
        records.iter().map(Record::owner).collect()
    }

    /// Returns the attachments of `network` with a record, of any daemon.
    pub(crate) fn owners(&self, network: &str) -> Vec<Owner> {
        let records = read_all(&self.leases, None);
        let records = records.iter().filter(|record| record.network == network);
        records.map(Record::owner).collect()
    }
}

impl Record {
    /// Returns a record of `owner`.
    pub(crate) fn new(
        owner: &Owner,
        (socket, args, ipam): (&str, &str, &Value),
        place: Location,
        clients: BTreeMap<String, Value>,
        handed_out: HandedOut,
    ) -> Record {
        Record {
            version: VERSION,
            network: owner.network.clone(),
            container_id: owner.container_id.clone(),
            if_name: owner.if_name.clone(),
            socket: socket.to_owned(),
            args: args.to_owned(),
            ipam: ipam.clone(),
            place,
            clients,
            handed_out,
        }
    }

    /// Returns whose record it is.
    pub(crate) fn owner(&self) -> Owner {
        Owner::new(&self.network, &self.container_id, &self.if_name)
    }
}

/// Returns the records in a directory, those of the daemon of `socket` or all. What cannot
/// be read is logged.
fn read_all<'s>(path: &Path, socket: impl Into<Option<&'s str>>) -> Vec<Record> {
    let socket = socket.into();
    let read = || {
        let Some(directory) = Directory::open(path)? else {
            return Ok(Vec::new());
        };
        let names = directory.names()?;
        let contents = names.iter().filter_map(|name| {
            directory.read(name).unwrap_or_else(|error| {
                log::warn!("going on without a record: {error}");
                None
            })
        });
        let records = contents.filter_map(|text| serde_json::from_slice::<Record>(&text).ok());
        let is_meant = |record: &Record| {
            record.version == VERSION && socket.is_none_or(|socket| record.socket == socket)
        };
        Ok(records.filter(is_meant).collect())
    };
    read().unwrap_or_else(|error: Error| {
        log::warn!("going on without records: {error}");
        Vec::new()
    })
}

/// The names in an owner are validated, and contain none of the separators.
fn file_name(owner: &Owner) -> String {
    bounded(
        &format!("{}:{}:{}", owner.network, owner.container_id, owner.if_name),
        "",
    )
}
