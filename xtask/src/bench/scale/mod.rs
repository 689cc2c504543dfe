//! Calls on hosts that already have many objects: rules of packet filters, addresses, ports and links.

pub(super) mod filters;
pub(super) mod host;

use serde_json::{Value, json};

use super::figures::{Figures, Sample};
use super::targets::Target;

/// Sizes of each measurement: none, some, and most.
const SIZES: usize = 3;

/// What was measured of one side's verb.
struct Row {
    case: &'static str,
    verb: &'static str,
    side: &'static str,
    /// Milliseconds, by size.
    times: [f64; SIZES],
    /// The target: the ratio of the time with the most objects to that with none.
    most: Option<f64>,
}

impl Row {
    /// The ratio of the time with the most objects to that with none.
    fn growth(&self) -> f64 {
        self.times[SIZES - 1] / self.times[0]
    }

    fn cells(&self) -> Vec<String> {
        let words = [self.case, self.verb, self.side].map(str::to_owned);
        let times = self.times.map(|time| format!("{time:.2}"));
        let growth = format!("{:.2}x", self.growth());
        words.into_iter().chain(times).chain([growth]).collect()
    }

    fn to_json(&self, sizes: &[u32; SIZES]) -> Value {
        json!({
            "case": self.case, "verb": self.verb, "side": self.side, "sizes": sizes, "median_ms": self.times
        })
    }
}

/// Converts the figures of all sizes into one row per side and verb. `most` returns the target of a verb.
fn gather(
    case: &'static str,
    sizes: &[Vec<Figures>],
    verbs: &[&'static str],
    most: impl Fn(&str) -> Option<f64>,
) -> Vec<Row> {
    type Pick = fn(&Figures) -> Option<f64>;
    let picks: [(&str, Pick); 3] = [
        ("ours", |figures| Some(figures.ours.median())),
        ("peer", |figures| figures.peer.as_ref().map(Sample::median)),
        ("bare", |figures| figures.floor),
    ];
    let mut rows = Vec::new();
    for verb in verbs {
        let of_verb = |figures: &Vec<Figures>| figures.iter().position(|row| row.verb == *verb);
        let of_verb: Vec<&Figures> = sizes
            .iter()
            .filter_map(|figures| of_verb(figures).map(|index| &figures[index]))
            .collect();
        for (side, pick) in picks {
            let times: Vec<f64> = of_verb.iter().filter_map(|figures| pick(figures)).collect();
            if let Ok(times) = times.try_into() {
                rows.push(Row {
                    case,
                    verb,
                    side,
                    times,
                    most: most(verb).filter(|_| side == "ours"),
                });
            }
        }
    }
    rows
}

/// Compares our results with the targets. `among` describes the largest size.
fn judge(rows: &[Row], among: &str) -> Vec<Target> {
    let target = |row: &Row| {
        let what = format!("{} {} among {among}", row.case, row.verb);
        let mut target = Target::at_most(what, row.growth(), row.most?, "x", "that among none");
        let same =
            |other: &&Row| (other.side, other.case, other.verb) == ("bare", row.case, row.verb);
        if let Some(bare) = rows.iter().find(same) {
            target.is += &format!(" (the bare operation {:.2}x)", bare.growth());
        }
        Some(target)
    };
    rows.iter().filter_map(target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rows_with_a_limit_are_judged() {
        let row = |side, last, most| Row {
            case: "portmap nftables",
            verb: "ADD",
            side,
            times: [1.0, 1.5, last],
            most,
        };
        let rows = [row("ours", 2.5, Some(2.0)), row("bare", 9.0, None)];
        let targets = judge(&rows, "5,000");
        assert_eq!(targets.len(), 1);
        assert!(!targets[0].met && targets[0].is == "2.50x (the bare operation 9.00x)");
        assert_eq!(rows[1].cells()[6], "9.00x");
        assert!(judge(&[row("ours", 2.0, Some(2.0))], "5,000")[0].met);
    }
}
