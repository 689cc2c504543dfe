//! Turns a change into the input of iptables-restore.

use std::fmt::Write;

use super::change::{Change, Op};
use super::rule::Rule;
use super::saved::{RuleFilter, Saved};

/// Returns the input of iptables-restore that applies a change to a table as it was
/// read, `None` if nothing is to be done.
pub(crate) fn plan(change: &Change, saved: &Saved) -> Option<String> {
    let mut plan = Plan::new(saved);
    for op in &change.ops {
        plan.apply(op);
    }
    (!plan.lines.is_empty()).then(|| script(change, &plan.lines))
}

fn script(change: &Change, lines: &str) -> String {
    format!("*{}\n{lines}COMMIT\n", change.table.as_str())
}

/// Returns the input that applies a change without reading the table before, and that
/// **fails as a whole** unless the table is in the usual state: shared chains and their
/// rules exist, the change's own chains do not, and rules to be deleted do. `None` if the
/// input cannot assert that.
///
/// No rule jumps to an own chain that does not exist, so the rules that do are added
/// without a check.
pub(crate) fn blind(change: &Change) -> Option<String> {
    let mut lines = String::new();
    let mut own: Vec<&str> = Vec::new();
    let mut shared: Vec<&str> = Vec::new();
    let mut named: Vec<&str> = Vec::new();
    for op in &change.ops {
        match op {
            Op::Chain(name) => shared.push(name),
            Op::OwnChain(name) | Op::NewChain(name) => {
                own.push(name);
                line(&mut lines, &["-N", name]);
            }
            Op::Append(chain, rule) | Op::Insert(chain, rule) => {
                named.push(chain);
                named.extend(rule.target_name());
                let is_new = own.contains(&chain.as_str())
                    || rule.target_name().is_some_and(|name| own.contains(&name));
                let verb = match op {
                    _ if !is_new => "-C",
                    Op::Insert(..) => "-I",
                    _ => "-A",
                };
                let wanted = [verb, chain, &rule.to_string()].join(" ");
                if !lines.lines().any(|line| line == wanted) {
                    line(&mut lines, &[&wanted]);
                }
            }
            Op::Delete(chain, rule) => {
                // -D deletes one rule. That there is no duplicate is only certain if
                // the chain that it jumps to can be deleted.
                let is_certain = change.ops.iter().any(
                    |op| matches!(op, Op::DeleteChain(name) if rule.target_name() == Some(name)),
                );
                if !is_certain || rule.has_user_args() {
                    return None;
                }
                line(&mut lines, &["-D", chain, &rule.to_string()]);
            }
            // Fails if a rule jumps to the chain.
            Op::DeleteChain(name) | Op::DeleteUnusedChain(name) => {
                line(&mut lines, &["-F", name]);
                line(&mut lines, &["-X", name]);
            }
            // No rule jumps to a new chain.
            Op::DeleteJumps(_, target) if own.contains(&target.as_str()) => {}
            Op::DeleteOldChain(_) => {}
            Op::DeleteLeftover(..) => {}
            Op::DeleteJumps(..) => return None,
        }
    }
    // Only a rule that names a chain asserts that the chain exists.
    let asserted = shared.iter().all(|name| named.contains(name));
    (asserted && !lines.is_empty()).then(|| script(change, &lines))
}

fn line(lines: &mut String, words: &[&str]) {
    lines.push_str(&words.join(" "));
    lines.push('\n');
}

/// The input so far, and the table after it.
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
        // iptables-save prints the rules chain by chain, in the order of the chains.
        let mut at = 0;
        for rule in saved.rules() {
            while plan.chains.get(at).is_some_and(|c| c.name != rule.chain) {
                at += 1;
            }
            if at >= plan.chains.len() {
                at = plan.index_of(rule.chain);
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

    /// Returns the index of a chain, which is added if necessary.
    fn index_of(&mut self, name: &'a str) -> usize {
        let found = self.chains.iter().position(|chain| chain.name == name);
        found.unwrap_or_else(|| {
            self.chains.push(Content {
                name,
                rules: Vec::new(),
            });
            self.chains.len() - 1
        })
    }

    fn apply(&mut self, op: &'a Op) {
        match op {
            Op::Chain(name) | Op::NewChain(name) => self.ensure(name),
            Op::OwnChain(name) => {
                if self.find(name).is_some_and(|chain| !chain.rules.is_empty()) {
                    self.flush(name);
                } else {
                    self.ensure(name);
                }
            }
            Op::Append(chain, rule) => {
                if !self.holds(chain, rule) {
                    self.add(chain, rule, false);
                }
            }
            Op::Insert(chain, rule) => {
                if !self.holds(chain, rule) {
                    self.add(chain, rule, true);
                }
            }
            Op::Delete(chain, rule) | Op::DeleteLeftover(chain, rule) => {
                let filter = RuleFilter::new(rule);
                self.delete_where(chain, |text| filter.matches(rule, text));
            }
            Op::DeleteJumps(chain, target) => {
                self.delete_where(chain, |text| jumps_to(text, target));
            }
            Op::DeleteChain(name) | Op::DeleteOldChain(name) => self.delete_chain(name),
            Op::DeleteUnusedChain(name) => {
                let is_used = self.chains.iter().any(|chain| {
                    chain.name != name && chain.rules.iter().any(|text| jumps_to(text, name))
                });
                if !is_used {
                    self.delete_chain(name);
                }
            }
        }
    }

    fn ensure(&mut self, name: &'a str) {
        if self.find(name).is_none() {
            self.index_of(name);
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
        let filter = RuleFilter::new(rule);
        self.find(chain)
            .is_some_and(|found| found.rules.iter().any(|text| filter.matches(rule, text)))
    }

    fn add(&mut self, chain: &'a str, rule: &Rule, first: bool) {
        let text = rule.to_string();
        let verb = if first { "-I" } else { "-A" };
        line(&mut self.lines, &[verb, chain, &text]);
        let at = self.index_of(chain);
        if let Some(chain) = self.chains.get_mut(at) {
            let index = if first { 0 } else { chain.rules.len() };
            chain.rules.insert(index, text);
        }
    }

    fn delete_where(&mut self, chain: &str, is_deleted: impl FnMut(&str) -> bool) {
        self.delete_in(|name| name == chain, is_deleted);
    }

    fn delete_in(
        &mut self,
        is_searched: impl Fn(&str) -> bool,
        mut is_deleted: impl FnMut(&str) -> bool,
    ) {
        let lines = &mut self.lines;
        for found in self.chains.iter_mut().filter(|c| is_searched(c.name)) {
            let chain = found.name;
            found.rules.retain(|text| {
                let gone = is_deleted(text);
                if gone {
                    // Writing to a String cannot fail.
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
        // The flush deletes the chain's own rules.
        self.delete_in(|chain| chain != name, |text| jumps_to(text, name));
        self.flush(name);
        self.chains.retain(|chain| chain.name != name);
        line(&mut self.lines, &["-X", name]);
    }
}

fn jumps_to(text: &str, target: &str) -> bool {
    text.contains(target) && Rule::parse(text).target_name() == Some(target)
}
