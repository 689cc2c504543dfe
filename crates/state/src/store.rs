//! The records of one topic.

use crate::directory::{Directory, TEMPORARY};
use crate::error::Error;
use crate::{name, tree, warn};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

/// The form that is written. Every form names the version and the owner; of another one,
/// nothing else is read.
const VERSION: u32 = 1;

/// The attachment that a record belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The network's name.
    pub network: String,
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub if_name: String,
}

impl Owner {
    /// Returns the owner of these three names.
    #[must_use]
    pub fn new(network: &str, container_id: &str, if_name: &str) -> Owner {
        Owner {
            network: network.to_owned(),
            container_id: container_id.to_owned(),
            if_name: if_name.to_owned(),
        }
    }
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<T> {
    /// The key, if it is one that can be a file name, else its hash.
    pub key: String,
    /// The owner.
    pub owner: Owner,
    /// What it holds; `None` if it is of another form, as that of a later release.
    pub data: Option<T>,
}

/// A record as it is written.
#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    version: u32,
    network: String,
    #[serde(rename = "containerID")]
    container_id: String,
    #[serde(rename = "ifName")]
    if_name: String,
    data: T,
}

impl<T> Envelope<T> {
    fn owner(&self) -> Owner {
        Owner::new(&self.network, &self.container_id, &self.if_name)
    }
}

/// The directory `/run/cni/<topic>`, a file for each record. The first record creates
/// it, and the last one takes it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store {
    topic: &'static str,
}

impl Store {
    /// Returns the store of `topic`, which is a file name. Nothing is opened yet.
    #[must_use]
    pub const fn new(topic: &'static str) -> Store {
        Store { topic }
    }

    /// Returns the record under `key`; `None` if there is none that can be read, see the
    /// crate's documentation.
    #[must_use]
    pub fn read<T: DeserializeOwned>(&self, key: &str) -> Option<Found<T>> {
        self.read_own(&self.open()?, &name::of_key(key))
    }

    /// Writes the record under `key`, wholly or not at all.
    ///
    /// # Errors
    /// When it, or its directory, cannot be created or written.
    pub fn write<T: Serialize>(&self, key: &str, owner: &Owner, data: &T) -> Result<(), Error> {
        self.write_file(&name::of_key(key), owner, data)
    }

