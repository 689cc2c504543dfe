//! From wishes to the input of iptables-restore.

use std::fmt::Write;

use super::change::{Change, Wish};
use super::rule::Rule;
use super::saved::{Looked, Saved};

/// The input of iptables-restore that fulfils a change, for a table as it was
/// read. `None` if it is fulfilled already.
pub(crate) fn plan(change: &Change, saved: &Saved) -> Option<String> {
    let mut plan = Plan::new(saved);
    for wish in &change.wishes {
        plan.fulfil(wish);
    }
    (!plan.lines.is_empty()).then(|| script(change, &plan.lines))
}

fn script(change: &Change, lines: &str) -> String {
    format!("*{}\n{lines}COMMIT\n", change.table.as_str())
}

/// The input that fulfils a change without having read the table, and that
/// **fails as a whole** unless the table is as it mostly is: shared chains and
/// their rules are there, the change's own chains are not, and rules to be
/// deleted are. `None` if that cannot be asserted.
///
/// A chain of one's own that does not exist has no rules leading to it, so
/// those can be added without looking for them.
pub(crate) fn blind(change: &Change) -> Option<String> {
    let mut lines = String::new();
    let mut own: Vec<&str> = Vec::new();
    let mut shared: Vec<&str> = Vec::new();
    let mut named: Vec<&str> = Vec::new();
    for wish in &change.wishes {
        match wish {
            Wish::Chain(name) => shared.push(name),
            Wish::OwnChain(name) | Wish::NewChain(name) => {
                own.push(name);
                line(&mut lines, &["-N", name]);
            }
            Wish::Append(chain, rule) | Wish::Insert(chain, rule) => {
                named.push(chain);
                named.extend(rule.target_name());
                let is_new = own.contains(&chain.as_str())
                    || rule.target_name().is_some_and(|name| own.contains(&name));
                let verb = match wish {
                    _ if !is_new => "-C",
                    Wish::Insert(..) => "-I",
                    _ => "-A",
                };
                let wished = [verb, chain, &rule.to_string()].join(" ");
                if !lines.lines().any(|line| line == wished) {
                    line(&mut lines, &[&wished]);
                }
            }
            Wish::Delete(chain, rule) => {
                // One goes; that there was no other like it is only sure if the
                // chain that they lead to can be deleted.
                let sure = change.wishes.iter().any(|wish| {
                    matches!(wish, Wish::DeleteChain(name) if rule.target_name() == Some(name))
                });
                if !sure || rule.has_free_words() {
                    return None;
                }
                line(&mut lines, &["-D", chain, &rule.to_string()]);
            }
            // A chain that a rule leads to is not deleted, and the rest neither.
            Wish::DeleteChain(name) | Wish::DeleteUnusedChain(name) => {
                line(&mut lines, &["-F", name]);
                line(&mut lines, &["-X", name]);
            }
            // To a chain that is new nothing leads.
            Wish::DeleteJumps(_, target) if own.contains(&target.as_str()) => {}
            Wish::DeleteOldChain(_) => {}
            Wish::DeleteLeftover(..) => {}
            Wish::DeleteSaved(..) | Wish::DeleteJumps(..) => return None,
        }
    }
    // That a chain exists can only be asserted by a rule that names it.
    let asserted = shared.iter().all(|name| named.contains(name));
    (asserted && !lines.is_empty()).then(|| script(change, &lines))
}

fn line(lines: &mut String, words: &[&str]) {
    lines.push_str(&words.join(" "));
    lines.push('\n');
}

/// The table as it will be when the lines so far were carried out.
struct Plan<'a> {
    chains: Vec<Content<'a>>,
    lines: String,
}

/// A chain and the texts of its rules.
struct Content<'a> {
    name: &'a str,
    rules: Vec<String>,
}

impl<'a> Plan<'a> {
    fn new(saved: &'a Saved) -> Plan<'a> {
        let mut plan = Plan {
            chains: Vec::new(),
            lines: String::new(),
        };
        plan.chains.extend(saved.chains().map(|name| Content {
            name,
            rules: Vec::new(),
        }));
        // Rules come chain by chain, in the order of the chains.
        let mut at = 0;
        for rule in saved.rules() {
            while plan.chains.get(at).is_some_and(|c| c.name != rule.chain) {
                at += 1;
            }
            if at >= plan.chains.len() {
                at = plan.place_of(rule.chain);
            }
            if let Some(chain) = plan.chains.get_mut(at) {
                chain.rules.push(rule.text.to_owned());
            }
        }
        plan
    }

    fn find(&self, name: &str) -> Option<&Content<'a>> {
        self.chains.iter().find(|chain| chain.name == name)
    }

