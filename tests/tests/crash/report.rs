//! Counts of kills, and a row of the table for each plugin and verb.

use std::collections::BTreeMap;
use std::env;
use std::fs::OpenOptions;
use std::io::Write as _;

use testkit::trace::{Point, Victim};

use crate::sweep::Cleaner;

/// The file to which complete runs append their rows; without it, each run kills at a part of the points.
const TABLE: &str = "CNI_TEST_CRASH_TABLE";

/// The results of one plugin and verb.
pub(crate) struct Report {
    name: &'static str,
    verb: &'static str,
    points: usize,
    kills: BTreeMap<&'static str, (usize, usize)>,
    failures: Vec<String>,
}

impl Report {
    pub(crate) fn new(name: &'static str, verb: &'static str) -> Report {
        Report {
            name,
            verb,
            points: 0,
            kills: BTreeMap::new(),
            failures: Vec::new(),
        }
    }

    /// The kills of this run: all combinations of points and victims. In a run that writes no table each point gets one of
    /// the `turns` combinations of victims and cleaners, beginning with number `first` here.
    pub(crate) fn chosen(
        &mut self,
        points: &[(Point, String)],
        first: usize,
        turns: usize,
    ) -> Vec<(Victim, Point, String)> {
        self.points = self.points.max(points.len());
        let is_complete = env::var_os(TABLE).is_some();
        let mut chosen = Vec::new();
        for (number, (at, what)) in points.iter().enumerate() {
            for (turn, victim) in [Victim::All, Victim::Caller].into_iter().enumerate() {
                if is_complete || number % turns == first + turn {
                    chosen.push((victim, *at, what.clone()));
                }
            }
        }
        chosen
    }

    pub(crate) fn points(&mut self, points: usize) {
        self.points = self.points.max(points);
    }

    pub(crate) fn add(&mut self, cleaner: Cleaner, what: &str, outcome: Result<(), String>) {
        let name = match cleaner {
            Cleaner::Del => "DEL",
            Cleaner::Gc => "GC",
        };
        let (kills, recovered) = self.kills.entry(name).or_default();
        *kills += 1;
        match outcome {
            Ok(()) => *recovered += 1,
            Err(remains) => self
                .failures
                .push(format!("{what}, then {name}:\n{remains}")),
        }
    }

    /// Demands that all kills were recovered from.
    #[track_caller]
    pub(crate) fn finish(self) {
        let count = |name: &str| self.kills.get(name).copied().unwrap_or_default();
        let ((by_del, del), (by_gc, gc)) = (count("DEL"), count("GC"));
        let row = format!(
            "| {} | {} | {} | {del} of {by_del} | {gc} of {by_gc} |\n",
            self.name, self.verb, self.points
        );
        eprint!("{row}");
        if let Some(file) = env::var_os(TABLE) {
            let file = OpenOptions::new().append(true).create(true).open(file);
            let written = file.and_then(|mut file| file.write_all(row.as_bytes()));
            written.expect("append to the table");
        }
        assert!(
            self.failures.is_empty(),
            "{}, {}: {} not recovered\n{}",
            self.name,
            self.verb,
            self.failures.len(),
            self.failures.join("\n\n")
        );
    }
}
