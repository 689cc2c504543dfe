//! `cargo xtask conformance`: writes the rules of cni-conformance, and results of several implementations, to pages.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{build, commands, page, project};

const RULES_PAGE: &str = "Documentation/conformance.md";
const RESULTS_PAGE: &str = "Documentation/conformance-results.md";

/// The severities, in the order of their weight.
const SEVERITIES: [&str; 3] = ["must", "runtime", "should"];

/// The later one counts if two kernels have different ones: a rule that one kernel prevents does not apply there.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Outcome {
    NotApplicable,
    Passed,
    NotRun,
    Failed,
}

impl Outcome {
    /// The outcome by its name in JSON.
    fn named(name: &str) -> Option<Outcome> {
        Some(match name {
            "not-applicable" => Outcome::NotApplicable,
            "passed" => Outcome::Passed,
            "not-run" => Outcome::NotRun,
            "failed" => Outcome::Failed,
            _ => return None,
        })
    }
}

/// The results of an implementation.
struct Side {
    name: String,
    /// By plugin and rule.
    results: BTreeMap<String, BTreeMap<String, Verdict>>,
}

/// The severity of a rule, and what became of it.
type Verdict = (String, Outcome);

/// Writes the pages from files with results: arguments `NAME=FILE,FILE…`, several files if there are several kernels.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let list = commands::read(
        commands::cargo(&project::root(), ["run", "--quiet", "--package"]).args([
            build::CONFORMANCE,
            "--",
            "--list",
            "--markdown",
            "-",
        ]),
    )?;
    page::replace(RULES_PAGE, "rules", &list)?;
    let sides: Vec<Side> = arguments
        .iter()
        .map(|argument| read(argument))
        .collect::<Result<_>>()?;
    if !sides.is_empty() {
        page::replace(RULES_PAGE, "results", &by_plugin(&sides))?;
        let rules: Vec<&str> = list.lines().filter_map(rule_of).collect();
        page::replace(RESULTS_PAGE, "results", &by_rule(&sides, &rules))?;
    }
    Ok(())
}

/// The rule of a line of the list.
fn rule_of(line: &str) -> Option<&str> {
    Some(line.strip_prefix("| `")?.split_once('`')?.0)
}

fn read(argument: &str) -> Result<Side> {
    let (name, files) = argument
        .split_once('=')
        .with_context(|| format!("{argument}: NAME=FILE,FILE is expected"))?;
    let mut side = Side {
        name: name.to_owned(),
        results: BTreeMap::new(),
    };
    for file in files.split(',') {
        let text = fs::read(file).with_context(|| file.to_owned())?;
        let report = serde_json::from_slice(&text).with_context(|| file.to_owned())?;
        side.add(&report)
            .with_context(|| format!("{file}: not what cni-conformance --json writes"))?;
    }
    ensure!(!side.results.is_empty(), "{argument}: no results");
    Ok(side)
}

impl Side {
    /// Adds a report; `None` if it has another form.
    fn add(&mut self, report: &Value) -> Option<()> {
        for plugin in report["plugins"].as_array()? {
            let name = plugin["plugin"].as_str()?.to_owned();
            let results = self.results.entry(name).or_default();
            for result in plugin["results"].as_array()? {
                let text = |key: &str| result[key].as_str();
                let outcome = Outcome::named(text("outcome")?)?;
                let verdict = (text("severity")?.to_owned(), outcome);
                let own = results.entry(text("rule")?.to_owned()).or_insert(verdict);
                if outcome > own.1 {
                    own.1 = outcome;
                }
            }
        }
        Some(())
    }

    /// The numbers of rules of a plugin that passed and failed, by severity.
    fn of_plugin(&self, plugin: &str) -> String {
        let Some(results) = self.results.get(plugin) else {
            return "–".into();
        };
        let passed = results
            .values()
            .filter(|(_, outcome)| *outcome == Outcome::Passed);
        let mut text = format!("{} passed", passed.count());
        for severity in SEVERITIES {
            let failed = results
                .values()
                .filter(|(own, outcome)| own == severity && *outcome >= Outcome::NotRun);
            match failed.count() {
                0 => {}
                count => text += &format!(", {count} {severity} failed"),
            }
        }
        text
    }

