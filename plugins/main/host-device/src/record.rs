//! Record of a device's state on the host, for its return.
//!
//! The name is stored in the link's alias as well, as upstream does. Without a record,
//! because another implementation moved the device or the state was lost, the device is
//! left down after its return.

use cni_state::{Error, Owner, Store};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const STORE: Store = Store::new("host-device");

/// A device that has been moved to a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The name on the host.
    pub(crate) name: String,
    /// Whether it was up.
    pub(crate) up: bool,
    /// The alias it had.
    pub(crate) alias: String,
    /// The hardware address as text; empty when it has none.
    pub(crate) mac: String,
    /// The path of the container's namespace.
    pub(crate) netns: PathBuf,
}

/// Returns the owners of the records of a network.
pub(crate) fn owners(network: &str) -> Vec<Owner> {
    STORE.owners(network)
}

fn file(owner: &Owner) -> cni_state::Record {
    cni_state::Record::new(STORE, owner.clone())
}

impl Record {
    /// Returns the record of an attachment; `None` when there is none that can be read.
    pub(crate) fn read(owner: &Owner) -> Option<Record> {
        let record: Option<Record> = file(owner).read();
        record.filter(|record| !record.name.is_empty())
    }

    /// Writes it, and removes the records of other attachments for the device: it is on
    /// the host, so another implementation has moved it back.
    pub(crate) fn write(&self, owner: &Owner) -> Result<(), Error> {
        for other in STORE.all::<Record>() {
            let is_same = other.data.is_some_and(|stale| stale.name == self.name);
            if is_same && other.owner != *owner {
                file(&other.owner).remove()?;
            }
        }
        file(owner).write(self)
    }

    /// Removes the record of an attachment; a missing one is no error.
    pub(crate) fn remove(owner: &Owner) -> anyhow::Result<()> {
        Ok(file(owner).remove()?)
    }
}
