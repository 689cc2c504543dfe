//! The section `all-in-one`: the binary that contains all plugins, beside the separate ones.
//!
//! Its delegates run in its own process, so that ADD with an IPAM plugin should be faster by the start of one process.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;

use super::cases::{CASES, Case};
use super::figures::{Figures, Sample};
use super::report::Report;
use super::run::{self, Contender};
use super::targets::Target;
use super::{Section, Setup};
use crate::project;

pub(super) const SECTION: Section = Section {
    name: "all-in-one",
    needs: &[],
    measure,
};

/// Rounds of a full and of a quick run.
const ROUNDS: (usize, usize) = (100, 15);

/// The case of the goal, and others.
const ATTACHMENT: &str = "bridge+host-local IPv4";
const NAMES: [&str; 3] = ["loopback", ATTACHMENT, "Kubernetes chain nftables"];

const HEAD: [&str; 8] = [
    "case",
    "verb",
    "all-in-one ms",
    "separate ms",
    "processes",
    "separate",
    "KiB",
    "separate",
];

fn measure(setup: &Setup<'_>) -> Result<Report> {
    let rounds = setup.rounds(ROUNDS);
    let cases: Vec<&Case> = CASES
        .iter()
        .filter(|case| NAMES.contains(&case.name))
        .collect();
    let sides = [("ours", project::bin()), ("all-in-one", installed(&cases)?)];
    let sides = sides.map(|(tag, dir)| Contender {
        tag,
        dir,
        env: None,
    });
    let figures = run::compare(&cases, &sides, setup.tools, rounds)?;
    let empty = run::empty(setup.tools, rounds)?;
    let pairs: Vec<(&Figures, &Sample)> = figures
        .iter()
        .filter_map(|row| Some((row, row.other.as_ref()?)))
        .collect();
    let cells = |(row, other): &(&Figures, &Sample)| {
        vec![
            row.case.to_owned(),
            row.verb.to_owned(),
            format!("{:.2}", other.median()),
            format!("{:.2}", row.ours.median()),
            other.counts.processes.to_string(),
            row.ours.counts.processes.to_string(),
            other.memory.to_string(),
            row.ours.memory.to_string(),
        ]
    };
    let mut report = Report::new(SECTION.name, &HEAD, pairs.iter().map(cells).collect());
    report.notes =
        format!("Medians of {rounds} rounds; an empty static process takes {empty:.2} ms.");
    report.data = json!(figures.iter().map(Figures::to_json).collect::<Vec<_>>());
    let add = pairs
        .iter()
        .find(|(row, _)| (row.case, row.verb) == (ATTACHMENT, "ADD"));
    let target = add.map(|(row, other)| {
        let gain = row.ours.median() - other.median();
        Target {
            what: format!("{ATTACHMENT} ADD"),
            wanted: format!("faster by at least an empty process, {empty:.2} ms"),
            is: format!("{gain:.2} ms"),
            met: gain >= empty,
        }
    });
    report.targets = target.into_iter().collect();
    Ok(report)
}

/// Returns a directory with links to the binary for these cases.
fn installed(cases: &[&Case]) -> Result<PathBuf> {
    let dir = project::target().join("variants").join(SECTION.name);
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let chains = cases.iter().flat_map(|case| case.chain);
    for plugin in chains.map(|(plugin, _)| *plugin).chain(["host-local"]) {
        let link = dir.join(plugin);
        if !link.exists() {
            symlink(project::bin().join("cni-plugins"), &link)
                .with_context(|| link.display().to_string())?;
        }
    }
    Ok(dir)
}
