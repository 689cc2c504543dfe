//! Record of an attachment's rules in the packet filters, for its DEL.
//!
//! The kernel cannot find rules by their owner, so without a record all rules of a chain
//! have to be listed. DEL works without a record, too, and verifies what it contains: it
//! may be lost, and another program may have changed the rules.

use crate::state::{self, owner};
use cni_core::{Call, types::Attachment};
use cni_state::{Record, Store};
use std::collections::BTreeMap;

const STORE: Store = Store::new("filters");

/// The words recorded for each topic.
type Topics = BTreeMap<String, Vec<String>>;

/// Record of the rules of one attachment.
#[derive(Debug)]
pub struct FilterRecord {
    record: Record,
    topics: Option<Topics>,
}

impl FilterRecord {
    /// Returns the record of the attachment of `call`.
    #[must_use]
    pub fn of(call: &Call) -> FilterRecord {
        FilterRecord::read(Record::new(STORE, owner(call)))
    }

    fn read(record: Record) -> FilterRecord {
        let topics = record.read();
        FilterRecord { record, topics }
    }

    /// Returns the records of attachments of `network` that are not among `valid`.
    pub fn stale(network: &str, valid: &[Attachment]) -> Vec<FilterRecord> {
        let valid = state::owners(network, valid);
        let owners = STORE.owners(network).into_iter();
        owners
            .filter(|owner| !valid.contains(owner))
            .map(|owner| FilterRecord::read(Record::new(STORE, owner)))
            .collect()
    }

    /// Returns whether there is a record, even if only of an ADD that has begun.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.topics.is_some()
    }

    /// Returns the words recorded for `topic`; `None` also if its rules were not completed.
    #[must_use]
    pub fn get(&self, topic: &str) -> Option<Vec<&str>> {
        let words = self.topics.as_ref()?.get(topic)?;
        Some(words.iter().map(String::as_str).collect())
    }

    /// Records that rules are about to be created. If nothing else is recorded, DEL looks
    /// for all possible rules.
    pub fn begin(&mut self) {
        if !self.exists() {
            self.topics = Some(Topics::new());
            self.write();
        }
    }

    /// Records `words` for `topic`.
    pub fn set(&mut self, topic: &str, words: &[String]) {
        let topics = self.topics.get_or_insert_default();
        topics.insert(topic.to_owned(), words.to_vec());
        self.write();
    }

    /// Writes the record. A failure is only logged, since DEL works without it.
    fn write(&self) {
        if let Err(error) = self.record.write(&self.topics) {
            log::warn!("going on without a record of the rules: {error}");
        }
    }

    /// Removes the record, after the rules have been deleted, even if it could not be read.
    pub fn remove(&mut self) {
        self.topics = None;
        if let Err(error) = self.record.remove() {
            log::warn!("{error}");
        }
    }
}
