//! The record of one attachment.

use crate::error::Error;
use crate::store::{Owner, Store};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The record of one attachment in a [`Store`] of one record for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    store: Store,
    owner: Owner,
}

impl Record {
    /// Returns the record of `owner` in `store`. Nothing is opened yet.
    #[must_use]
    pub fn new(store: Store, owner: Owner) -> Record {
        Record { store, owner }
    }

    /// Returns what it holds; `None` if there is none that can be read.
    #[must_use]
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        self.store.read_of(&self.owner)
    }

    /// Writes it, wholly or not at all.
    ///
    /// # Errors
    /// When it, or its directory, cannot be created or written.
    pub fn write<T: Serialize>(&self, data: &T) -> Result<(), Error> {
        self.store.write_of(&self.owner, data)
    }

    /// Restores what [`Record::read`] returned before.
    ///
    /// # Errors
    /// As [`Record::write`] and [`Record::remove`].
    pub fn restore<T: Serialize>(&self, before: Option<&T>) -> Result<(), Error> {
        match before {
            Some(data) => self.write(data),
            None => self.remove(),
        }
    }

    /// Removes it; one that is missing is fine.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove(&self) -> Result<(), Error> {
        self.store.remove_of(&self.owner)
    }

    /// Returns whether the container has another interface in the network that has a
    /// record.
    #[must_use]
    pub fn has_sibling(&self) -> bool {
        self.store.has_sibling(&self.owner)
    }
}
