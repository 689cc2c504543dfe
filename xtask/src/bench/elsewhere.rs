//! Cases that the machine's own kernel is not good enough for, measured in User Mode Linux.
//!
//! System calls take ten times longer there, for all alike: the ratios tell, not the milliseconds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use testkit::{KERNEL, UML};

use super::cases::Case;
use super::run::Figures;
use super::{Outcome, project};
use crate::uml::{self, Machine, Work};

/// The option by which this program knows that it is the one inside; its value is where [`super::Tools`] are.
pub(super) const INSIDE: &str = "--inside";

/// What a line with a row in it begins with.
const ROW: &str = "row: ";

/// Whether the running kernel has what `case` needs.
pub(super) fn is_here(case: &Case) -> bool {
    case.needs.iter().all(|feature| testkit::has(feature))
}

/// Measures `cases` there.
pub(super) fn run(
    cases: &[&Case],
    peer: Option<&Path>,
    tools: &Path,
    quick: bool,
) -> Outcome<Vec<Figures>> {
    let release = uml::provide()?;
    eprintln!("on User Mode Linux {release}, as this kernel lacks what they need:");
    let mut command: Vec<String> = ["xtask", "bench", "--no-build"].map(String::from).into();
    command.extend(quick.then(|| "--quick".to_owned()));
    command.extend([INSIDE.to_owned(), tools.display().to_string()]);
    if let Some(peer) = peer {
        command.extend(["--peer".to_owned(), peer.display().to_string()]);
    }
    command.extend(cases.iter().map(|case| case.name.to_owned()));
    let machine = Machine {
        memory: 512,
        device: false,
        ipv6: true,
        deadline: Duration::from_secs(1200),
        silence: Duration::from_secs(600),
    };
    let work = Work {
        command,
        env: vec![(KERNEL.into(), UML.into())],
        ..Work::default()
    };
    let mut rows = Vec::new();
    let mut problem = None;
    let status = machine.run(&work, |line| match line.trim_end().strip_prefix(ROW) {
        Some(row) => match serde_json::from_str::<Value>(row) {
            Ok(row) => rows.push(row),
            Err(err) => problem = Some(format!("a row from the other kernel: {err}")),
        },
        None => eprintln!("    {}", line.trim_end()),
    })?;
    if let Some(problem) = problem {
        return Err(problem);
    }
    if status != 0 {
        return Err(format!(
            "the benchmark on the other kernel: exit status {status}"
        ));
    }
    let read = |row: &Value| {
        Figures::from_json(row, cases)
            .ok_or_else(|| format!("a row of the other kernel that makes no sense: {row}"))
    };
    rows.iter().map(read).collect()
}

/// What the one inside prints.
pub(super) fn print(figures: &[Figures]) {
    for row in figures {
        println!("{ROW}{}", row.to_json());
    }
}

/// The directory of the tools that were built before.
pub(super) fn tools(dir: &str) -> super::Tools {
    let dir = project::root().join(PathBuf::from(dir));
    super::Tools {
        floor: dir.join("floor"),
        empty: dir.join("empty"),
    }
}
