//! The nf_tables socket: committing batches, dumps, and retries.

use std::cell::Cell;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::libc::{EINVAL, ENOBUFS, EOPNOTSUPP, ERESTART};
use rtnl::netlink::{Attributes, Message};

use super::answers::Answers;
use super::batch::Batch;
use super::constants::*;
use super::info::RuleInfo;
use super::message::describe;
use super::object::{Family, Table};
use crate::error::{Culprit, Error, Kind};
use crate::nfnetlink::{NFGENMSG_LEN, Socket, header};

/// How long reads and changes are retried while other processes change rules.
const RETRY_TIME: Duration = Duration::from_secs(30);

/// For so many attempts, and so long, a transaction requires that nothing has changed
/// since it read the rules (`NFNL_BATCH_GENID`).
const STRICT_ATTEMPTS: u32 = 2;
const STRICT_TIME: Duration = Duration::from_millis(50);

/// Pause between attempts, so that other processes make progress.
const PAUSE: Duration = Duration::from_millis(1);

/// A netlink socket for nf_tables.
///
/// It belongs to the network namespace in which the calling thread opened it, wherever
/// the thread goes afterwards.
pub struct Nft {
    pub(crate) connection: Socket,
}

impl std::fmt::Debug for Nft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nft")
    }
}

impl Nft {
    /// Opens a socket in the current network namespace of the calling thread.
    ///
    /// # Errors
    /// Those of `socket(2)`; [`Error::is_unsupported`] if the kernel has no
    /// netfilter at all.
    pub fn open() -> Result<Nft, Error> {
        Ok(Nft {
            connection: Socket::open()?,
        })
    }

    /// Checks whether nf_tables is usable: whether the kernel would create a table of
    /// this family. A table that exists is proof enough.
    ///
    /// # Errors
    /// [`Error::is_unsupported`] if the kernel lacks nf_tables, or this family;
    /// [`Error::is_permission`] if `CAP_NET_ADMIN` is missing.
    pub fn probe(&self, family: Family) -> Result<(), Error> {
        // Checking a batch takes 10 ms and more: its abort waits for an RCU grace period.
        if self.has_tables(family)? {
            return Ok(());
        }
        let mut batch = Batch::new();
        batch.add_table(&Table::new(family, "supports_nftables_test"));
        self.check(&batch)
    }

