//! What was wanted, and whether it is so.

use serde_json::{Value, json};

use super::run::Figures;
use crate::build::Binary;
use crate::project::SIZE_BUDGET;

/// The most memory of a call, in KiB.
const MEMORY: u64 = 4096;

/// Something wanted.
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) wanted: String,
    pub(crate) is: String,
    pub(crate) met: bool,
}

impl Target {
    pub(crate) fn to_json(&self) -> Value {
        json!({"what": self.what, "wanted": self.wanted, "is": self.is, "met": self.met})
    }
}

/// What a row must be, by case and verb.
enum Goal {
    /// Times faster than the peer, at least.
    Faster(f64),
    /// Milliseconds over the floor, at most.
    OverFloor(f64),
    /// Times the floor, at most.
    TimesFloor(f64),
    /// Milliseconds over the bare deletion of a veth pair, at most.
    OverVethDelete(f64),
    /// Times the same verb of another case, at most.
    TimesCase(f64, &'static str),
    /// Milliseconds over the same verb of another case, at most.
    OverCase(f64, &'static str),
}

const GOALS: &[(&str, &str, Goal)] = &[
    ("loopback", "ADD", Goal::Faster(4.0)),
    ("loopback", "ADD", Goal::OverFloor(0.5)),
    ("bridge+host-local IPv4", "ADD", Goal::Faster(4.0)),
    ("bridge+host-local IPv4", "ADD", Goal::TimesFloor(1.5)),
    ("bridge+host-local IPv4", "DEL", Goal::OverVethDelete(2.0)),
    ("bridge+host-local dual-stack", "ADD", Goal::Faster(4.0)),
    ("bridge+host-local dual-stack", "ADD", Goal::TimesFloor(1.5)),
    (
        "bridge+host-local dual-stack",
        "DEL",
        Goal::OverVethDelete(2.0),
    ),
    (
        "host-local, 20,000 taken",
        "ADD",
        Goal::TimesCase(2.0, "host-local"),
    ),
    (
        "host-local, 20,000 taken",
        "DEL",
        Goal::TimesCase(2.0, "host-local"),
    ),
    ("static", "ADD", Goal::Faster(4.0)),
    ("ptp", "ADD", Goal::Faster(4.0)),
    ("macvlan", "ADD", Goal::Faster(4.0)),
    ("host-device", "ADD", Goal::Faster(4.0)),
    ("vlan", "ADD", Goal::Faster(4.0)),
    ("ipvlan", "ADD", Goal::Faster(4.0)),
    // The peer has none of these.
    ("tap", "ADD", Goal::TimesFloor(1.5)),
    ("dummy", "ADD", Goal::TimesFloor(1.5)),
    ("bridge+ipMasq iptables", "ADD", Goal::Faster(5.0)),
    (
        "bridge+ipMasq iptables",
        "DEL",
        Goal::OverCase(6.0, "bridge+host-local IPv4"),
    ),
    ("bridge+ipMasq nftables", "ADD", Goal::Faster(10.0)),
    (
        "bridge+ipMasq nftables",
        "DEL",
        Goal::OverCase(3.0, "bridge+host-local IPv4"),
    ),
    ("portmap iptables", "ADD", Goal::Faster(6.0)),
    ("portmap iptables", "DEL", Goal::Faster(10.0)),
    ("portmap nftables", "ADD", Goal::Faster(20.0)),
    ("portmap nftables", "DEL", Goal::Faster(20.0)),
    ("Kubernetes chain iptables", "ADD", Goal::Faster(5.0)),
    ("Kubernetes chain iptables", "DEL", Goal::Faster(5.0)),
    ("Kubernetes chain nftables", "ADD", Goal::Faster(10.0)),
    ("Kubernetes chain nftables", "DEL", Goal::Faster(6.0)),
];

/// Judges what was measured; goals that this run says nothing about are left out.
pub(crate) fn judge(figures: &[Figures], binaries: &[Binary]) -> Vec<Target> {
    let find = |case: &str, verb: &str| {
        figures
            .iter()
            .find(|row| row.case == case && row.verb == verb)
    };
    let mut targets: Vec<Target> = GOALS
        .iter()
        .filter_map(|(case, verb, goal)| {
            let row = find(case, verb)?;
            let ours = row.ours.median();
            let (wanted, is, met) = match goal {
                Goal::Faster(times) => {
                    let ratio = row.ratio()?;
                    (
                        format!("at least {times}x faster than the peer"),
                        format!("{ratio:.1}x"),
                        ratio >= *times,
                    )
                }
                Goal::OverFloor(most) => {
                    let over = ours - row.floor?;
                    (
                        format!("at most {most} ms over the floor"),
                        format!("{over:.2} ms"),
                        over <= *most,
                    )
                }
                Goal::TimesFloor(most) => {
                    let times = ours / row.floor?;
                    (
                        format!("at most {most}x the floor"),
                        format!("{times:.2}x"),
                        times <= *most,
                    )
                }
                Goal::OverVethDelete(most) => {
                    let over = ours - row.veth_delete?;
                    (
                        format!("at most {most} ms over a bare veth delete"),
                        format!("{over:.2} ms"),
                        over <= *most,
                    )
                }
                Goal::OverCase(most, other) => {
                    let over = ours - find(other, verb)?.ours.median();
                    (
                        format!("at most {most} ms over that of {other}"),
                        format!("{over:.2} ms"),
                        over <= *most,
                    )
                }
                Goal::TimesCase(most, other) => {
                    let times = ours / find(other, verb)?.ours.median();
                    (
                        format!("at most {most}x that of {other}"),
                        format!("{times:.2}x"),
                        times <= *most,
                    )
                }
            };
            Some(Target {
                what: format!("{case} {verb}"),
                wanted,
                is,
                met,
            })
        })
        .collect();
    if let Some(most) = figures.iter().max_by_key(|row| row.ours.memory) {
        targets.push(Target {
            what: "peak memory".into(),
            wanted: format!("below {} MiB", MEMORY / 1024),
            is: format!("{} KiB ({} {})", most.ours.memory, most.case, most.verb),
            met: most.ours.memory < MEMORY,
        });
    }
    if let Some(largest) = binaries.iter().max_by_key(|binary| binary.size) {
        targets.push(Target {
            what: "binary size".into(),
            wanted: format!("below {SIZE_BUDGET} bytes"),
            is: format!("{} bytes ({})", largest.size, largest.name),
            met: largest.size < SIZE_BUDGET,
        });
    }
    targets
}
