//! Dumps of kernel tables.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use super::Connection;
use crate::error::Error;
use crate::wire::{Message, Messages, NLM_F_DUMP, NLM_F_DUMP_INTR};

/// How many times a dump is attempted if the table changes meanwhile.
const MAX_ATTEMPTS: u32 = 10;

/// Pause between two attempts, so that the table can settle.
const PAUSE: Duration = Duration::from_millis(1);

/// A dumped table.
pub struct Dumped<T> {
    /// Its entries.
    pub list: Vec<T>,
    /// Number of datagrams with entries. The kernel fills each under its lock, which it
    /// releases in between.
    pub parts: u32,
    /// Whether the table changed meanwhile, so that the list is inconsistent. Only
    /// [`Connection::dump_once`] returns such a dump.
    pub interrupted: bool,
}

impl<T> Default for Dumped<T> {
    fn default() -> Self {
        Dumped {
            list: Vec::new(),
            parts: 0,
            interrupted: false,
        }
    }
}

/// Progress of a dump.
#[derive(Default, PartialEq, Eq, Debug)]
struct Progress {
    done: bool,
    /// Whether the table changed meanwhile.
    interrupted: bool,
    parts: u32,
    failure: Option<(i32, String)>,
}

impl Connection {
    /// Dumps a table; `read` appends the entries of each message to the list.
    ///
    /// The list is always consistent: if the table changes during the dump
    /// (`NLM_F_DUMP_INTR`), the dump is repeated, ten times at most.
    ///
    /// # Errors
    /// Errors of the kernel and of the socket.
    pub fn dump<T>(
        &self,
        kind: u16,
        body: &[u8],
        what: &str,
        read: impl Fn(&Message<'_>, &mut Vec<T>),
    ) -> Result<Vec<T>, Error> {
        self.dump_parts(kind, body, what, read)
            .map(|dumped| dumped.list)
    }

    /// As [`Connection::dump`], with the number of datagrams.
    ///
    /// # Errors
    /// Errors of the kernel and of the socket.
    pub(crate) fn dump_parts<T>(
        &self,
        kind: u16,
        body: &[u8],
        what: &str,
        read: impl Fn(&Message<'_>, &mut Vec<T>),
    ) -> Result<Dumped<T>, Error> {
        for attempt in 0..MAX_ATTEMPTS {
            if attempt > 0 {
                sleep(PAUSE);
            }
            let dumped = self.dump_once(kind, body, what, &read)?;
            if !dumped.interrupted {
                return Ok(dumped);
            }
        }
        Err(Error::interrupted(MAX_ATTEMPTS, what))
    }

    /// As [`Connection::dump`], but if the table changes during all attempts, the entries of
    /// all of them are returned, one for each `key`, as the last attempt has it.
    ///
    /// An attempt may miss an entry that has always been there: up to Linux 6.8, a dump of
    /// links resumes at the n-th link of a hash bucket, which is another one after a deletion.
    /// That all attempts miss the same one is next to impossible.
    ///
    /// # Errors
    /// Errors of the kernel and of the socket.
    pub(crate) fn dump_merged<T, K: Ord>(
        &self,
        kind: u16,
        body: &[u8],
        what: &str,
        read: impl Fn(&Message<'_>, &mut Vec<T>),
        key: impl Fn(&T) -> K,
    ) -> Result<Vec<T>, Error> {
        let mut merged = BTreeMap::new();
        for attempt in 0..MAX_ATTEMPTS {
            if attempt > 0 {
                sleep(PAUSE);
            }
            let dumped = self.dump_once(kind, body, what, &read)?;
            if !dumped.interrupted {
                return Ok(dumped.list);
            }
            merged.extend(dumped.list.into_iter().map(|one| (key(&one), one)));
        }
        Ok(merged.into_values().collect())
    }

    /// As [`Connection::dump`], in one attempt, whose result may be inconsistent.
    ///
    /// # Errors
    /// Errors of the kernel and of the socket.
    pub fn dump_once<T>(
        &self,
        kind: u16,
        body: &[u8],
        what: &str,
        read: &impl Fn(&Message<'_>, &mut Vec<T>),
    ) -> Result<Dumped<T>, Error> {
        let sequence = self.send(kind, NLM_F_DUMP, body, what)?;
        let mut list = Vec::new();
        let mut progress = Progress::default();
        // The kernel starts no other dump on this socket before this one was read to
        // its end, so an interrupted one is read on.
        while !progress.done {
            self.receive(what, |datagram| {
                read_part(datagram, sequence, &mut progress, &mut |message| {
                    read(message, &mut list);
                });
            })?;
        }
        match progress.failure {
            Some((errno, text)) => Err(Error::kernel(errno, text, what)),
            None => Ok(Dumped {
                list,
                parts: progress.parts,
                interrupted: progress.interrupted,
            }),
        }
    }
}

fn read_part(
    datagram: &[u8],
    sequence: u32,
    progress: &mut Progress,
    read: &mut dyn FnMut(&Message<'_>),
) {
    let mut entries = false;
    for message in Messages::new(datagram).filter(|m| m.sequence == sequence) {
        progress.interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
        match message.outcome() {
            Some(outcome) => {
                progress.done = true;
                if outcome.errno != 0 {
                    progress.failure = Some((outcome.errno, outcome.text));
                }
            }
            None => {
                entries = true;
                read(&message);
            }
        }
    }
    progress.parts += u32::from(entries);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{NLMSG_DONE, NLMSG_ERROR, message};

    fn part(messages: &[(u16, u16, u32, &[u8])]) -> (Progress, usize) {
        let mut datagram = Vec::new();
        for (kind, flags, sequence, body) in messages {
            message::write(&mut datagram, *kind, *flags, *sequence, body);
        }
        let mut progress = Progress::default();
        let mut count = 0;
        read_part(&datagram, 7, &mut progress, &mut |_| count += 1);
        (progress, count)
    }

    #[test]
    fn an_interruption_is_detected_in_any_message() {
        let zero = [0; 4];
        for place in 0..3 {
            let flags = |at| if at == place { NLM_F_DUMP_INTR } else { 0 };
            let (progress, count) = part(&[
                (16, flags(0), 7, &zero),
                (16, flags(1), 7, &zero),
                (NLMSG_DONE, flags(2), 7, &zero),
            ]);
            assert!(progress.interrupted && progress.done, "{place}");
            assert_eq!((progress.failure, count), (None, 2));
        }
        let (progress, _) = part(&[(16, 0, 7, &zero), (NLMSG_DONE, 0, 7, &zero)]);
        assert!(!progress.interrupted && progress.done);
    }

    #[test]
    fn answers_to_other_requests_are_ignored() {
        let refused = (-13i32).to_ne_bytes();
        let (progress, count) = part(&[
            (16, NLM_F_DUMP_INTR, 6, &[]),
            (NLMSG_DONE, 0, 6, &refused),
            (NLMSG_ERROR, 0, 0, &refused),
            (16, 0, 7, &[]),
        ]);
        let parts = Progress {
            parts: 1,
            ..Progress::default()
        };
        assert_eq!((progress, count), (parts, 1));
    }

    #[test]
    fn a_dump_may_fail_at_its_start_or_end() {
        let refused = (-13i32).to_ne_bytes();
        for kind in [NLMSG_DONE, NLMSG_ERROR] {
            let (progress, _) = part(&[(16, 0, 7, &[]), (kind, 0, 7, &refused)]);
            assert!(progress.done);
            assert_eq!(progress.failure, Some((13, String::new())));
        }
    }
}
