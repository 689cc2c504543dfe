//! The results of a run: tables with notes, goals and raw data, as Markdown, as JSON, and inside a page.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::table::table;
use super::targets::{self, Target};

/// The results of one section.
pub(crate) struct Report {
    /// The name on the command line and in the markers of a page.
    pub(crate) name: String,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    /// How it was measured: rounds, and what the reader must know of a column.
    pub(crate) notes: String,
    /// The raw results, in a form that the section chooses.
    pub(crate) data: Value,
    pub(crate) targets: Vec<Target>,
}

impl Report {
    pub(crate) fn new(name: &str, head: &[&str], rows: Vec<Vec<String>>) -> Report {
        Report {
            name: name.to_owned(),
            head: head.iter().map(|word| (*word).to_owned()).collect(),
            rows,
            notes: String::new(),
            data: Value::Null,
            targets: Vec::new(),
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name, "head": self.head, "rows": self.rows, "notes": self.notes, "data": self.data,
            "targets": self.targets.iter().map(Target::to_json).collect::<Vec<_>>(),
        })
    }

    fn from_json(value: &Value) -> Option<Report> {
        let words = |list: &Value| -> Option<Vec<String>> {
            let words = list.as_array()?.iter();
            words.map(|word| word.as_str().map(String::from)).collect()
        };
        let targets = value["targets"].as_array()?.iter();
        Some(Report {
            name: value["name"].as_str()?.to_owned(),
            head: words(&value["head"])?,
            rows: value["rows"]
                .as_array()?
                .iter()
                .map(words)
                .collect::<Option<_>>()?,
            notes: value["notes"].as_str()?.to_owned(),
            data: value["data"].clone(),
            targets: targets.map(Target::from_json).collect::<Option<_>>()?,
        })
    }
}

/// All results of a run.
pub(crate) struct Results {
    pub(crate) version: String,
    pub(crate) environment: String,
    pub(crate) reports: Vec<Report>,
}

impl Results {
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let json = json!({
            "version": self.version, "environment": self.environment,
            "sections": self.reports.iter().map(Report::to_json).collect::<Vec<_>>(),
        });
        fs::write(file, format!("{json:#}\n")).with_context(|| file.display().to_string())
    }

    /// Reads what [`Results::write`] wrote.
    pub(crate) fn read(file: &Path) -> Result<Results> {
        let read = || -> Result<Results> {
            let json: Value = serde_json::from_str(&fs::read_to_string(file)?)?;
            let text = |key: &str| json[key].as_str().map(String::from).context("no results");
            let sections = json["sections"].as_array().context("no sections")?.iter();
            let reports = sections.map(Report::from_json).collect::<Option<_>>();
            Ok(Results {
                version: text("version")?,
                environment: text("environment")?,
                reports: reports.context("not written by this version of the benchmark")?,
            })
        };
        read().with_context(|| file.display().to_string())
    }

    pub(crate) fn print(&self) {
        for report in &self.reports {
            println!("\n## {}\n\n{}", report.name, self.section(report));
        }
        let targets = || self.reports.iter().flat_map(|report| &report.targets);
        let met = targets().filter(|target| target.met).count();
        println!("\n{met} of {} goals met", targets().count());
    }

    /// A section in Markdown: the table, where and how it was measured, and the goals.
    fn section(&self, report: &Report) -> String {
        let head: Vec<&str> = report.head.iter().map(String::as_str).collect();
        let mut text = table(&head, report.rows.iter().cloned());
        text += &format!(
            "\n\n{} {}; {}.",
            report.notes, self.environment, self.version
        );
        if !report.targets.is_empty() {
            text += &format!("\n\n{}", targets::shown(&report.targets));
        }
        text
    }

    /// Replaces the sections of a page: what is between the lines `<!-- bench NAME -->` and `<!-- end -->`. Sections
    /// that this run does not have stay as they are.
    pub(crate) fn insert_into(&self, page: &Path) -> Result<()> {
        let old = fs::read_to_string(page).with_context(|| page.display().to_string())?;
        let new = self.inserted(&old);
        fs::write(page, new).with_context(|| page.display().to_string())
    }

    fn inserted(&self, page: &str) -> String {
        let mut text = page.to_owned();
        for report in &self.reports {
            let start = format!("<!-- bench {} -->\n", report.name);
            let Some((before, rest)) = text.split_once(&start) else {
                continue;
            };
            if let Some((_, after)) = rest.split_once("<!-- end -->") {
                let section = self.section(report);
                text = format!("{before}{start}\n{section}\n\n<!-- end -->{after}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let mut report = Report::new("sizes", &["binary"], vec![vec!["bridge".into()]]);
        report.notes = "Once.".into();
        report.targets = vec![Target::at_most("it".into(), 1.0, 2.0, "x", "that")];
        Results {
            version: "v1".into(),
            environment: "a machine".into(),
            reports: vec![report],
        }
    }

    #[test]
    fn results_survive_a_file() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        results().write(file.path()).expect("written");
        let read = Results::read(file.path()).expect("read");
        assert_eq!(
            read.section(&read.reports[0]),
            results().section(&results().reports[0])
        );
        fs::write(file.path(), "{}").expect("written");
        assert!(Results::read(file.path()).is_err());
    }

    #[test]
    fn only_sections_of_the_run_are_replaced() {
        let page = "a\n<!-- bench sizes -->\nold\n<!-- end -->\nb\n<!-- bench other -->\nkept\n<!-- end -->\n";
        let new = results().inserted(page);
        assert!(new.contains("| bridge |") && !new.contains("old"), "{new}");
        assert!(new.contains("Once. a machine; v1."), "{new}");
        assert!(new.ends_with("b\n<!-- bench other -->\nkept\n<!-- end -->\n"));
        assert_eq!(results().inserted(&new), new);
    }
}
