//! The conversation with the kernel: committing, checking, trying again.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::libc::{EINVAL, ENOBUFS, ERESTART};
use rtnl::netlink::{Attributes, Connection, Message, Messages, Outcome};

use super::batch::{Batch, HEADER_LEN, NFGENMSG_LEN, describe, header};
use super::constants::*;
use super::object::{Family, Table};
use super::read::RuleInfo;
use crate::error::{Culprit, Error, Kind};
use crate::parting::leave;

/// How long a reading or change is tried anew while others keep changing the
/// rules.
const PATIENCE: Duration = Duration::from_secs(30);

/// So often, and so long, a transaction is tried at the very generation of its
/// reading.
const STRICT_ATTEMPTS: u32 = 2;
const STRICT_TIME: Duration = Duration::from_millis(50);

/// Between two attempts, so that whoever changes the rules gets on.
const PAUSE: Duration = Duration::from_millis(1);

/// A netlink socket for nf_tables.
///
/// It belongs to the network namespace that was the calling thread's when it
/// was opened, and stays with it wherever the thread goes afterwards.
pub struct Nft {
    pub(crate) connection: Connection,
    /// Where the last reference to the connection is, see [`leave`]; closed after it.
    parting: Option<(OwnedFd, OwnedFd)>,
}

impl std::fmt::Debug for Nft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nft")
    }
}

impl Drop for Nft {
    fn drop(&mut self) {
        self.parting = leave(self.connection.as_fd());
    }
}

impl Nft {
    /// Opens a socket in the present network namespace of the calling thread.
    ///
    /// # Errors
    /// Those of `socket(2)`; [`Error::is_unsupported`] if the kernel has no
    /// netfilter at all.
    pub fn open() -> Result<Nft, Error> {
        Ok(Nft {
            connection: Connection::open(NETLINK_NETFILTER)?,
            parting: None,
        })
    }

    /// Whether nf_tables can be used here: whether the kernel would let us
    /// create a table.
    ///
    /// # Errors
    /// [`Error::is_unsupported`] if the kernel lacks it,
    /// [`Error::is_permission`] if `CAP_NET_ADMIN` is missing.
    pub fn probe(&self) -> Result<(), Error> {
        // The kernel takes 10 ms and more to forget a change that was not to be made.
        if self.has_tables()? {
            return Ok(());
        }
        let mut batch = Batch::new();
        batch.add_table(&Table::new(Family::Ip, "supports_nftables_test"));
        self.check(&batch)
    }

    /// Whether there is any table, of whichever family.
    fn has_tables(&self) -> Result<bool, Error> {
        let found = self.dump(
            NFT_MSG_GETTABLE,
            &header(0, 0),
            |_, list: &mut Vec<()>, entries| {
                entries.note(b"table");
                list.push(());
            },
        );
        match found {
            Ok(list) => Ok(!list.is_empty()),
            // How requests, unlike batches, are refused without nf_tables: the batch says so better.
            Err(error) if error.is_unsupported() || error.errno() == Some(EINVAL) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The number of the present rule set (`NFTA_GEN_ID`); each commit of
    /// anyone in this namespace brings another.
    ///
    /// # Errors
    /// [`Error::is_unsupported`] if the kernel lacks nf_tables.
    pub fn generation(&self) -> Result<u32, Error> {
        const WHAT: &str = "get the generation of the rule set";
        let answer = self
            .connection
            .get(NFT_MSG_GETGEN, &header(0, 0), WHAT, |message| {
                Attributes::after(message.body, NFGENMSG_LEN)
                    .find(|attribute| attribute.kind == NFTA_GEN_ID)?
                    .u32_be()
            });
        match answer {
            Ok(Some(generation)) => Ok(generation),
            Ok(None) => Err(Error::new(
                Kind::Malformed {
                    problem: "no generation",
                },
                WHAT,
            )),
            // How requests, unlike batches, are refused without nf_tables.
            Err(error) if error.errno() == Some(EINVAL) => Err(unsupported(WHAT)),
            Err(error) => Err(error.into()),
        }
    }

    /// Carries out all changes of a batch, or none. Returns the rules that it
    /// added after [`Batch::echo`], in their order.
    ///
    /// Nothing is sent if the batch is empty.
    ///
    /// # Errors
    /// What cannot be meant, and the first refusal of the kernel, naming the
    /// change and the thing it is about. After a timeout the changes may have
    /// been made or not.
    pub fn commit(&self, batch: &Batch) -> Result<Vec<RuleInfo>, Error> {
        self.send(batch, None, true)
    }

    /// Asks the kernel whether it would carry out a batch. Nothing is changed.
    ///
    /// # Errors
    /// As [`Nft::commit`].
    pub fn check(&self, batch: &Batch) -> Result<(), Error> {
        self.send(batch, None, false).map(|_| ())
    }

    /// Reads and changes as one: `build` looks at what there is and returns
    /// what to change about it. If anything was changed by another process
    /// meanwhile, it is called again.
    ///
    /// Where others change rules all the time (each commit in the namespace
    /// counts, whatever it is about), later attempts only demand that what the
    /// batch names is still there: a rule that is to be deleted by its handle,
    /// say. That is enough for batches that delete by handle and add things of
    /// their own.
    ///
    /// # Errors
    /// Those of `build`, and as [`Nft::commit`]; a timeout if the rules kept
    /// changing for 30 seconds.
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
            if begin.elapsed() > PATIENCE {
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
        // The numbers of the changes are used up, too.
        for _ in 0..=batch.len() {
            self.connection.next_sequence();
        }
        let datagram = batch.encode(first, generation, end);
        if batch.echo_bytes() > 0 {
            self.connection.reserve_receive(batch.echo_bytes());
        }
        self.connection.send_datagram(&datagram, WHAT)?;
        let mut answers = Answers::new(first, batch);
        while !answers.complete {
            match self
                .connection
                .receive(WHAT, |datagram| answers.read(datagram))
            {
                Ok(()) => {}
                // Too many answers; those that are kept come now.
                Err(error) if error.errno() == Some(ENOBUFS) && !answers.overrun => {
                    answers.overrun = true;
                }
                Err(error) => return Err(answers.failure.unwrap_or_else(|| error.into())),
            }
        }
        match answers.failure {
            Some(failure) => Err(failure),
            None => Ok(answers.rules),
        }
    }

    /// Reads a list; `read` adds what it wants of each message, and notes which
    /// entry it was.
    ///
    /// The kernel reports a list as changed if anything at all was changed in
    /// the namespace while it was read, and a long one might never be read in
    /// peace. Such a list is read again until it comes undisturbed, or twice in
    /// a row with the same entries.
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
            if begin.elapsed() > PATIENCE {
                let waited = begin.elapsed();
                return Err(Error::new(Kind::Changing { waited }, what));
            }
            before = Some(now);
        }
    }