    /// Removes the record under `key`; one that is missing is fine.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove(&self, key: &str) -> Result<(), Error> {
        self.remove_file(&name::of_key(key))
    }

    /// Returns all records, in no order.
    #[must_use]
    pub fn all<T: DeserializeOwned>(&self) -> Vec<Found<T>> {
        self.with_prefix("")
    }

    /// Returns the owners of the records of `network`, in no order, in a store of one
    /// record for each attachment. Records of another form are among them.
    #[must_use]
    pub fn owners(&self, network: &str) -> Vec<Owner> {
        let records = self.with_prefix::<IgnoredAny>(&prefix(&[network]));
        records.into_iter().map(|found| found.owner).collect()
    }

    /// Removes the records of `network` whose owner is not among `valid`, in a store of
    /// one record for each attachment, and what killed writers of them left.
    ///
    /// # Errors
    /// The first one; the other records are removed all the same.
    pub fn collect(&self, network: &str, valid: &[Owner]) -> Result<(), Error> {
        let Some(directory) = self.open() else {
            return Ok(());
        };
        let prefix = prefix(&[network]);
        let valid: Vec<String> = valid.iter().map(file_name).collect();
        let mut outcome = Ok(());
        for name in directory.all_names()? {
            let record = name.strip_prefix(TEMPORARY).unwrap_or(&name);
            if record.starts_with(&prefix) && !valid.iter().any(|valid| valid == record) {
                outcome = outcome.and(directory.remove(&name));
            }
        }
        tree::remove_empty(self.topic);
        outcome
    }

    /// Returns whether there are records of other interfaces of the owner's container
    /// in its network.
    #[must_use]
    pub(crate) fn has_sibling(&self, owner: &Owner) -> bool {
        let own = file_name(owner);
        let prefix = prefix(&[&owner.network, &owner.container_id]);
        let names = self.open().map(|directory| self.names(&directory));
        names
            .into_iter()
            .flatten()
            .any(|name| name.starts_with(&prefix) && name != own)
    }

    pub(crate) fn read_of<T: DeserializeOwned>(&self, owner: &Owner) -> Option<T> {
        let found = self.read_own(&self.open()?, &file_name(owner))?;
        found.data.filter(|_| found.owner == *owner)
    }

    pub(crate) fn write_of<T: Serialize>(&self, owner: &Owner, data: &T) -> Result<(), Error> {
        self.write_file(&file_name(owner), owner, data)
    }

    pub(crate) fn remove_of(&self, owner: &Owner) -> Result<(), Error> {
        self.remove_file(&file_name(owner))
    }

    fn with_prefix<T: DeserializeOwned>(&self, prefix: &str) -> Vec<Found<T>> {
        let Some(directory) = self.open() else {
            return Vec::new();
        };
        let mut names = self.names(&directory);
        names.retain(|name| name.starts_with(prefix));
        let read = |name: &String| match prefix.is_empty() {
            // Any file may be here.
            true => self.read_file(&directory, name),
            false => self.read_own(&directory, name),
        };
        names.iter().filter_map(read).collect()
    }

    fn names(&self, directory: &Directory) -> Vec<String> {
        directory.names().unwrap_or_else(|error| {
            warn(&error.to_string());
            Vec::new()
        })
    }

    fn open(&self) -> Option<Directory> {
        tree::open(self.topic).unwrap_or_else(|error| {
            warn(&format!("going on without records: {error}"));
            None
        })
    }

    /// Reads a file with a name that only a record has. One that is not even JSON is removed:
    /// nothing else would do it.
    fn read_own<T: DeserializeOwned>(&self, directory: &Directory, name: &str) -> Option<Found<T>> {
        let record = self.read_file(directory, name);
        if record.is_none()
            && let Ok(Some(bytes)) = directory.read(name)
            && serde_json::from_slice::<IgnoredAny>(&bytes).is_err()
        {
            let path = directory.path.join(name);
            warn(&format!(
                "removing {}, which is not a record",
                path.display()
            ));
            let _ = directory.remove(name);
            tree::remove_empty(self.topic);
        }
        record
    }

    fn read_file<T: DeserializeOwned>(
        &self,
        directory: &Directory,
        name: &str,
    ) -> Option<Found<T>> {
        let bytes = match directory.read(name) {
            Ok(bytes) => bytes?,
            Err(error) => {
                warn(&format!("going on without a record: {error}"));
                return None;
            }
        };
        let text = std::str::from_utf8(&bytes).ok()?;
        let found = |owner, data| Found {
            key: name.to_owned(),
            owner,
            data,
        };
        match serde_json::from_str::<Envelope<T>>(text) {
            Ok(record) if record.version == VERSION => {
                Some(found(record.owner(), Some(record.data)))
            }
            _ => {
                let record: Envelope<Option<IgnoredAny>> = serde_json::from_str(text).ok()?;
                Some(found(record.owner(), None))
            }
        }
    }

    fn write_file<T: Serialize>(&self, name: &str, owner: &Owner, data: &T) -> Result<(), Error> {
        let record = Envelope {
            version: VERSION,
            network: owner.network.clone(),
            container_id: owner.container_id.clone(),
            if_name: owner.if_name.clone(),
            data,
        };
        let mut text = serde_json::to_string(&record)
            .map_err(|e| Error::foreign(name, format!("cannot be written as JSON ({e})")))?;
        text.push('\n');
        Directory::write_in(|| tree::create(self.topic), name, text.as_bytes())
    }

    fn remove_file(&self, name: &str) -> Result<(), Error> {
        // In a directory that is not ours is nothing of ours.
        let Some(directory) = self.open() else {
            return Ok(());
        };
        directory.remove(name)?;
        tree::remove_empty(self.topic);
        Ok(())
    }
}

fn file_name(owner: &Owner) -> String {
    name::joined(&[&owner.network, &owner.container_id, &owner.if_name])
}

/// Returns what the file names begin with whose first parts are `parts`.
fn prefix(parts: &[&str]) -> String {
    name::joined(parts) + &name::SEPARATOR.to_string()
}
