//! Record of the keys that types read, for the test that compares them with the JSON Schemas.
//!
//! Objects are told apart by a member `#`, which the test adds: its text is noted with the keys.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

thread_local! {
    static READ: RefCell<BTreeSet<(String, String)>> = const { RefCell::new(BTreeSet::new()) };
}

/// Notes that `keys` of an object are read.
pub(super) fn note<'k>(object: &Map<String, Value>, keys: impl IntoIterator<Item = &'k str>) {
    let Some(Value::String(mark)) = object.get("#") else {
        return;
    };
    READ.with_borrow_mut(|read| {
        read.extend(keys.into_iter().map(|key| (mark.clone(), key.to_owned())));
    });
}

/// Returns what this thread has read since the last call: the text of the object's member `#`, and a key.
#[must_use]
pub fn take_keys_read() -> BTreeSet<(String, String)> {
    READ.take()
}
