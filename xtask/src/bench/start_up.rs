//! The section `start-up`: what a call costs that does nothing, `VERSION`, with each plugin.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::measure::{Call, median};
use super::report::Report;
use super::run::{self, Contender};
use super::targets::Target;
use super::{Section, Setup};

pub(super) const SECTION: Section = Section {
    name: "start-up",
    needs: &[],
    measure,
};

/// Rounds of a full and of a quick run.
const ROUNDS: (usize, usize) = (100, 15);

const HEAD: [&str; 8] = [
    "plugin",
    "ours ms",
    "peer ms",
    "faster",
    "system calls",
    "peer's",
    "KiB",
    "peer's",
];

/// The goal: the ratio of the peer's time to ours.
const FASTER: f64 = 4.0;

/// The results of one plugin of one side.
struct Start {
    ms: f64,
    system_calls: usize,
    /// KiB.
    memory: u64,
}

struct Row {
    plugin: String,
    ours: Start,
    peer: Option<Start>,
}

impl Row {
    fn faster(&self) -> Option<f64> {
        self.peer.as_ref().map(|peer| peer.ms / self.ours.ms)
    }

    fn cells(&self) -> Vec<String> {
        let cell = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        let peer = self.peer.as_ref();
        vec![
            self.plugin.clone(),
            format!("{:.2}", self.ours.ms),
            cell(peer.map(|peer| format!("{:.2}", peer.ms))),
            cell(self.faster().map(|ratio| format!("{ratio:.1}x"))),
            self.ours.system_calls.to_string(),
            cell(peer.map(|peer| peer.system_calls.to_string())),
            self.ours.memory.to_string(),
            cell(peer.map(|peer| peer.memory.to_string())),
        ]
    }

    fn to_json(&self) -> Value {
        let start = |start: &Start| json!({"median_ms": start.ms, "system_calls": start.system_calls, "peak_memory_kib": start.memory});
        json!({
            "case": self.plugin, "verb": "VERSION", "ours": start(&self.ours), "peer": self.peer.as_ref().map(start),
        })
    }
}

fn measure(setup: &Setup<'_>) -> Result<Report> {
    let rounds = setup.rounds(ROUNDS);
    let scratch = tempfile::tempdir()?;
    let mut rows = Vec::new();
    for binary in setup.binaries {
        let mut sides = setup.contenders();
        sides.retain(|side| matches!(side.tag, "ours" | "peer") && side.has(&binary.name));
        let mut starts = starts(&binary.name, &sides, scratch.path(), setup, rounds)?.into_iter();
        // Ours is the first one.
        if let Some(ours) = starts.next() {
            rows.push(Row {
                plugin: binary.name.clone(),
                ours,
                peer: starts.next(),
            });
        }
    }
    let empty = run::empty(setup.tools, rounds)?;
    let mut report = Report::new(SECTION.name, &HEAD, rows.iter().map(Row::cells).collect());
    report.notes =
        format!("Medians of {rounds} rounds; an empty static process takes {empty:.2} ms.");
    report.data = rows.iter().map(Row::to_json).collect();
    report.targets = judge(&rows).into_iter().collect();
    Ok(report)
}

/// Measures one plugin of all sides in turns.
fn starts(
    plugin: &str,
    sides: &[Contender],
    scratch: &Path,
    setup: &Setup<'_>,
    rounds: usize,
) -> Result<Vec<Start>> {
    let call = |side: &Contender| {
        let config = json!({"cniVersion": "1.0.0", "name": "bench", "type": plugin});
        let container = ("bench", Path::new("/run/netns/bench"));
        side.call(
            (plugin, "VERSION"),
            container,
            &config,
            &scratch.join(side.tag),
        )
    };
    let calls: Vec<Call> = sides.iter().map(call).collect::<Result<_>>()?;
    let mut starts = Vec::new();
    for call in &calls {
        starts.push((
            call.counts()?,
            call.peak_memory(&setup.tools.floor)?,
            Vec::new(),
        ));
    }
    for _ in 0..rounds {
        for (call, (.., times)) in calls.iter().zip(&mut starts) {
            times.push(call.time()?);
        }
    }
    let starts = starts.into_iter().map(|(counts, memory, times)| Start {
        ms: median(&times),
        system_calls: counts.system_calls,
        memory,
    });
    Ok(starts.collect())
}

/// Compares the plugin with the lowest ratio with the goal.
fn judge(rows: &[Row]) -> Option<Target> {
    let ratios = rows.iter().filter_map(|row| Some((row.faster()?, row)));
    let (ratio, row) = ratios.min_by(|(a, _), (b, _)| a.total_cmp(b))?;
    Some(Target {
        what: "start-up of every plugin".into(),
        wanted: format!("at least {FASTER}x faster than the peer"),
        is: format!("{ratio:.1}x ({})", row.plugin),
        met: ratio >= FASTER,
    })
}
