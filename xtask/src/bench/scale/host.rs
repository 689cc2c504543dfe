//! The section `hosts at scale`: calls among thousands of addresses, ports of the bridge, and links on the host.

use anyhow::{Context, Result};
use testkit::Host;

use super::{Row, gather, judge};
use crate::bench::cases::AMONG;
use crate::bench::report::Report;
use crate::bench::{Section, Setup, run};

pub(in crate::bench) const SECTION: Section = Section {
    name: "hosts at scale",
    needs: &[],
    measure,
};

const HEAD: [&str; 7] = [
    "ms among so many",
    "verb",
    "who",
    "none",
    "some",
    "most",
    "most / none",
];

/// Rounds of a full and of a quick run.
const ROUNDS: (usize, usize) = (30, 5);

const VERBS: [&str; 5] = ["ADD", "CHECK", "DEL", "STATUS", "GC"];

/// The target for ADD, CHECK and DEL: the ratio of the time among the most objects to that among none.
const MOST: f64 = 1.5;

fn measure(setup: &Setup<'_>) -> Result<Report> {
    let rounds = setup.rounds(ROUNDS);
    let mut contenders = setup.contenders();
    contenders.retain(|side| matches!(side.tag, "ours" | "peer"));
    let mut rows = Vec::new();
    let mut data = Vec::new();
    let mut sizes = Vec::new();
    for (objects, cases) in AMONG {
        let mut figures = Vec::new();
        for case in cases {
            eprintln!("    {} {objects} ({rounds} rounds)", case.count);
            let host = Host::try_new().context("cannot create a private host")?;
            figures.push(run::case(
                &host,
                case,
                contenders.clone(),
                setup.tools,
                rounds,
            )?);
        }
        let most = |verb: &str| matches!(verb, "ADD" | "CHECK" | "DEL").then_some(MOST);
        let of_objects = gather(objects, &figures, &VERBS, most);
        let counts = cases.map(|case| case.count);
        data.extend(of_objects.iter().map(|row| row.to_json(&counts)));
        rows.extend(of_objects);
        sizes.push(format!("{objects} {} and {}", counts[1], counts[2]));
    }
    let mut report = Report::new(SECTION.name, &HEAD, rows.iter().map(Row::cells).collect());
    report.notes = format!(
        "Medians of {rounds} rounds; some and most: {}.",
        sizes.join(", ")
    );
    report.data = data.into();
    report.targets = judge(&rows, "the most");
    Ok(report)
}
