//! The case `filters at scale`: masquerade and port mappings where thousands of containers have some already.
//!
//! Each size has a host of its own, filled with rules in the form that the plugins make, many at a time.

use std::path::Path;

use serde_json::{Value, json};
use testkit::{Container, Host, Plugin};

use super::cases::{Case, Side, filters};
use super::run::{self, Figures, Sample, Tools};
use super::table;
use super::targets::Target;
use crate::{Outcome, project};

mod crowd;

/// The name on the command line.
pub(crate) const NAME: &str = "filters at scale";

/// Attachments that are there already.
const SIZES: [u32; 3] = [0, 1_000, 5_000];

/// The verbs of the table.
const VERBS: [&str; 2] = ["ADD", "DEL"];

/// Rounds of a thorough and of a quick run; beside the peer, who takes seconds for each, and alone.
const ROUNDS: [(usize, usize); 2] = [(7, 3), (50, 15)];

/// What there is much of.
struct Form {
    case: fn() -> Case,
    /// By iptables, which the peer has as well.
    iptables: bool,
    fill: fn(&Host, u32) -> Outcome,
    /// How many times that of none an operation may take at the largest size.
    most: Option<f64>,
}

const FORMS: [Form; 5] = [
    Form {
        case: || filters::masquerade(true),
        iptables: true,
        fill: crowd::masquerade_iptables,
        most: None,
    },
    Form {
        case: || filters::masquerade(false),
        iptables: false,
        fill: crowd::masquerade_nftables,
        most: Some(2.0),
    },
    Form {
        case: || filters::portmap(true),
        iptables: true,
        fill: crowd::portmap_iptables,
        most: None,
    },
    Form {
        case: || filters::portmap(false),
        iptables: false,
        fill: crowd::portmap_nftables,
        most: Some(2.0),
    },
    Form {
        case: filters::portmap_by_map,
        iptables: false,
        fill: crowd::portmap_map,
        // Flat, but for what a measurement wavers.
        most: Some(1.25),
    },
];

/// What was measured of one side's verb.
pub(crate) struct Row {
    case: &'static str,
    verb: &'static str,
    side: &'static str,
    /// Milliseconds, by size.
    times: [f64; SIZES.len()],
    most: Option<f64>,
}

impl Row {
    /// The largest size, in terms of none.
    fn growth(&self) -> f64 {
        self.times[SIZES.len() - 1] / self.times[0]
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "case": self.case, "verb": self.verb, "side": self.side, "sizes": SIZES, "median_ms": self.times
        })
    }
}

/// Measures all forms at all sizes.
pub(crate) fn measure(peer: Option<&Path>, tools: &Tools, quick: bool) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for form in &FORMS {
        let peer = peer.filter(|_| form.iptables);
        let (thorough, short) = ROUNDS[usize::from(peer.is_none())];
        let rounds = if quick { short } else { thorough };
        let mut sizes = Vec::new();
        for size in SIZES {
            let case = (form.case)();
            eprintln!("measuring {} among {size} ({rounds} rounds)", case.name);
            let host =
                Host::try_new().map_err(|err| format!("cannot make a private host: {err}"))?;
            fill(&host, &case, form, size)?;
            sizes.push(run::case(&host, &case, peer, tools, rounds)?);
        }
        rows.extend(gather(&sizes, form.most));
    }
    Ok(rows)
}

/// Has the plugin make its chains and tables once, then adds what `size` containers would have.
fn fill(host: &Host, case: &Case, form: &Form, size: u32) -> Outcome {
    let side = Side {
        tag: "first",
        number: 4,
        container: container(host)?,
    };
    let link = &case.chain[0];
    let plugin = Plugin::in_dir(project::bin(), link.plugin);
    let config = (link.config)(&side);
    for run in [
        plugin.add(&side.container, &config),
        plugin.del(&side.container, &config),
    ] {
        if !run.is_ok() {
            return Err(run.report());
        }
    }
    if size == 0 {
        return Ok(());
    }
    (form.fill)(host, size)
}

fn container(host: &Host) -> Outcome<Container> {
    host.try_container("first")
        .map_err(|err| format!("container first: {err}"))
}

/// The time of one side, if it was measured.
type Pick = fn(&Figures) -> Option<f64>;

/// One row for each side and verb, of the figures of all sizes.
fn gather(sizes: &[Vec<Figures>], most: Option<f64>) -> Vec<Row> {
    let mut rows = Vec::new();
    let picks: [(&str, Pick); 3] = [
        ("ours", |figures| Some(figures.ours.median())),
        ("peer", |figures| figures.peer.as_ref().map(Sample::median)),
        ("bare", |figures| figures.floor),
    ];
    for verb in VERBS {
        let of_verb: Vec<&Figures> = sizes
            .iter()
            .filter_map(|figures| figures.iter().find(|figures| figures.verb == verb))
            .collect();
        for (side, pick) in picks {
            let times: Vec<f64> = of_verb.iter().filter_map(|figures| pick(figures)).collect();
            if let Ok(times) = times.try_into() {
                rows.push(Row {
                    case: of_verb[0].case,
                    verb,
                    side,
                    times,
                    most: most.filter(|_| side == "ours"),
                });
            }
        }
    }
    rows
}

/// The rows as a table.
pub(crate) fn shown(rows: &[Row]) -> String {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let words = [row.case, row.verb, row.side].map(str::to_owned);
            let times = row.times.iter().map(|time| format!("{time:.2}"));
            let mut cells: Vec<String> = words.into_iter().chain(times).collect();
            cells.push(format!("{:.2}x", row.growth()));
            cells
        })
        .collect();
    let head = [
        "ms among so many",
        "verb",
        "who",
        "none",
        "1,000",
        "5,000",
        "5,000 / none",
    ];
    table::table(&head, &cells)
}

/// Ours, judged.
pub(crate) fn judge(rows: &[Row]) -> Vec<Target> {
    let target = |row: &Row| {
        let most = row.most?;
        let mut bare = rows.iter().filter(|other| other.side == "bare");
        let bare = bare.find(|bare| (bare.case, bare.verb) == (row.case, row.verb));
        let bare = bare.map(|bare| format!(" (the bare operation {:.2}x)", bare.growth()));
        Some(Target {
            what: format!("{} {} among 5,000", row.case, row.verb),
            wanted: format!("at most {most}x that among none"),
            is: format!("{:.2}x{}", row.growth(), bare.unwrap_or_default()),
            met: row.growth() <= most,
        })
    };
    rows.iter().filter_map(target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_a_goal_is_judged() {
        let row = |side, last, most| Row {
            case: "portmap nftables",
            verb: "ADD",
            side,
            times: [1.0, 1.5, last],
            most,
        };
        let rows = [row("ours", 2.5, Some(2.0)), row("bare", 9.0, None)];
        let targets = judge(&rows);
        assert_eq!(targets.len(), 1);
        assert!(!targets[0].met && targets[0].is == "2.50x (the bare operation 9.00x)");
        assert!(shown(&rows).contains("9.00x"));
        assert!(judge(&[row("ours", 2.0, Some(2.0))])[0].met);
    }
}
