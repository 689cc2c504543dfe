//! The section `ablations`: what each trick that makes a call faster gains, with and without it in one run.
//!
//! Confinement gains no time: its row shows its cost. A trick that gains little is not worth its code: less than 5 % of every
//! verb that it is for, or, for the index of `host-local`, less than 0.5 ms with 250 addresses.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::cases::{CASES, Case, TAKEN};
use super::figures::Figures;
use super::report::Report;
use super::run::{self, Contender};
use super::targets::Target;
use super::{Section, Setup};
use crate::{build, project};

pub(super) const SECTION: Section = Section {
    name: "ablations",
    needs: &[],
    measure,
};

/// Rounds of a full and of a quick run.
const ROUNDS: (usize, usize) = (100, 15);

const HEAD: [&str; 6] = ["trick", "case", "verb", "with ms", "without ms", "gain"];

/// How a trick is switched off.
enum Switch {
    /// A build with a feature that exists for this.
    Feature(&'static str),
    /// A variable of the plugin's environment.
    Variable(&'static str, &'static str),
}

/// What a trick must gain in one of its rows.
enum Least {
    Percent(f64),
    /// In the rows of this case.
    Milliseconds(f64, &'static str),
    /// Nothing: it may cost so many milliseconds in each row.
    Cost(f64),
}

struct Trick {
    name: &'static str,
    without: Switch,
    cases: &'static [&'static str],
    least: Least,
}

const TRICKS: &[Trick] = &[
    Trick {
        name: "deferred completion",
        without: Switch::Variable("CNI_DEFER", "never"),
        cases: &[
            "bridge+host-local IPv4",
            "bridge+ipMasq nftables",
            "ptp",
            "macvlan",
        ],
        least: Least::Percent(5.0),
    },
    Trick {
        name: "confinement",
        without: Switch::Variable("CNI_CONFINE", "off"),
        cases: &["loopback", "host-local", "bridge+host-local IPv4"],
        least: Least::Cost(0.1),
    },
    Trick {
        name: "iptables over netlink",
        without: Switch::Variable("CNI_IPTABLES", "commands"),
        cases: &[
            "bridge+ipMasq iptables",
            "firewall iptables",
            "Kubernetes chain iptables",
        ],
        least: Least::Percent(5.0),
    },
    Trick {
        name: "arena allocator",
        without: Switch::Feature("cni-core/without-arena"),
        cases: &["loopback", "host-local", "bridge+host-local IPv4"],
        least: Least::Percent(5.0),
    },
    Trick {
        name: "index of host-local",
        without: Switch::Feature("cni-host-local/without-index"),
        cases: &[
            "host-local, none taken",
            "host-local, 110 taken",
            "host-local, 250 taken",
            "host-local, 20,000 taken",
        ],
        least: Least::Milliseconds(0.5, "host-local, 250 taken"),
    },
];

/// A case and verb of a trick.
struct Row {
    trick: &'static str,
    figures: Figures,
}

impl Row {
    fn without(&self) -> f64 {
        let other = self.figures.other.as_ref();
        other.map_or(f64::NAN, |sample| sample.median())
    }

    /// Milliseconds.
    fn gain(&self) -> f64 {
        self.without() - self.figures.ours.median()
    }

    /// Percent of the time without the trick.
    fn percent(&self) -> f64 {
        self.gain() / self.without() * 100.0
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.trick.to_owned(),
            self.figures.case.to_owned(),
            self.figures.verb.to_owned(),
            format!("{:.2}", self.figures.ours.median()),
            format!("{:.2}", self.without()),
            format!("{:+.2} ms, {:+.1} %", self.gain(), self.percent()),
        ]
    }

    fn to_json(&self) -> Value {
        json!({
            "trick": self.trick, "case": self.figures.case, "verb": self.figures.verb,
            "with_ms": self.figures.ours.median(), "without_ms": self.without(), "rounds": self.figures.ours.times.len()
        })
    }
}

fn measure(setup: &Setup<'_>) -> Result<Report> {
    let rounds = setup.rounds(ROUNDS);
    let mut rows = Vec::new();
    let mut targets = Vec::new();
    for trick in TRICKS {
        eprintln!("    {} ({rounds} rounds)", trick.name);
        let figures = trick.measure(setup, rounds)?;
        let of_trick: Vec<Row> = figures
            .into_iter()
            .map(|figures| Row {
                trick: trick.name,
                figures,
            })
            .collect();
        targets.extend(trick.judge(&of_trick));
        rows.extend(of_trick);
    }
    let mut report = Report::new(SECTION.name, &HEAD, rows.iter().map(Row::cells).collect());
    report.notes = format!("Medians of {rounds} rounds.");
    report.data = rows.iter().map(Row::to_json).collect();
    report.targets = targets;
    Ok(report)
}

impl Trick {
    fn measure(&self, setup: &Setup<'_>, rounds: usize) -> Result<Vec<Figures>> {
        // Where two have the same name, they differ in the floor only.
        let all = || TAKEN.iter().chain(CASES);
        let find = |name: &&'static str| {
            let case = all().find(|case| case.name == *name);
            case.context(*name)
        };
        let cases: Vec<&Case> = self.cases.iter().map(find).collect::<Result<_>>()?;
        let ours = Contender {
            tag: "ours",
            dir: project::bin(),
            env: None,
        };
        let without = match self.without {
            Switch::Variable(name, value) => Contender {
                env: Some((name, value)),
                ..ours.clone()
            },
            Switch::Feature(feature) => {
                let chains = cases.iter().flat_map(|case| case.chain);
                let mut plugins: Vec<&str> = chains.map(|(plugin, _)| *plugin).collect();
                // The IPAM plugin of all of them.
                plugins.push("host-local");
                plugins.sort_unstable();
                plugins.dedup();
                Contender {
                    dir: build::variant(feature, &plugins)?,
                    ..ours.clone()
                }
            }
        };
        let without = Contender {
            tag: "without",
            ..without
        };
        run::compare(&cases, &[ours, without], setup.tools, rounds)
    }

    fn judge(&self, rows: &[Row]) -> Option<Target> {
        let (gain, least, unit): (fn(&Row) -> f64, _, _) = match self.least {
            Least::Percent(least) => (Row::percent, least, " %"),
            Least::Milliseconds(least, _) => (Row::gain, least, " ms"),
            Least::Cost(most) => {
                let costs = rows.iter().map(|row| -row.gain());
                let highest = costs.max_by(f64::total_cmp)?;
                let what = self.name.into();
                return Some(Target::at_most(what, highest, most, " ms", "of each verb"));
            }
        };
        let counts = |row: &&Row| match self.least {
            Least::Milliseconds(_, case) => row.figures.case == case,
            _ => true,
        };
        let best = rows
            .iter()
            .filter(counts)
            .map(gain)
            .max_by(f64::total_cmp)?;
        Some(Target {
            what: self.name.into(),
            wanted: format!("gains at least {least}{unit} of a verb"),
            is: format!("{best:.1}{unit}"),
            met: best >= least,
        })
    }
}