    /// Returns whether there is a table of this family; for IPv4 one of any family counts.
    fn has_tables(&self, family: Family) -> Result<bool, Error> {
        let family = if family == Family::Ip {
            0
        } else {
            family as u8
        };
        let found = self.dump(
            NFT_MSG_GETTABLE,
            &header(family, 0),
            |_, list: &mut Vec<()>, entries| {
                entries.add(b"table");
                list.push(());
            },
        );
        match found {
            Ok(list) => Ok(!list.is_empty()),
            // The error of the batch is more specific.
            Err(error) if error.is_unsupported() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns the generation of the rule set (`NFTA_GEN_ID`), which changes with each
    /// commit in the namespace.
    fn generation(&self) -> Result<u32, Error> {
        const WHAT: &str = "get the generation of the rule set";
        let answer = self
            .connection
            .get(NFT_MSG_GETGEN, &header(0, 0), WHAT, |message| {
                Attributes::after(message.body, NFGENMSG_LEN)
                    .find(|attribute| attribute.kind == NFTA_GEN_ID)?
                    .u32_be()
            });
        let malformed = Kind::Malformed {
            problem: "no generation",
        };
        answer
            .map_err(|error| refusal(error, WHAT))?
            .ok_or_else(|| Error::new(malformed, WHAT))
    }

    /// Applies all changes of a batch, or none. Returns the rules that were added after
    /// [`Batch::echo`], in order. Sends nothing if the batch is empty.
    ///
    /// # Errors
    /// An invalid change; the first refusal of the kernel, naming the change and its
    /// object. After a timeout it is unknown whether the changes were applied.
    pub fn commit(&self, batch: &Batch) -> Result<Vec<RuleInfo>, Error> {
        self.send(batch, None, true)
    }

    /// Lets the kernel check a batch without applying it.
    ///
    /// # Errors
    /// As [`Nft::commit`].
    pub fn check(&self, batch: &Batch) -> Result<(), Error> {
        self.send(batch, None, false).map(|_| ())
    }

    /// Reads and changes in one transaction: `build` reads the rules and returns the
    /// changes. If another process has changed rules meanwhile, `build` is called again.
    ///
    /// Every commit in the namespace counts as a change. Where other processes commit all
    /// the time, later attempts only require that the objects in the batch still exist, for
    /// example a rule to be deleted by its handle. That is sufficient for batches that
    /// delete by handle and add objects of their own.
    ///
    /// # Errors
    /// Those of `build` and of [`Nft::commit`]; a timeout if the rules kept changing for 30
    /// seconds.
    pub fn transaction(
        &self,
        mut build: impl FnMut(&Nft) -> Result<Batch, Error>,
    ) -> Result<Vec<RuleInfo>, Error> {
        let begin = Instant::now();
        let mut attempts = 0;
        loop {
            let strict = attempts < STRICT_ATTEMPTS || begin.elapsed() < STRICT_TIME;
            let generation = strict.then(|| self.generation()).transpose()?;
            let batch = build(self)?;
            let outcome = self.send(&batch, generation, true);
            attempts += 1;
            let again = match &outcome {
                Ok(_) => false,
                Err(error) => error.errno() == Some(ERESTART) || (!strict && error.is_not_found()),
            };
            if !again {
                return outcome;
            }
            if begin.elapsed() > RETRY_TIME {
                let waited = begin.elapsed();
                return Err(Error::new(
                    Kind::Changing { waited },
                    "change packet filters",
                ));
            }
            if attempts % 4 == 0 {
                sleep(PAUSE);
            }
        }
    }

    fn send(
        &self,
        batch: &Batch,
        generation: Option<u32>,
        end: bool,
    ) -> Result<Vec<RuleInfo>, Error> {
        if let Some((what, problem)) = batch.problem() {
            return Err(Error::invalid(problem, what));
        }
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        const WHAT: &str = "commit packet filters";
        #[cfg(feature = "fault-injection")]
        if end && let Some(error) = rtnl::netlink::injected_fault(WHAT) {
            return Err(error.into());
        }
        let first = self.connection.next_sequence();
        // Reserve the sequence numbers of the changes.
        for _ in 0..=batch.len() {
            self.connection.next_sequence();
        }
        let datagram = batch.encode(first, generation, end);
        if batch.echo_bytes() > 0 {
            self.connection.reserve_receive(batch.echo_bytes());
        }
        self.connection.send_datagram(&datagram, WHAT)?;
        let mut answers = Answers::new(first, batch);
        let mut overrun = false;
        while !answers.complete {
            match self
                .connection
                .receive(WHAT, |datagram| answers.read(datagram))
            {
                Ok(()) => {}
                // The receive buffer overflowed; the answers in it can still be read.
                Err(error) if error.errno() == Some(ENOBUFS) && !overrun => overrun = true,
                Err(error) => return Err(answers.failure.unwrap_or_else(|| error.into())),
            }
        }
        match answers.failure {
            Some(failure) => Err(failure),
            None => Ok(answers.rules),
        }
    }

    /// Dumps a list. `read` pushes what it needs of each message to the list, and adds
    /// the entry's identity to the [`Entries`].
    ///
    /// The kernel reports a dump as interrupted if anything was changed in the namespace
    /// meanwhile, so a long dump might never succeed. Therefore a dump is repeated until it
    /// is not interrupted, or has the same entries twice in a row.
    pub(crate) fn dump<T: PartialEq>(
        &self,
        kind: u16,
        body: &[u8],
        read: impl Fn(&Message<'_>, &mut Vec<T>, &mut Entries),
    ) -> Result<Vec<T>, Error> {
        let what = describe(kind, body);
        let begin = Instant::now();
        let mut before: Option<(Vec<T>, Entries)> = None;
        loop {
            let entries = Cell::new(Entries::default());
            let dumped = self
                .connection
                .dump_once(kind, body, &what, &|message, list: &mut Vec<T>| {
                    let mut seen = entries.take();
                    read(message, list, &mut seen);
                    entries.set(seen);
                })
                .map_err(|error| refusal(error, &what))?;
            let now = (dumped.list, entries.take());
            if !dumped.interrupted || before.as_ref() == Some(&now) {
                return Ok(now.0);
            }
            if begin.elapsed() > RETRY_TIME {
                let waited = begin.elapsed();
                return Err(Error::new(Kind::Changing { waited }, what));
            }
            before = Some(now);
        }
    }

    /// Reads one object, `None` if it does not exist.
    pub(crate) fn get<T>(
        &self,
        kind: u16,
        body: &[u8],
        read: impl Fn(&Message<'_>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let what = describe(kind, body);
        match self.connection.get(kind, body, &what, read) {
            Err(error) => {
                let error = refusal(error, &what);
                if error.is_not_found() {
                    Ok(None)
                } else {
                    Err(error)
                }
            }
            found => Ok(found?),
        }
    }
}

/// Fingerprint of a list: the number of entries and a hash (FNV-1a) of their identities.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Entries {
    count: u64,
    hash: u64,
}

impl Entries {
    /// Adds an entry by its identity: handle, name or key.
    pub(crate) fn add(&mut self, identity: &[u8]) {
        self.count += 1;
        for byte in identity {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Returns the error of a refused read. A kernel without nf_tables refuses reads with
/// `EINVAL` and batches with `EOPNOTSUPP` (`nfnetlink_rcv_msg`, `nfnetlink_rcv_batch`).
fn refusal(error: rtnl::netlink::Error, what: &str) -> Error {
    let text = error.ext_ack().to_owned();
    match error.errno() {
        Some(EINVAL) if text.is_empty() => Error::kernel(EOPNOTSUPP, text, Culprit::Unknown, what),
        Some(errno) => Error::kernel(errno, text, Culprit::Unknown, what),
        None => error.into(),
    }
}
