//! From wishes to the input of iptables-restore.

use std::collections::BTreeMap;
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
                line(&mut lines, &[verb, chain, &rule.to_string()]);
            }
            Wish::Delete(chain, rule) => {
                if rule.has_free_words() {
                    return None;
                }
                line(&mut lines, &["-D", chain, &rule.to_string()]);
            }
            // A chain that a rule leads to is not deleted, and the rest neither.
            Wish::DeleteChain(name) | Wish::DeleteUnusedChain(name) => {
                line(&mut lines, &["-F", name]);
                line(&mut lines, &["-X", name]);
            }
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
    chains: BTreeMap<&'a str, Vec<String>>,
    lines: String,
}

impl<'a> Plan<'a> {
    fn new(saved: &'a Saved) -> Plan<'a> {
        let mut chains: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for chain in saved.chains() {
            chains.entry(chain).or_default();
        }
        for rule in saved.rules() {
            let rules = chains.entry(rule.chain).or_default();
            rules.push(rule.text.to_owned());
        }
        Plan {
            chains,
            lines: String::new(),
        }
    }

    fn fulfil(&mut self, wish: &'a Wish) {
        match wish {
            Wish::Chain(name) | Wish::NewChain(name) => self.ensure(name),
            Wish::OwnChain(name) => {
                if self
                    .chains
                    .get(name.as_str())
                    .is_some_and(|r| !r.is_empty())
                {
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
            Wish::DeleteChain(name) => self.delete_chain(name),
            Wish::DeleteUnusedChain(name) => {
                let is_used = self.chains.iter().any(|(chain, rules)| {
                    chain != name && rules.iter().any(|text| leads_to(text, name))
                });
                if !is_used {
                    self.delete_chain(name);
                }
            }
        }
    }

    fn ensure(&mut self, name: &'a str) {
        if !self.chains.contains_key(name) {
            self.chains.insert(name, Vec::new());
            line(&mut self.lines, &["-N", name]);
        }
    }

    fn flush(&mut self, name: &str) {
        if let Some(rules) = self.chains.get_mut(name) {
            rules.clear();
        }
        line(&mut self.lines, &["-F", name]);
    }

    fn holds(&self, chain: &str, rule: &Rule) -> bool {
        let looked_for = Looked::new(rule);
        self.chains
            .get(chain)
            .is_some_and(|rules| rules.iter().any(|text| looked_for.is(rule, text)))
    }

    fn add(&mut self, chain: &'a str, rule: &Rule, first: bool) {
        let text = rule.to_string();
        let verb = if first { "-I" } else { "-A" };
        line(&mut self.lines, &[verb, chain, &text]);
        let rules = self.chains.entry(chain).or_default();
        if first {
            rules.insert(0, text);
        } else {
            rules.push(text);
        }
    }

    fn delete_where(&mut self, chain: &str, mut doomed: impl FnMut(&str) -> bool) {
        let Some(rules) = self.chains.get_mut(chain) else {
            return;
        };
        let lines = &mut self.lines;
        rules.retain(|text| {
            let gone = doomed(text);
            if gone {
                // Writing to a string does not fail.
                let _ = writeln!(lines, "-D {chain} {text}");
            }
            !gone
        });
    }

    fn delete_chain(&mut self, name: &str) {
        if !self.chains.contains_key(name) {
            return;
        }
        let all: Vec<&str> = self.chains.keys().copied().collect();
        for chain in all {
            // Its own rules go with the flush.
            if chain != name {
                self.delete_where(chain, |text| leads_to(text, name));
            }
        }
        self.flush(name);
        self.chains.remove(name);
        line(&mut self.lines, &["-X", name]);
    }
}

fn leads_to(text: &str, target: &str) -> bool {
    text.contains(target) && Rule::parse(text).target_name() == Some(target)
}
