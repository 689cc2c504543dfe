//! The section `library`: what calling plugins through libcni costs, beside upstream's library.
//!
//! Four plugins that change nothing (`static`) are called through either library, and alone by a program that does only
//! what any caller must. The difference is the library's own: configurations, results, cache, and how it starts and
//! watches processes.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testkit::UpstreamLibrary;

use super::measure::median;
use super::report::Report;
use super::targets::Target;
use super::{Section, Setup};
use crate::{machine, project};

pub(super) const SECTION: Section = Section {
    name: "library",
    needs: &[machine::GO, machine::UPSTREAM_LIBRARY],
    measure,
};

/// Rounds of a full and of a quick run.
const ROUNDS: (usize, usize) = (100, 15);

/// Attachments of each side in a round, in one process.
const COUNT: usize = 3;

/// Plugins of the chain.
const PLUGINS: usize = 4;

/// The most that a plugin of a chain may cost beyond its own time, in milliseconds.
const MOST: f64 = 0.3;

const HEAD: [&str; 6] = [
    "verb",
    "plugins alone ms",
    "libcni ms",
    "per plugin ms",
    "upstream's ms",
    "per plugin ms",
];

const SIDES: [&str; 3] = ["alone", "ours", "upstream"];

fn measure(setup: &Setup<'_>) -> Result<Report> {
    let rounds = setup.rounds(ROUNDS);
    let scratch = tempfile::tempdir()?;
    write_network(scratch.path())?;
    let upstream = UpstreamLibrary::build();
    let mut times: [[Vec<f64>; 2]; 3] = Default::default();
    for _ in 0..rounds {
        for (side, times) in SIDES.iter().zip(&mut times) {
            let request = request(side, scratch.path());
            let answer = match *side {
                "upstream" => upstream.ask(&request),
                _ => ask(&setup.tools.chain, &request)?,
            };
            let nanos = answer["nanos"].as_array();
            for pair in nanos.with_context(|| format!("{side}: {answer}"))? {
                for (verb, times) in times.iter_mut().enumerate() {
                    let nanos = pair[verb].as_f64().context("a number")?;
                    times.push(nanos / 1e6);
                }
            }
        }
    }
    Ok(report(&times, rounds))
}

fn report(times: &[[Vec<f64>; 2]; 3], rounds: usize) -> Report {
    let mut rows = Vec::new();
    let mut targets = Vec::new();
    for (index, verb) in ["ADD", "DEL"].into_iter().enumerate() {
        let [alone, ours, upstream] = times.each_ref().map(|side| median(&side[index]));
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let per_plugin = |side: f64| (side - alone) / PLUGINS as f64;
        let cells = [
            alone,
            ours,
            per_plugin(ours),
            upstream,
            per_plugin(upstream),
        ];
        let cells = cells.iter().map(|value| format!("{value:.2}"));
        rows.push([verb.to_owned()].into_iter().chain(cells).collect());
        targets.push(Target::at_most(
            format!("{verb} through libcni"),
            per_plugin(ours),
            MOST,
            " ms",
            "over a plugin's own time",
        ));
    }
    let mut report = Report::new(SECTION.name, &HEAD, rows);
    report.notes = format!(
        "Medians of {rounds} rounds of {COUNT} attachments; a chain of {PLUGINS} plugins that change nothing (static); \
         upstream's library is Debian's golang-github-appc-cni-dev 1.1.2."
    );
    report.data = json!(times);
    report.targets = targets;
    report
}

fn write_network(dir: &Path) -> Result<()> {
    let plugin = json!({
        "type": "static", "ipam": {"addresses": [{"address": "10.0.0.2/24", "gateway": "10.0.0.1"}]},
    });
    let list = json!({
        "cniVersion": "1.0.0", "name": "bench", "plugins": vec![plugin; PLUGINS],
    });
    fs::write(dir.join("bench.conflist"), list.to_string()).context("write the network list")
}

fn request(side: &str, scratch: &Path) -> Value {
    let verb = if side == "alone" { "alone" } else { "time" };
    json!({
        "Verb": verb, "Dir": scratch, "Name": "bench", "Bin": [project::bin()],
        "Cache": scratch.join(side), "ContainerID": "bench", "NetNS": "/run/netns/bench", "IfName": "eth0",
        "Count": COUNT,
    })
}

/// Asks the program that calls libcni.
fn ask(program: &Path, request: &Value) -> Result<Value> {
    let mut command = Command::new(program);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| program.display().to_string())?;
    serde_json::to_writer(child.stdin.take().context("stdin is a pipe")?, request)?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{}: {}", program.display(), output.status);
    }
    serde_json::from_slice(&output.stdout).with_context(|| program.display().to_string())
}
