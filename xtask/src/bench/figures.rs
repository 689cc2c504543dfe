//! The results of the cases: one row per case and verb, one section per group.

use anyhow::Result;
use serde_json::{Value, json};

use super::cases::{Case, GROUPS, UML};
use super::measure::{Counts, median, percentile};
use super::report::Report;
use super::{ROUNDS, Setup, run, targets};

/// The results of one side and verb.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// Milliseconds, by round.
    pub(crate) times: Vec<f64>,
    /// KiB.
    pub(crate) memory: u64,
    pub(crate) counts: Counts,
}

impl Sample {
    pub(crate) fn median(&self) -> f64 {
        median(&self.times)
    }

    fn to_json(&self) -> Value {
        let min = self.times.iter().copied().fold(f64::INFINITY, f64::min);
        json!({
            "median_ms": self.median(), "min_ms": min, "p99_ms": percentile(&self.times, 99.0),
            "rounds": self.times.len(), "peak_memory_kib": self.memory, "processes": self.counts.processes,
            "system_calls": self.counts.system_calls
        })
    }

    /// Parses what [`Sample::to_json`] wrote; of the times only the median.
    fn from_json(sample: &Value) -> Option<Sample> {
        let count = |key: &str| usize::try_from(sample[key].as_u64()?).ok();
        Some(Sample {
            times: vec![sample["median_ms"].as_f64()?],
            memory: sample["peak_memory_kib"].as_u64()?,
            counts: Counts {
                system_calls: count("system_calls")?,
                processes: count("processes")?,
            },
        })
    }
}

/// A row of the table.
pub(crate) struct Figures {
    pub(crate) case: &'static str,
    pub(crate) group: &'static str,
    pub(crate) verb: &'static str,
    pub(crate) ours: Sample,
    pub(crate) peer: Option<Sample>,
    /// Another build of ours.
    pub(crate) other: Option<Sample>,
    /// Milliseconds of the bare operations, until their effect is complete.
    pub(crate) floor: Option<f64>,
    /// Milliseconds of the bare operations, until the system calls have returned.
    pub(crate) returned: Option<f64>,
}

impl Figures {
    /// The ratio of the peer's time to ours.
    pub(crate) fn ratio(&self) -> Option<f64> {
        self.peer
            .as_ref()
            .map(|peer| peer.median() / self.ours.median())
    }

    pub(crate) fn to_json(&self) -> Value {
        let sample = |sample: &Option<Sample>| sample.as_ref().map(Sample::to_json);
        json!({
            "case": self.case, "verb": self.verb, "ours": self.ours.to_json(), "peer": sample(&self.peer),
            "other": sample(&self.other), "faster": self.ratio(), "floor_ms": self.floor,
            "floor_returned_ms": self.returned
        })
    }

    /// Parses what [`Figures::to_json`] wrote in User Mode Linux, for one of `cases`.
    pub(crate) fn from_json(row: &Value, cases: &[&Case]) -> Option<Figures> {
        let case = cases.iter().find(|case| row["case"] == case.name)?;
        let verb = case.verbs.iter().find(|verb| row["verb"] == **verb)?;
        Some(Figures {
            case: case.name,
            group: UML,
            verb,
            ours: Sample::from_json(&row["ours"])?,
            peer: Sample::from_json(&row["peer"]),
            other: Sample::from_json(&row["other"]),
            floor: row["floor_ms"].as_f64(),
            returned: row["floor_returned_ms"].as_f64(),
        })
    }

    fn cells(&self, with_other: bool) -> Vec<String> {
        let (peer, other) = (self.peer.as_ref(), self.other.as_ref());
        let ours = self.ours.median();
        let ms = |ms: f64| format!("{ms:.2}");
        let cell = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        // The kernel keeps the caller of few operations waiting after their effect.
        let waits = |returned: &f64| self.floor.is_some_and(|floor| returned - floor > 0.1);
        let mut cells = vec![
            self.case.to_owned(),
            self.verb.to_owned(),
            ms(ours),
            cell(peer.map(Sample::median).map(ms)),
            cell(self.ratio().map(|ratio| format!("{ratio:.1}x"))),
            cell(self.floor.map(ms)),
            cell(self.returned.filter(waits).map(ms)),
            cell(self.floor.map(|floor| format!("{:.2}x", ours / floor))),
            self.ours.counts.processes.to_string(),
            cell(peer.map(|peer| peer.counts.processes.to_string())),
            self.ours.counts.system_calls.to_string(),
            cell(peer.map(|peer| peer.counts.system_calls.to_string())),
            self.ours.memory.to_string(),
            cell(peer.map(|peer| peer.memory.to_string())),
        ];
        if with_other {
            cells.push(cell(other.map(Sample::median).map(ms)));
        }
        cells
    }
}

const HEAD: [&str; 15] = [
    "plugin",
    "verb",
    "ours ms",
    "peer ms",
    "faster",
    "floor ms",
    "returned ms",
    "of floor",
    "processes",
    "peer's",
    "system calls",
    "peer's",
    "KiB",
    "peer's",
    "before ms",
];

/// Returns one section per group of cases.
pub(crate) fn reports(figures: &[Figures], setup: &Setup<'_>) -> Result<Vec<Report>> {
    if figures.is_empty() {
        return Ok(Vec::new());
    }
    let empty = run::empty(setup.tools, ROUNDS.1)?;
    let notes = format!(
        "Medians of {} rounds; an empty static process takes {empty:.2} ms.",
        setup.rounds(ROUNDS)
    );
    let with_other = figures.iter().any(|row| row.other.is_some());
    let head = &HEAD[..HEAD.len() - usize::from(!with_other)];
    let mut groups: Vec<&str> = figures.iter().map(|row| row.group).collect();
    groups.sort_by_key(|group| GROUPS.iter().position(|known| known == group));
    groups.dedup();
    let report = |group: &&str| {
        let of_group = || figures.iter().filter(|row| row.group == *group);
        let rows = of_group().map(|row| row.cells(with_other));
        let mut report = Report::new(group, head, rows.collect());
        report.notes = notes.clone();
        report.data = of_group().map(Figures::to_json).collect();
        report.targets = targets::judge(figures, group);
        report
    };
    Ok(groups.iter().map(report).collect())
}
