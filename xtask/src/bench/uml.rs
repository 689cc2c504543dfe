//! Cases that require features which the machine's kernel lacks, measured in User Mode Linux.
//!
//! System calls take ten times longer there for all sides, so that only the ratios are meaningful.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use testkit::{KERNEL, UML};

use super::Setup;
use super::cases::Case;
use super::figures::Figures;
use crate::guest::{Machine, Room, Work, uml};

/// The option of the program inside of User Mode Linux; its value is the directory of the tools.
pub(super) const INSIDE: &str = "inside";

/// The prefix of a line that contains a row.
const ROW: &str = "row: ";

/// Measures `cases` in User Mode Linux.
pub(super) fn run(cases: &[&Case], setup: &Setup<'_>) -> Result<Vec<Figures>> {
    let tools = setup.tools.floor.parent();
    let tools = tools.context("the tools are in a directory")?;
    let mut command = vec!["bench".to_owned(), "--no-build".into()];
    command.extend(setup.quick.then(|| "--quick".to_owned()));
    command.push(format!("--{INSIDE}={}", tools.display()));
    for (option, dir) in [("peer", setup.peer), ("before", setup.before)] {
        command.extend(dir.map(|dir| format!("--{option}={}", dir.display())));
    }
    command.extend(cases.iter().map(|case| case.name.to_owned()));
    let read = |row: &Value| {
        Figures::from_json(row, cases).with_context(|| format!("unexpected row: {row}"))
    };
    rows(command)?.iter().map(read).collect()
}

/// Runs a command of this program in User Mode Linux. Returns what it passed to [`print()`].
pub(super) fn rows(command: Vec<String>) -> Result<Vec<Value>> {
    let release = uml::provide()?;
    eprintln!("in User Mode Linux {release}, because this kernel lacks the required features:");
    let name = command.first().cloned().unwrap_or_default();
    let room = Room::new(&Work {
        command: [vec!["xtask".to_owned()], command].concat(),
        env: vec![(KERNEL.into(), UML.into())],
        files: Vec::new(),
    })?;
    let mut rows = Vec::new();
    let status = Machine::default().run(&room, |line| match line.strip_prefix(ROW) {
        Some(row) => rows.push(row.to_owned()),
        None => eprintln!("    {line}"),
    })?;
    if status != 0 {
        bail!("cargo xtask {name} in User Mode Linux: exit status {status}");
    }
    let read = |row: &String| serde_json::from_str(row).with_context(|| row.clone());
    rows.iter().map(read).collect()
}

/// Prints rows for the program outside of User Mode Linux.
pub(super) fn print(rows: impl IntoIterator<Item = Value>) {
    for row in rows {
        println!("{ROW}{row}");
    }
}
