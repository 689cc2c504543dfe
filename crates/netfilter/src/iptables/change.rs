//! Changes of a table, as a list of operations.

use super::rule::Rule;
use super::words::bad_word;
use super::{Family, Table};
use crate::error::Error;

/// Operations on one table, applied in order and in one transaction by
/// [`Iptables::apply`](super::Iptables::apply) and [`delete`](super::delete).
///
/// Each operation states how the table is afterwards, so it does nothing where that is
/// the case already: applying a change twice is the same as applying it once.
#[derive(Clone, Debug)]
#[must_use]
pub struct Change {
    pub(crate) table: Table,
    pub(crate) ops: Vec<Op>,
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Chain(String),
    OwnChain(String),
    NewChain(String),
    Append(String, Rule),
    Insert(String, Rule),
    Delete(String, Rule),
    DeleteLeftover(String, Rule),
    DeleteJumps(String, String),
    DeleteChain(String),
    DeleteOldChain(String),
    DeleteUnusedChain(String),
}

impl Op {
    /// Returns the chain that the operation changes.
    pub(crate) fn chain(&self) -> &str {
        match self {
            Op::Chain(chain)
            | Op::OwnChain(chain)
            | Op::NewChain(chain)
            | Op::Append(chain, _)
            | Op::Insert(chain, _)
            | Op::Delete(chain, _)
            | Op::DeleteLeftover(chain, _)
            | Op::DeleteJumps(chain, _)
            | Op::DeleteChain(chain)
            | Op::DeleteOldChain(chain)
            | Op::DeleteUnusedChain(chain) => chain,
        }
    }

    fn rule(&self) -> Option<&Rule> {
        match self {
            Op::Append(_, rule)
            | Op::Insert(_, rule)
            | Op::Delete(_, rule)
            | Op::DeleteLeftover(_, rule) => Some(rule),
            _ => None,
        }
    }
}

impl Change {
    /// Returns a change without operations.
    pub fn new(table: Table) -> Change {
        Change {
            table,
            ops: Vec::new(),
        }
    }

    /// The chain exists.
    pub fn chain(self, name: &str) -> Change {
        self.with(Op::Chain(name.to_owned()))
    }

    /// The chain exists and has only the rules that this change appends: a chain of one
    /// owner.
    pub fn own_chain(self, name: &str) -> Change {
        self.with(Op::OwnChain(name.to_owned()))
    }

    /// The chain exists. It is expected to be new; if it is not, its rules stay.
    pub fn new_chain(self, name: &str) -> Change {
        self.with(Op::NewChain(name.to_owned()))
    }

    /// The rule is in the chain; a missing rule is appended.
    pub fn append(self, chain: &str, rule: Rule) -> Change {
        self.with(Op::Append(chain.to_owned(), rule))
    }

    /// The rule is in the chain; a missing rule is inserted at the top. To move it to the
    /// top, [`Change::delete`] it first.
    pub fn insert(self, chain: &str, rule: Rule) -> Change {
        self.with(Op::Insert(chain.to_owned(), rule))
    }

    /// The rule is not in the chain; duplicates are deleted as well.
    pub fn delete(self, chain: &str, rule: Rule) -> Change {
        self.with(Op::Delete(chain.to_owned(), rule))
    }

    /// As [`Change::delete`], for a rule that is not expected: only old releases added it.
    pub fn delete_leftover(self, chain: &str, rule: Rule) -> Change {
        self.with(Op::DeleteLeftover(chain.to_owned(), rule))
    }

    /// No rule of `chain` jumps to `target`, except those that this change appends later.
    pub fn delete_jumps(self, chain: &str, target: &str) -> Change {
        self.with(Op::DeleteJumps(chain.to_owned(), target.to_owned()))
    }

    /// Neither the chain nor a rule of the table that jumps to it exists.
    pub fn delete_chain(self, name: &str) -> Change {
        self.with(Op::DeleteChain(name.to_owned()))
    }

    /// As [`Change::delete_chain`], for a chain that is not expected: only old releases
    /// created it. It is looked for only if the table is read for other operations.
    pub fn delete_old_chain(self, name: &str) -> Change {
        self.with(Op::DeleteOldChain(name.to_owned()))
    }

    /// The chain does not exist, unless a rule of another chain still jumps to it.
    pub fn delete_unused_chain(self, name: &str) -> Change {
        self.with(Op::DeleteUnusedChain(name.to_owned()))
    }

    fn with(mut self, op: Op) -> Change {
        self.ops.push(op);
        self
    }

    /// Returns whether there are no operations.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Returns an error if iptables-restore cannot express the change.
    pub(crate) fn validate(&self, family: Family) -> Result<(), Error> {
        let problem = self.ops.iter().find_map(|op| {
            let bad_words = || op.rule()?.words().iter().find_map(|word| bad_word(word));
            bad_chain(op.chain()).or_else(bad_words)
        });
        match problem {
            Some(problem) => Err(Error::invalid(problem, family.command())),
            None => Ok(()),
        }
    }
}

/// `XT_EXTENSION_MAXNAMELEN` (`linux/netfilter/x_tables.h`), without the terminating
/// zero.
const CHAIN_MAX: usize = 28;

/// Returns why `name` is not a valid chain name, `None` if it is one.
fn bad_chain(name: &str) -> Option<String> {
    let bad = name.is_empty()
        || name.len() > CHAIN_MAX
        || name.starts_with(['-', '!'])
        || !name.bytes().all(|byte| byte.is_ascii_graphic());
    bad.then(|| format!("invalid chain name {name:?}: 1 to {CHAIN_MAX} characters"))
}
