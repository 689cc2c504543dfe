//! What is to be changed in a table, as a list of wishes.

use super::rule::Rule;
use super::words::bad_word;
use super::{Table, saved::SavedRule};

/// Wishes about one table, fulfilled in their order by
/// [`Iptables::apply`](super::Iptables::apply), all or none.
///
/// A wish that is fulfilled already costs nothing: applying a change twice is
/// applying it once.
#[derive(Clone, Debug)]
#[must_use]
pub struct Change {
    pub(crate) table: Table,
    pub(crate) wishes: Vec<Wish>,
}

#[derive(Clone, Debug)]
pub(crate) enum Wish {
    Chain(String),
    OwnChain(String),
    NewChain(String),
    Append(String, Rule),
    Insert(String, Rule),
    Delete(String, Rule),
    /// The text of a rule as it was read.
    DeleteSaved(String, String),
    DeleteLeftover(String, Rule),
    DeleteJumps(String, String),
    DeleteChain(String),
    DeleteOldChain(String),
    DeleteUnusedChain(String),
}

impl Change {
    /// No wishes yet.
    pub fn new(table: Table) -> Change {
        Change {
            table,
            wishes: Vec::new(),
        }
    }

    /// The chain exists.
    pub fn chain(self, name: &str) -> Change {
        self.wish(Wish::Chain(name.to_owned()))
    }

    /// The chain exists, and holds nothing but what this change appends to it:
    /// a chain that nobody else puts rules into.
    pub fn own_chain(self, name: &str) -> Change {
        self.wish(Wish::OwnChain(name.to_owned()))
    }

    /// The chain exists. It is expected not to, and if it does, what it holds stays:
    /// a chain that few may share.
    pub fn new_chain(self, name: &str) -> Change {
        self.wish(Wish::NewChain(name.to_owned()))
    }

    /// The rule is in the chain; if it is not, it becomes the last one.
    pub fn append(self, chain: &str, rule: Rule) -> Change {
        self.wish(Wish::Append(chain.to_owned(), rule))
    }

    /// The rule is in the chain; if it is not, it becomes the first one. To have
    /// it first in any case, [`Change::delete`] it before.
    pub fn insert(self, chain: &str, rule: Rule) -> Change {
        self.wish(Wish::Insert(chain.to_owned(), rule))
    }

    /// The rule is not in the chain, however often it was.
    pub fn delete(self, chain: &str, rule: Rule) -> Change {
        self.wish(Wish::Delete(chain.to_owned(), rule))
    }

    /// A rule that was read is gone. Of several alike, one goes.
    pub fn delete_saved(self, rule: &SavedRule<'_>) -> Change {
        let (chain, text) = (rule.chain.to_owned(), rule.text.to_owned());
        self.wish(Wish::DeleteSaved(chain, text))
    }

    /// The rule is not in the chain, where it is not expected anyway.
    pub fn delete_leftover(self, chain: &str, rule: Rule) -> Change {
        self.wish(Wish::DeleteLeftover(chain.to_owned(), rule))
    }

    /// No rule of `chain` leads to `target`, but for those that this change
    /// appends after this.
    pub fn delete_jumps(self, chain: &str, target: &str) -> Change {
        self.wish(Wish::DeleteJumps(chain.to_owned(), target.to_owned()))
    }

    /// The chain does not exist, and no rule of the table leads to it.
    pub fn delete_chain(self, name: &str) -> Change {
        self.wish(Wish::DeleteChain(name.to_owned()))
    }

    /// As [`Change::delete_chain`], of a chain that hardly any host has still:
    /// it is looked for only if the table is read for the sake of the rest.
    pub fn delete_old_chain(self, name: &str) -> Change {
        self.wish(Wish::DeleteOldChain(name.to_owned()))
    }

    /// The chain does not exist, unless a rule of another chain still leads to it.
    pub fn delete_unused_chain(self, name: &str) -> Change {
        self.wish(Wish::DeleteUnusedChain(name.to_owned()))
    }

    fn wish(mut self, wish: Wish) -> Change {
        self.wishes.push(wish);
        self
    }

    /// Whether nothing is wished for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wishes.is_empty()
    }

    /// What cannot be said to iptables-restore, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        self.wishes.iter().find_map(|wish| {
            let (chain, rule) = match wish {
                Wish::Chain(chain)
                | Wish::OwnChain(chain)
                | Wish::NewChain(chain)
                | Wish::DeleteChain(chain)
                | Wish::DeleteOldChain(chain)
                | Wish::DeleteUnusedChain(chain)
                | Wish::DeleteSaved(chain, _)
                | Wish::DeleteJumps(chain, _) => (chain, None),
                Wish::Append(chain, rule)
                | Wish::Insert(chain, rule)
                | Wish::Delete(chain, rule)
                | Wish::DeleteLeftover(chain, rule) => (chain, Some(rule)),
            };
            bad_chain(chain).or_else(|| rule?.words().iter().find_map(|word| bad_word(word)))
        })
    }
}

/// `XT_EXTENSION_MAXNAMELEN` (`linux/netfilter/x_tables.h`), without the zero.
const CHAIN_MAX: usize = 28;

/// Why it cannot be the name of a chain, if so.
fn bad_chain(name: &str) -> Option<String> {
    let bad = name.is_empty()
        || name.len() > CHAIN_MAX
        || name.starts_with(['-', '!'])
        || !name.bytes().all(|byte| byte.is_ascii_graphic());
    bad.then(|| format!("invalid chain name {name:?}: 1 to {CHAIN_MAX} letters"))
}
