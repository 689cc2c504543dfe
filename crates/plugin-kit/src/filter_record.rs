//! Record of an attachment's rules in the packet filters, for its DEL.
//!
//! The kernel does not find a rule by its owner: without a record all rules of a chain
//! have to be listed. A record is never needed, and what it says is verified before it
//! is believed: it may be lost, and another program may have changed the rules.

use crate::state::{self, owner};
use cni_core::{Call, types::Attachment};
use cni_state::{Record, Store};
use std::collections::BTreeMap;

const STORE: Store = Store::new("filters");

/// The words recorded about each topic.
type Topics = BTreeMap<String, Vec<String>>;

/// What is recorded about the rules of one attachment.
#[derive(Debug)]
pub struct FilterRecord {
    record: Record,
    topics: Option<Topics>,
}

impl FilterRecord {
    /// Returns the record of the attachment that `call` is about.
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

    /// Returns whether anything is recorded, if only that an ADD has begun.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.topics.is_some()
    }

    /// Returns what is recorded about `topic`; `None` also if the work was begun and
    /// not completed.
    #[must_use]
    pub fn get(&self, topic: &str) -> Option<Vec<&str>> {
        let words = self.topics.as_ref()?.get(topic)?;
        Some(words.iter().map(String::as_str).collect())
    }

    /// Records that rules are about to be made: whoever finds this and nothing else
    /// looks for all there may be.
    pub fn begin(&mut self) {
        if !self.exists() {
            self.topics = Some(Topics::new());
            self.write();
        }
    }

    /// Records `words` about `topic`.
    pub fn set(&mut self, topic: &str, words: &[String]) {
        let topics = self.topics.get_or_insert_default();
        topics.insert(topic.to_owned(), words.to_vec());
        self.write();
    }

    /// A file system that takes no records is no reason to fail: all works without.
    fn write(&self) {
        if let Err(error) = self.record.write(&self.topics) {
            log::warn!("going on without a record of the rules: {error}");
        }
    }

    /// Removes the record: the rules are gone.
    pub fn remove(&mut self) {
        if self.topics.take().is_some()
            && let Err(error) = self.record.remove()
        {
            log::warn!("{error}");
        }
    }
}
