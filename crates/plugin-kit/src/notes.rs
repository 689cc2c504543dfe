//! What an attachment has in the packet filters, written down for its DEL.
//!
//! The kernel does not find a rule by whose it is: without notes all rules of a
//! chain have to be listed. Notes are never needed, and what they say is looked at
//! before it is believed: they may be lost, and another program may have changed
//! the rules.

use crate::sha512;
use cni_core::{Call, types::Attachment};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// One file an attachment, gone with the next start of the machine as the rules are.
const DIRECTORY: &str = "/run/cni/filters";

/// Digits of each of the two hashes that an attachment is known by.
const DIGITS: usize = 16;

fn hash(text: &str) -> String {
    let mut digits = sha512::hex(text.as_bytes());
    digits.truncate(DIGITS);
    digits
}

/// What everything begins with that belongs to an attachment of `network`.
#[must_use]
pub fn of_network(network: &str) -> String {
    format!("{}-", hash(network))
}

/// An attachment as the comments of upstream's nftables rules begin with: a hash of
/// the network, a dash, a hash of interface and container.
#[must_use]
pub fn of_attachment(network: &str, container_id: &str, if_name: &str) -> String {
    of_network(network) + &hash(&format!("{if_name}:{container_id}"))
}

/// The notes about one attachment: lines of words, the first of which says what
/// they are about.
#[derive(Debug)]
pub struct Notes {
    file: PathBuf,
    text: Option<String>,
}

impl Notes {
    /// Those about the attachment that `call` is about.
    #[must_use]
    pub fn of(call: &Call) -> Notes {
        let name = of_attachment(&call.name, &call.container_id, &call.if_name);
        Notes::read(Path::new(DIRECTORY).join(name))
    }

    fn read(file: PathBuf) -> Notes {
        let text = fs::read_to_string(&file).ok();
        Notes { file, text }
    }

    /// Those about attachments of `network` that are not among `valid`.
    pub fn of_others(network: &str, valid: &[Attachment]) -> Vec<Notes> {
        let known: Vec<String> = valid
            .iter()
            .map(|a| of_attachment(network, &a.container_id, &a.if_name))
            .collect();
        let begin = of_network(network);
        let files = fs::read_dir(DIRECTORY).into_iter().flatten().flatten();
        let names = files.filter_map(|file| file.file_name().into_string().ok());
        names
            .filter(|name| name.starts_with(&begin) && !known.contains(name))
            .map(|name| Notes::read(Path::new(DIRECTORY).join(name)))
            .collect()
    }

    /// Whether anything was noted, if only that something was begun.
    #[must_use]
    pub fn exist(&self) -> bool {
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

    /// Notes `words` about `topic`.
    pub fn note(&mut self, topic: &str, words: &[String]) {
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
        if self.exist() {
            let _ = fs::remove_file(&self.file);
            self.text = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(text: &str) -> Notes {
        Notes {
            file: PathBuf::new(),
            text: Some(text.to_owned()),
        }
    }

    #[test]
    fn attachments_are_known_as_upstream_knows_them() {
        assert_eq!(
            of_attachment("unit-test", "one", "eth0"),
            "6fd94d501e58f0aa-287fc69eff0574a2"
        );
    }

    #[test]
    fn the_last_whole_line_of_a_topic_counts() {
        let notes = notes("a 1 2\nb 3\na 4\na 5 6");
        assert_eq!(notes.get("a"), Some(vec!["4"]));
        assert_eq!(notes.get("b"), Some(vec!["3"]));
        assert_eq!(notes.get("c"), None);
        assert_eq!(self::notes("").get("a"), None);
        assert!(self::notes("").exist());
    }
}