    /// The number of plugins that passed a rule, and the names of those that failed.
    fn of_rule(&self, rule: &str) -> String {
        let outcomes = self
            .results
            .iter()
            .filter_map(|(plugin, results)| Some((plugin, results.get(rule)?.1)));
        let outcomes: Vec<(&String, Outcome)> = outcomes.collect();
        let passed = outcomes
            .iter()
            .filter(|(_, outcome)| *outcome == Outcome::Passed)
            .count();
        let failed: Vec<&str> = outcomes
            .iter()
            .filter(|(_, outcome)| *outcome >= Outcome::NotRun)
            .map(|(plugin, _)| plugin.as_str())
            .collect();
        match (passed, failed.is_empty()) {
            (0, true) => "–".into(),
            (_, true) => passed.to_string(),
            (_, false) => format!("{passed}; not {}", failed.join(", ")),
        }
    }
}

/// A table with a line for each plugin of the first side.
fn by_plugin(sides: &[Side]) -> String {
    let mut text = head("plugin", sides);
    for plugin in sides[0].results.keys() {
        let cells: Vec<String> = sides.iter().map(|side| side.of_plugin(plugin)).collect();
        text += &format!("| {plugin} | {} |\n", cells.join(" | "));
    }
    text
}

/// A table with a line for each rule.
fn by_rule(sides: &[Side], rules: &[&str]) -> String {
    let mut text = head("rule", sides);
    for rule in rules {
        let cells: Vec<String> = sides.iter().map(|side| side.of_rule(rule)).collect();
        text += &format!("| `{rule}` | {} |\n", cells.join(" | "));
    }
    text
}

fn head(first: &str, sides: &[Side]) -> String {
    let names: Vec<&str> = sides.iter().map(|side| side.name.as_str()).collect();
    format!(
        "| {first} | {} |\n|{}\n",
        names.join(" | "),
        "---|".repeat(sides.len() + 1)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(name: &str, reports: &[&str]) -> Side {
        let mut side = Side {
            name: name.into(),
            results: BTreeMap::new(),
        };
        for report in reports {
            let report = serde_json::from_str(report).expect("JSON");
            side.add(&report).expect("a report");
        }
        side
    }

    const FIRST: &str = r#"{"plugins": [
        {"plugin": "bridge", "results": [
            {"rule": "add.one", "severity": "must", "outcome": "passed"},
            {"rule": "add.two", "severity": "should", "outcome": "failed"}]},
        {"plugin": "vlan", "results": [
            {"rule": "add.one", "severity": "must", "outcome": "not-applicable"},
            {"rule": "add.two", "severity": "should", "outcome": "not-applicable"}]}]}"#;
    const OTHER_KERNEL: &str = r#"{"plugins": [{"plugin": "vlan", "results": [
        {"rule": "add.one", "severity": "must", "outcome": "passed"}]}]}"#;

    #[test]
    fn results_of_several_kernels_are_one() {
        let sides = [
            side("ours", &[FIRST, OTHER_KERNEL]),
            side("theirs", &[OTHER_KERNEL]),
        ];
        assert_eq!(
            by_plugin(&sides),
            "| plugin | ours | theirs |\n|---|---|---|\n\
             | bridge | 1 passed, 1 should failed | – |\n| vlan | 1 passed | 1 passed |\n"
        );
        assert_eq!(
            by_rule(&sides, &["add.one", "add.two", "add.three"]),
            "| rule | ours | theirs |\n|---|---|---|\n| `add.one` | 2 | 1 |\n\
             | `add.two` | 0; not bridge | – |\n| `add.three` | – | – |\n"
        );
    }

    #[test]
    fn rules_are_found_in_the_list() {
        assert_eq!(rule_of("| `add.one` | must | … |"), Some("add.one"));
        assert_eq!(rule_of("| rule | severity |"), None);
    }
}
