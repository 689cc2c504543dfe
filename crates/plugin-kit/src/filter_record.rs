//! What an attachment has in the packet filters, written down for its DEL.
//!
//! The kernel does not find a rule by whose it is: without notes all rules of a
//! chain have to be listed. FilterRecord are never needed, and what they say is looked at
//! before it is believed: they may be lost, and another program may have changed
//! the rules.

use crate::names::{attachment_hash, network_prefix};
use cni_core::{Call, types::Attachment};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// One file an attachment, gone with the next start of the machine as the rules are.
const DIRECTORY: &str = "/run/cni/filters";

/// The notes about one attachment: lines of words, the first of which says what
/// they are about.
#[derive(Debug)]
pub struct FilterRecord {
    file: PathBuf,
    text: Option<String>,
}

impl FilterRecord {
    /// Those about the attachment that `call` is about.
    #[must_use]
    pub fn of(call: &Call) -> FilterRecord {
        let name = attachment_hash(&call.name, &call.container_id, &call.if_name);
        FilterRecord::read(Path::new(DIRECTORY).join(name))
    }

    fn read(file: PathBuf) -> FilterRecord {
        let text = fs::read_to_string(&file).ok();
        FilterRecord { file, text }
    }

    /// Those about attachments of `network` that are not among `valid`.
    pub fn stale(network: &str, valid: &[Attachment]) -> Vec<FilterRecord> {
        let known: Vec<String> = valid
            .iter()
            .map(|a| attachment_hash(network, &a.container_id, &a.if_name))
            .collect();
        let begin = network_prefix(network);
        let files = fs::read_dir(DIRECTORY).into_iter().flatten().flatten();
        let names = files.filter_map(|file| file.file_name().into_string().ok());
        names
            .filter(|name| name.starts_with(&begin) && !known.contains(name))
            .map(|name| FilterRecord::read(Path::new(DIRECTORY).join(name)))
            .collect()
    }

    /// Whether anything was noted, if only that something was begun.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.text.is_some()
    }

    /// What was noted about `topic`; `None` also of work that was not completed.
    #[must_use]
    pub fn get(&self, topic: &str) -> Option<Vec<&str>> {
        let lines = self.text.as_deref()?.split_inclusive('\n');
        let whole = lines.filter_map(|line| line.strip_suffix('\n'));
        let mut found = whole.filter_map(|line| {
            let mut words = line.split(' ');
            (words.next() == Some(topic)).then(|| words.collect())
        });
        found.next_back()
    }

    /// Says that rules are about to be made: whoever finds this and nothing else
    /// looks for all there may be.
    pub fn begin(&mut self) {
        self.write("");
        self.text.get_or_insert_default();
    }

    /// FilterRecord `words` about `topic`.
    pub fn set(&mut self, topic: &str, words: &[String]) {
        let line = format!("{topic} {}\n", words.join(" "));
        self.write(&line);
        *self.text.get_or_insert_default() += &line;
    }

    /// Without notes all works as well, so there is nothing to be done about a file
    /// system that takes none.
    fn write(&self, line: &str) {
        let mut options = OpenOptions::new();
        let options = options.append(true).create(true);
        let file = options.open(&self.file).or_else(|_| {
            fs::create_dir_all(DIRECTORY)?;
            options.open(&self.file)
        });
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }

    /// Takes the notes away: nothing is left that they are about.
    pub fn remove(&mut self) {
        if self.exists() {
            let _ = fs::remove_file(&self.file);
            self.text = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> FilterRecord {
        FilterRecord {
            file: PathBuf::new(),
            text: Some(text.to_owned()),
        }
    }

    #[test]
    fn the_last_whole_line_of_a_topic_counts() {
        let record = record("a 1 2\nb 3\na 4\na 5 6");
        assert_eq!(record.get("a"), Some(vec!["4"]));
        assert_eq!(record.get("b"), Some(vec!["3"]));
        assert_eq!(record.get("c"), None);
        assert_eq!(self::record("").get("a"), None);
        assert!(self::record("").exists());
    }
}
