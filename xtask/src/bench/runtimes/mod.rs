//! Networks in container runtimes of the distribution: what a container with a network takes longer than one without.

pub(super) mod containerd;
pub(super) mod podman;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testkit::Host;

use super::Setup;
use super::measure::median;
use super::report::Report;
use super::run::{LINGER, wait_for_grace_periods};
use super::targets::Target;

const HEAD: [&str; 6] = [
    "operation",
    "network by",
    "ms",
    "network part ms",
    "of it plugins ms",
    "faster",
];

/// The goal: the ratio of the peer's network part to ours.
const FASTER: f64 = 5.0;

/// A container without a network, whose time is subtracted.
const NONE: &str = "none";
/// Plugins that only print a result: what is left is the runtime's own.
const ANSWERS: &str = "plugins that do nothing";

/// Plugins that a runtime executes.
const PLUGINS: [&str; 6] = [
    "loopback",
    "bridge",
    "portmap",
    "firewall",
    "tuning",
    "bandwidth",
];

/// Milliseconds of one operation of a runtime, by the side that makes the network.
struct Operation {
    name: &'static str,
    times: Vec<(&'static str, Vec<f64>)>,
}

impl Operation {
    fn new(name: &'static str) -> Operation {
        Operation {
            name,
            times: Vec::new(),
        }
    }

    fn put(&mut self, side: &'static str, ms: f64) {
        match self.times.iter_mut().find(|(name, _)| *name == side) {
            Some((_, times)) => times.push(ms),
            None => self.times.push((side, vec![ms])),
        }
    }

    /// Takes over what was measured of a side beside another container without a network, as if it was beside this one's.
    fn take(&mut self, side: &'static str, other: Operation) {
        let (Some(here), Some(there)) = (self.median(NONE), other.median(NONE)) else {
            return;
        };
        let mut others = other.times.into_iter();
        if let Some((_, times)) = others.find(|(name, _)| *name == side) {
            self.times
                .push((side, times.iter().map(|ms| ms - there + here).collect()));
        }
    }

    fn median(&self, side: &str) -> Option<f64> {
        let mut times = self.times.iter();
        let (_, times) = times.find(|(name, _)| *name == side)?;
        Some(median(times))
    }

    /// Milliseconds more than without a network.
    fn part(&self, side: &str) -> Option<f64> {
        Some(self.median(side)? - self.median(NONE)?)
    }

    /// Milliseconds more than with plugins that do nothing.
    fn plugins(&self, side: &str) -> Option<f64> {
        Some(self.median(side)? - self.median(ANSWERS)?)
    }

    /// The ratio of the peer's network part to that of a side.
    fn faster(&self, side: &str) -> Option<f64> {
        Some(self.part("peer")? / self.part(side)?)
    }

    fn cells(&self) -> Vec<Vec<String>> {
        let ms = |ms: f64| format!("{ms:.1}");
        let row = |(side, times): &(&'static str, Vec<f64>)| {
            let has_network = *side != NONE;
            let has_plugins = has_network && *side != ANSWERS;
            let cell = |is_shown: bool, value: Option<String>| {
                value.filter(|_| is_shown).unwrap_or_else(|| "-".into())
            };
            let faster = self.faster(side).map(|ratio| format!("{ratio:.1}x"));
            vec![
                self.name.to_owned(),
                (*side).to_owned(),
                ms(median(times)),
                cell(has_network, self.part(side).map(ms)),
                cell(has_plugins, self.plugins(side).map(ms)),
                cell(has_plugins && *side != "peer", faster),
            ]
        };
        self.times.iter().map(row).collect()
    }

    /// In the form of the cases, so that the chart shows it.
    fn to_json(&self) -> Value {
        let side = |name: &str| self.part(name).map(|part| json!({"median_ms": part}));
        json!({
            "case": self.name, "verb": "network part", "ours": side("ours"), "peer": side("peer"),
            "floor_ms": self.part(ANSWERS), "all_ms": self.times.iter().map(|(side, times)| {
                json!({"side": side, "median_ms": median(times), "rounds": times.len()})
            }).collect::<Value>(),
        })
    }

    fn targets(&self) -> Vec<Target> {
        let ours = self
            .times
            .iter()
            .filter(|(side, _)| side.starts_with("ours"));
        let target = |(side, _): &(&'static str, Vec<f64>)| {
            let ratio = self.faster(side)?;
            Some(Target {
                what: format!("network part of {}, {side}", self.name),
                wanted: format!("at least {FASTER}x faster than the peer's"),
                is: format!("{ratio:.1}x"),
                met: ratio >= FASTER,
            })
        };
        ours.filter_map(target).collect()
    }
}

fn report(name: &str, notes: String, operations: &[Operation]) -> Report {
    let rows = operations.iter().flat_map(Operation::cells).collect();
    let mut report = Report::new(name, &HEAD, rows);
    report.notes = notes;
    report.data = operations.iter().map(Operation::to_json).collect();
    report.targets = operations.iter().flat_map(Operation::targets).collect();
    report
}

/// The directory of the plugins of each side: ours, the peer's, and those that do nothing.
fn sides(setup: &Setup<'_>, host: &Host) -> Result<Vec<(&'static str, PathBuf)>> {
    let answers = host.dir().join("answers");
    fs::create_dir_all(&answers).context("a directory")?;
    for plugin in PLUGINS {
        let link = answers.join(plugin);
        symlink(&setup.tools.floor, &link).with_context(|| link.display().to_string())?;
    }
    let mut sides = setup.sides();
    sides.push((ANSWERS, answers));
    Ok(sides)
}

/// Returns a list with the backend nftables for each plugin that has one.
fn with_nftables(list: &Value) -> Value {
    let mut list = list.clone();
    for plugin in list["plugins"].as_array_mut().into_iter().flatten() {
        let key = match plugin["type"].as_str() {
            Some("bridge") => "ipMasqBackend",
            Some("portmap" | "firewall") => "backend",
            _ => continue,
        };
        plugin[key] = "nftables".into();
    }
    list
}

fn read_list(file: &Path) -> Result<Value> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    serde_json::from_str(&text).with_context(|| file.display().to_string())
}

/// Lets the kernel finish what deletions have left to it, so that no side pays for another's.
fn wait_for_kernel(host: &Host) -> Result<()> {
    thread::sleep(LINGER);
    wait_for_grace_periods(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_without_a_network_is_subtracted() {
        let mut operation = Operation::new("run");
        for (side, ms) in [
            (NONE, 100.0),
            (ANSWERS, 120.0),
            ("ours", 140.0),
            ("peer", 300.0),
        ] {
            operation.put(side, ms);
        }
        let rows = operation.cells();
        assert_eq!(rows[0][2..], ["100.0", "-", "-", "-"]);
        assert_eq!(rows[1][2..], ["120.0", "20.0", "-", "-"]);
        assert_eq!(rows[2][2..], ["140.0", "40.0", "20.0", "5.0x"]);
        assert_eq!(rows[3][2..], ["300.0", "200.0", "180.0", "-"]);
        assert!(operation.targets()[0].met);
    }

    #[test]
    fn only_plugins_with_backends_get_one() {
        let list = json!({"plugins": [{"type": "bridge"}, {"type": "tuning"}, {"type": "firewall", "backend": ""}]});
        let plugins = with_nftables(&list)["plugins"].take();
        assert_eq!(plugins[0]["ipMasqBackend"], "nftables");
        assert_eq!(plugins[1], json!({"type": "tuning"}));
        assert_eq!(plugins[2]["backend"], "nftables");
    }
}