    /// Where the chain is, which is there from now on.
    fn place_of(&mut self, name: &'a str) -> usize {
        let found = self.chains.iter().position(|chain| chain.name == name);
        found.unwrap_or_else(|| {
            self.chains.push(Content {
                name,
                rules: Vec::new(),
            });
            self.chains.len() - 1
        })
    }

    fn fulfil(&mut self, wish: &'a Wish) {
        match wish {
            Wish::Chain(name) | Wish::NewChain(name) => self.ensure(name),
            Wish::OwnChain(name) => {
                if self.find(name).is_some_and(|chain| !chain.rules.is_empty()) {
                    self.flush(name);
                } else {
                    self.ensure(name);
                }
            }
            Wish::Append(chain, rule) => {
                if !self.holds(chain, rule) {
                    self.add(chain, rule, false);
                }
            }
            Wish::Insert(chain, rule) => {
                if !self.holds(chain, rule) {
                    self.add(chain, rule, true);
                }
            }
            Wish::Delete(chain, rule) | Wish::DeleteLeftover(chain, rule) => {
                let looked_for = Looked::new(rule);
                self.delete_where(chain, |text| looked_for.is(rule, text));
            }
            Wish::DeleteSaved(chain, text) => {
                let mut gone = false;
                self.delete_where(chain, |found| {
                    let hit = !gone && found == text;
                    gone |= hit;
                    hit
                });
            }
            Wish::DeleteJumps(chain, target) => {
                self.delete_where(chain, |text| leads_to(text, target));
            }
            Wish::DeleteChain(name) | Wish::DeleteOldChain(name) => self.delete_chain(name),
            Wish::DeleteUnusedChain(name) => {
                let is_used = self.chains.iter().any(|chain| {
                    chain.name != name && chain.rules.iter().any(|text| leads_to(text, name))
                });
                if !is_used {
                    self.delete_chain(name);
                }
            }
        }
    }

    fn ensure(&mut self, name: &'a str) {
        if self.find(name).is_none() {
            self.place_of(name);
            line(&mut self.lines, &["-N", name]);
        }
    }

    fn flush(&mut self, name: &str) {
        for chain in self.chains.iter_mut().filter(|chain| chain.name == name) {
            chain.rules.clear();
        }
        line(&mut self.lines, &["-F", name]);
    }

    fn holds(&self, chain: &str, rule: &Rule) -> bool {
        let looked_for = Looked::new(rule);
        self.find(chain)
            .is_some_and(|found| found.rules.iter().any(|text| looked_for.is(rule, text)))
    }

    fn add(&mut self, chain: &'a str, rule: &Rule, first: bool) {
        let text = rule.to_string();
        let verb = if first { "-I" } else { "-A" };
        line(&mut self.lines, &[verb, chain, &text]);
        let at = self.place_of(chain);
        if let Some(chain) = self.chains.get_mut(at) {
            let place = if first { 0 } else { chain.rules.len() };
            chain.rules.insert(place, text);
        }
    }

    fn delete_where(&mut self, chain: &str, doomed: impl FnMut(&str) -> bool) {
        self.delete_in(|name| name == chain, doomed);
    }

    fn delete_in(
        &mut self,
        concerned: impl Fn(&str) -> bool,
        mut doomed: impl FnMut(&str) -> bool,
    ) {
        let lines = &mut self.lines;
        for found in self.chains.iter_mut().filter(|c| concerned(c.name)) {
            let chain = found.name;
            found.rules.retain(|text| {
                let gone = doomed(text);
                if gone {
                    // Writing to a string does not fail.
                    let _ = writeln!(lines, "-D {chain} {text}");
                }
                !gone
            });
        }
    }

    fn delete_chain(&mut self, name: &str) {
        if self.find(name).is_none() {
            return;
        }
        // Its own rules go with the flush.
        self.delete_in(|chain| chain != name, |text| leads_to(text, name));
        self.flush(name);
        self.chains.retain(|chain| chain.name != name);
        line(&mut self.lines, &["-X", name]);
    }
}

fn leads_to(text: &str, target: &str) -> bool {
    text.contains(target) && Rule::parse(text).target_name() == Some(target)
}