    /// Asks for one thing; `None` if it does not exist.
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

/// Which entries a list had, and in which order: their count and a hash (FNV-1a).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Entries {
    count: u64,
    hash: u64,
}

impl Entries {
    /// Notes an entry by what tells it from the others.
    pub(crate) fn note(&mut self, identity: &[u8]) {
        self.count += 1;
        for byte in identity {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The refusal of a request for reading.
fn refusal(error: rtnl::netlink::Error, what: &str) -> Error {
    match error.errno() {
        Some(errno) => kernel(errno, error.ext_ack().to_owned(), Culprit::Unknown, what),
        None => error.into(),
    }
}

fn kernel(errno: i32, text: String, culprit: Culprit, what: &str) -> Error {
    Error::new(
        Kind::Kernel {
            errno,
            text,
            culprit,
        },
        what,
    )
}

fn unsupported(what: &str) -> Error {
    let errno = nix::libc::EOPNOTSUPP;
    kernel(errno, String::new(), Culprit::Unknown, what)
}

/// What the kernel has answered to a batch so far.
///
/// It works a batch off while it is being sent: first come the rules that were
/// asked to be echoed, then refusals and the acknowledgement of the last
/// change, in the order of the changes. A refusal of the batch as a whole bears
/// the number of its begin, and can come in place of the others.
struct Answers<'b> {
    batch: &'b Batch,
    /// Number of the begin of the batch; the changes follow.
    first: u32,
    complete: bool,
    overrun: bool,
    failure: Option<Error>,
    rules: Vec<RuleInfo>,
}

impl<'b> Answers<'b> {
    fn new(first: u32, batch: &'b Batch) -> Answers<'b> {
        Answers {
            batch,
            first,
            complete: false,
            overrun: false,
            failure: None,
            rules: Vec::new(),
        }
    }

    fn read(&mut self, datagram: &[u8]) {
        for message in Messages::new(datagram) {
            // Answers to nothing of this batch are left over from one that
            // timed out.
            let number = message.sequence.wrapping_sub(self.first);
            let count = u32::try_from(self.batch.len()).unwrap_or(u32::MAX);
            if number > count {
                continue;
            }
            match message.outcome() {
                Some(outcome) => {
                    self.complete |= number == 0 || number == count;
                    self.outcome(number, outcome);
                }
                None if message.kind == NFT_MSG_NEWRULE => {
                    self.rules.extend(RuleInfo::decode(message.body));
                }
                None => {}
            }
        }
    }

    fn outcome(&mut self, number: u32, outcome: Outcome) {
        // Later refusals mostly are consequences of the first one.
        if outcome.errno == 0 || self.failure.is_some() {
            return;
        }
        let change = number.checked_sub(1).and_then(|n| self.batch.change(n));
        self.failure = Some(match change {
            Some(change) => {
                let culprit = outcome
                    .offset
                    .map_or(Culprit::Unknown, |offset| culprit(&change, offset));
                let what = describe(change.kind, change.body);
                kernel(outcome.errno, outcome.text, culprit, &what)
            }
            None => kernel(
                outcome.errno,
                outcome.text,
                Culprit::Unknown,
                "commit packet filters",
            ),
        });
    }
}

/// What is at `offset`, from the begin of its header, of a change.
fn culprit(change: &Message<'_>, offset: u32) -> Culprit {
    const NESTED: u16 = 0x8000;
    let start = (offset as usize).checked_sub(HEADER_LEN);
    let Some(bytes) = start.and_then(|start| change.body.get(start..)) else {
        return Culprit::Unknown;
    };
    let is_nested = match bytes {
        [_, _, low, high, ..] => u16::from_ne_bytes([*low, *high]) & NESTED != 0,
        _ => false,
    };
    let Some(attribute) = Attributes::new(bytes).next() else {
        return Culprit::Unknown;
    };
    if is_nested {
        // An expression of a rule: its name comes first.
        let mut inner = attribute.nested();
        return match inner.next() {
            Some(name) if name.kind == NFTA_EXPR_NAME && change.kind == NFT_MSG_NEWRULE => {
                Culprit::Expression(name.text())
            }
            _ => Culprit::Unknown,
        };
    }
    let Some((0, name)) = attribute.value.split_last() else {
        return Culprit::Unknown;
    };
    if name.is_empty() || !name.iter().all(|byte| byte.is_ascii_graphic()) {
        return Culprit::Unknown;
    }
    match (change.kind, attribute.kind) {
        (NFT_MSG_NEWCHAIN, NFTA_CHAIN_TYPE) => Culprit::ChainType(attribute.text()),
        _ => Culprit::Name(attribute.text()),
    }
}
