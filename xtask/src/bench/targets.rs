//! Performance targets.

use serde_json::{Value, json};

use super::figures::Figures;
use super::table::table;

/// The memory limit of a call, in KiB.
const MEMORY: u64 = 4096;

/// A target and the measured value.
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) wanted: String,
    pub(crate) is: String,
    pub(crate) met: bool,
}

impl Target {
    /// Returns a target of at most `most`, in `unit`, relative to `than`.
    pub(crate) fn at_most(what: String, value: f64, most: f64, unit: &str, than: &str) -> Target {
        Target {
            what,
            wanted: format!("at most {most}{unit} {than}"),
            is: format!("{value:.2}{unit}"),
            met: value <= most,
        }
    }

    /// Parses what [`Target::to_json`] wrote.
    pub(crate) fn from_json(value: &Value) -> Option<Target> {
        let text = |key: &str| value[key].as_str().map(String::from);
        Some(Target {
            what: text("what")?,
            wanted: text("wanted")?,
            is: text("is")?,
            met: value["met"].as_bool()?,
        })
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({"what": self.what, "wanted": self.wanted, "is": self.is, "met": self.met})
    }
}

/// A goal for a case and verb.
enum Goal {
    /// At least this many times faster than the peer.
    Faster(f64),
    /// At most this many milliseconds over the floor.
    OverFloor(f64),
    /// At most this many times the floor.
    TimesFloor(f64),
    /// At most this many times the same verb of another case.
    TimesCase(f64, &'static str),
    /// At most this many milliseconds over the same verb of another case.
    OverCase(f64, &'static str),
}

use Goal::{Faster, OverCase, OverFloor, TimesCase, TimesFloor};

/// The goal of every ADD that the peer has as well and that has no other one.
const ADD: Goal = Faster(4.0);

const GOALS: &[(&str, &str, Goal)] = &[
    ("loopback", "ADD", OverFloor(0.5)),
    ("bridge+host-local IPv4", "ADD", TimesFloor(1.5)),
    ("bridge+host-local IPv4", "DEL", Faster(8.0)),
    ("bridge+host-local IPv4", "DEL", OverFloor(2.0)),
    ("bridge+host-local dual-stack", "ADD", TimesFloor(1.5)),
    ("bridge+host-local dual-stack", "DEL", OverFloor(2.0)),
    (
        "host-local, 20,000 taken",
        "ADD",
        TimesCase(2.0, "host-local"),
    ),
    (
        "host-local, 20,000 taken",
        "DEL",
        TimesCase(2.0, "host-local"),
    ),
    ("ptp", "DEL", Faster(8.0)),
    ("macvlan", "DEL", Faster(8.0)),
    // The peer has none of these.
    ("tap", "ADD", TimesFloor(1.5)),
    ("dummy", "ADD", TimesFloor(1.5)),
    ("bridge+ipMasq iptables", "ADD", Faster(5.0)),
    (
        "bridge+ipMasq iptables",
        "DEL",
        OverCase(6.0, "bridge+host-local IPv4"),
    ),
    ("bridge+ipMasq nftables", "ADD", Faster(10.0)),
    (
        "bridge+ipMasq nftables",
        "DEL",
        OverCase(3.0, "bridge+host-local IPv4"),
    ),
    ("portmap iptables", "ADD", Faster(8.0)),
    ("portmap iptables", "DEL", Faster(10.0)),
    ("portmap nftables", "ADD", Faster(20.0)),
    ("portmap nftables", "DEL", Faster(20.0)),
    ("Kubernetes chain iptables", "ADD", Faster(8.0)),
    ("Kubernetes chain iptables", "DEL", Faster(10.0)),
    ("Kubernetes chain nftables", "ADD", Faster(10.0)),
    ("Kubernetes chain nftables", "DEL", Faster(25.0)),
];

/// Compares the results of a group of cases with the goals; goals without results in this run are omitted.
pub(crate) fn judge(figures: &[Figures], group: &str) -> Vec<Target> {
    let of_group = || figures.iter().filter(|row| row.group == group);
    let goals = GOALS
        .iter()
        .filter(|(case, ..)| of_group().any(|row| row.case == *case));
    let goals = goals.filter_map(|(case, verb, goal)| judge_goal(figures, case, verb, goal));
    let general = of_group().filter_map(|row| every_add(figures, row));
    let others = of_group().filter_map(no_slower);
    let mut targets: Vec<Target> = general.chain(goals).chain(others).collect();
    if let Some(most) = of_group().max_by_key(|row| row.ours.memory) {
        targets.push(Target {
            what: "peak memory".into(),
            wanted: format!("below {} MiB", MEMORY / 1024),
            is: format!("{} KiB ({} {})", most.ours.memory, most.case, most.verb),
            met: most.ours.memory < MEMORY,
        });
    }
    targets
}

/// The general goal of an ADD.
fn every_add(figures: &[Figures], row: &Figures) -> Option<Target> {
    let of_row = |(case, verb, goal): &(&str, &str, Goal)| {
        (*case, *verb) == (row.case, row.verb) && matches!(goal, Faster(_))
    };
    let is_general = row.verb == "ADD" && !GOALS.iter().any(of_row);
    is_general.then(|| judge_goal(figures, row.case, row.verb, &ADD))?
}

/// ADD must not be slower than that of another build; a tenth is within the noise.
fn no_slower(row: &Figures) -> Option<Target> {
    let before = row.other.as_ref().filter(|_| row.verb == "ADD")?.median();
    Some(Target::at_most(
        format!("{} {}", row.case, row.verb),
        row.ours.median() / before,
        1.1,
        "x",
        "that before",
    ))
}

/// Formats the targets and whether they are met.
pub(crate) fn shown(targets: &[Target]) -> String {
    let row = |target: &Target| {
        let verdict = if target.met { "met" } else { "NOT MET" };
        vec![
            target.what.clone(),
            target.wanted.clone(),
            target.is.clone(),
            verdict.to_owned(),
        ]
    };
    let head = ["goal", "wanted", "is", "verdict"];
    table(&head, targets.iter().map(row))
}

fn judge_goal(figures: &[Figures], case: &str, verb: &str, goal: &Goal) -> Option<Target> {
    let find = |case: &str| {
        figures
            .iter()
            .find(|row| row.case == case && row.verb == verb)
    };
    let row = find(case)?;
    let ours = row.ours.median();
    let at_most = |value: f64, most: f64, unit: &str, than: &str| {
        Some(Target::at_most(
            format!("{case} {verb}"),
            value,
            most,
            unit,
            than,
        ))
    };
    match goal {
        Faster(times) => {
            let ratio = row.ratio()?;
            Some(Target {
                what: format!("{case} {verb}"),
                wanted: format!("at least {times}x faster than the peer"),
                is: format!("{ratio:.1}x"),
                met: ratio >= *times,
            })
        }
        OverFloor(most) => at_most(ours - row.floor?, *most, " ms", "over the floor"),
        TimesFloor(most) => at_most(ours / row.floor?, *most, "x", "the floor"),
        OverCase(most, other) => {
            let over = ours - find(other)?.ours.median();
            at_most(over, *most, " ms", &format!("over that of {other}"))
        }
        TimesCase(most, other) => {
            let times = ours / find(other)?.ours.median();
            at_most(times, *most, "x", &format!("that of {other}"))
        }
    }
}
