//! A chart of the most telling cases, as SVG: ours, the peer and the floor on a logarithmic axis.
//!
//! It has a background of its own and follows the reader's colour scheme, so that it is readable on any page.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::report::Results;

/// Cases from top to bottom, and their labels.
const ROWS: &[(&str, &str)] = &[
    ("loopback", "loopback"),
    ("bridge+host-local IPv4", "bridge, host-local"),
    ("ptp", "ptp, host-local"),
    ("macvlan", "macvlan, host-local"),
    ("portmap nftables", "portmap, nftables"),
    ("firewall nftables", "firewall, nftables"),
    ("Kubernetes chain nftables", "Kubernetes chain, nftables"),
    ("Kubernetes chain iptables", "Kubernetes chain, iptables"),
];

/// Operations of container runtimes.
const RUNTIMES: &[(&str, &str)] = &[
    ("podman run, two ports", "podman run, two ports"),
    ("RunPodSandbox", "containerd: RunPodSandbox"),
    ("StopPodSandbox", "containerd: StopPodSandbox"),
];

/// A part of the chart: the cases that have results of a verb.
struct Panel {
    verb: &'static str,
    heading: &'static str,
    rows: &'static [(&'static str, &'static str)],
}

const PANELS: [Panel; 3] = [
    Panel {
        verb: "ADD",
        heading: "ADD: attach a container",
        rows: ROWS,
    },
    Panel {
        verb: "DEL",
        heading: "DEL: detach it",
        rows: ROWS,
    },
    Panel {
        verb: "network part",
        heading: "In a runtime: time with a network less that without; the floor: plugins that do nothing",
        rows: RUNTIMES,
    },
];

const WIDTH: f64 = 860.0;
/// The axis, between the labels and the figures.
const LEFT: f64 = 210.0;
const RIGHT: f64 = 650.0;
const ROW: f64 = 25.0;
/// The height of a panel's heading, and of the axis below it.
const HEADING: f64 = 34.0;
const AXIS: f64 = 30.0;
const TOP: f64 = 104.0;

const STYLE: &str = "
    text { font: 13px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328 }
    .title { font-size: 17px; font-weight: 600 }
    .panel { font-weight: 600 }
    .small { font-size: 12px; fill: #59636e }
    .end { text-anchor: end } .middle { text-anchor: middle }
    .page { fill: #ffffff; stroke: #d1d9e0 }
    .grid { stroke: #e3e8ed } .span { stroke: #afb8c1; stroke-width: 2 }
    .ours { fill: #0969da } .peer { fill: #ffffff; stroke: #bc4c00; stroke-width: 2 }
    .floor { stroke: #1f2328; stroke-width: 3 }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc }
      .small { fill: #9198a1 }
      .page { fill: #0d1117; stroke: #3d444d }
      .grid { stroke: #262c36 } .span { stroke: #656c76 }
      .ours { fill: #4493f8 } .peer { fill: #0d1117; stroke: #f0883e }
      .floor { stroke: #f0f6fc }
    }
";

/// Milliseconds of one case and verb.
struct Bar {
    label: &'static str,
    ours: f64,
    peer: Option<f64>,
    floor: Option<f64>,
}

/// Writes the chart of a run.
pub(crate) fn write(results: &Results, file: &Path) -> Result<()> {
    let mut panels: Vec<_> = PANELS
        .iter()
        .map(|panel| (panel.heading, bars(results, panel)))
        .collect();
    panels.retain(|(_, bars)| !bars.is_empty());
    if panels.is_empty() {
        bail!("these results have none of the cases of the chart");
    }
    let text = drawn(&panels, &results.environment);
    fs::write(file, text).with_context(|| file.display().to_string())
}

fn bars(results: &Results, panel: &Panel) -> Vec<Bar> {
    let sections = results.reports.iter();
    let rows: Vec<&Value> = sections
        .filter_map(|report| report.data.as_array())
        .flatten()
        .filter(|row| row["verb"] == panel.verb)
        .collect();
    let bar = |(case, label): &(&str, &'static str)| {
        let row = rows.iter().find(|row| row["case"] == *case)?;
        Some(Bar {
            label,
            ours: row["ours"]["median_ms"].as_f64()?,
            peer: row["peer"]["median_ms"].as_f64(),
            floor: row["floor_ms"].as_f64(),
        })
    };
    panel.rows.iter().filter_map(bar).collect()
}

/// A logarithmic axis from one round number to another.
struct Scale {
    ticks: Vec<f64>,
}

impl Scale {
    /// The smallest axis of 1, 2 and 5 times powers of ten that contains all values.
    fn of(values: impl Iterator<Item = f64>) -> Scale {
        let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let all: Vec<f64> = (-3..6)
            .flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10_f64.powi(power)))
            .collect();
        let first = all.iter().rposition(|tick| *tick <= low).unwrap_or(0);
        let last = all.iter().position(|tick| *tick >= high);
        let last = last.unwrap_or(all.len() - 1).max(first + 1);
        Scale {
            ticks: all[first..=last].to_vec(),
        }
    }

    fn x(&self, value: f64) -> f64 {
        let (low, high) = (self.ticks[0].ln(), self.ticks[self.ticks.len() - 1].ln());
        LEFT + (value.ln() - low) / (high - low) * (RIGHT - LEFT)
    }
}

fn drawn(panels: &[(&str, Vec<Bar>)], environment: &str) -> String {
    let bars = || panels.iter().flat_map(|(_, bars)| bars);
    let values = bars().flat_map(|bar| [Some(bar.ours), bar.peer, bar.floor]);
    let scale = Scale::of(values.flatten());
    let rows = bars().count() as f64;
    let height = TOP + panels.len() as f64 * (HEADING + AXIS) + rows * ROW + 34.0;
    let mut svg = head(height, &description(panels));
    let mut y = TOP;
    for (heading, bars) in panels {
        let _ = panel(&mut svg, &scale, y, heading, bars);
        y += HEADING + bars.len() as f64 * ROW + AXIS;
    }
    let note = escaped(environment);
    let _ = writeln!(
        svg,
        "<text class='small' x='20' y='{:.0}'>{note}</text>\n</svg>",
        height - 16.0
    );
    svg
}

/// The start of the file: texts for screen readers, style, title and legend.
fn head(height: f64, description: &str) -> String {
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' height='{height}' \
         role='img' aria-labelledby='title description'>
<title id='title'>Time of CNI calls: ours, upstream's, and the bare kernel operations</title>
<desc id='description'>{description}</desc>
<style>{STYLE}</style>
<rect class='page' x='0.5' y='0.5' width='{:.0}' height='{:.0}' rx='8'/>
<text class='title' x='20' y='32'>Time of a call, from the start of the process to its exit</text>
<text class='small' x='20' y='52'>Medians in milliseconds on a logarithmic axis: each step to the left is twice as \
         fast or more.</text>
<circle class='ours' cx='26' cy='76' r='6'/><text x='40' y='80'>this project</text>
<rect class='peer' x='148' y='70' width='11' height='11'/><text x='168' y='80'>upstream (Go)</text>
<line class='floor' x1='294' y1='68' x2='294' y2='84'/><text x='304' y='80'>floor: empty processes and \
         the bare kernel operations</text>
",
        WIDTH - 1.0,
        height - 1.0
    )
}

fn panel(
    svg: &mut String,
    scale: &Scale,
    top: f64,
    heading: &str,
    bars: &[Bar],
) -> std::fmt::Result {
    let (start, end) = (top + HEADING, top + HEADING + bars.len() as f64 * ROW);
    writeln!(
        svg,
        "<text class='panel' x='20' y='{y:.0}'>{heading}</text>\
         <text class='small end' x='735' y='{y:.0}'>ours</text>\
         <text class='small end' x='835' y='{y:.0}'>faster</text>",
        y = top + 22.0
    )?;
    for tick in &scale.ticks {
        let x = scale.x(*tick);
        writeln!(
            svg,
            "<line class='grid' x1='{x:.1}' y1='{start:.0}' x2='{x:.1}' y2='{end:.0}'/>\
             <text class='small middle' x='{x:.1}' y='{:.0}'>{tick}</text>",
            end + 16.0
        )?;
    }
    writeln!(
        svg,
        "<text class='small' x='{:.0}' y='{:.0}'>ms</text>",
        RIGHT + 22.0,
        end + 16.0
    )?;
    for (bar, number) in bars.iter().zip(0..) {
        row(svg, scale, start + (f64::from(number) + 0.5) * ROW, bar)?;
    }
    Ok(())
}

fn row(svg: &mut String, scale: &Scale, y: f64, bar: &Bar) -> std::fmt::Result {
    let ours = scale.x(bar.ours);
    let text = y + 4.5;
    write!(
        svg,
        "<text class='end' x='{:.0}' y='{text:.1}'>{}</text>",
        LEFT - 14.0,
        bar.label
    )?;
    if let Some(peer) = bar.peer {
        let x = scale.x(peer);
        write!(
            svg,
            "<line class='span' x1='{ours:.1}' y1='{y:.1}' x2='{x:.1}' y2='{y:.1}'/>\
             <rect class='peer' x='{:.1}' y='{:.1}' width='11' height='11'/>\
             <text class='end' x='835' y='{text:.1}'>{:.1}x</text>",
            x - 5.5,
            y - 5.5,
            peer / bar.ours
        )?;
    }
    write!(
        svg,
        "<circle class='ours' cx='{ours:.1}' cy='{y:.1}' r='6'/>"
    )?;
    if let Some(floor) = bar.floor {
        let x = scale.x(floor);
        write!(
            svg,
            "<line class='floor' x1='{x:.1}' y1='{:.1}' x2='{x:.1}' y2='{:.1}'/>",
            y - 8.0,
            y + 8.0
        )?;
    }
    writeln!(
        svg,
        "<text class='end' x='735' y='{text:.1}'>{:.2} ms</text>",
        bar.ours
    )
}

/// The figures as a sentence, for readers who do not see the chart.
fn description(panels: &[(&str, Vec<Bar>)]) -> String {
    let bar = |bar: &Bar| {
        let peer = bar
            .peer
            .map_or_else(String::new, |ms| format!(", upstream {ms:.1} ms"));
        let floor = bar
            .floor
            .map_or_else(String::new, |ms| format!(", floor {ms:.1} ms"));
        format!("{}: ours {:.1} ms{peer}{floor}", bar.label, bar.ours)
    };
    let panel = |(heading, bars): &(&str, Vec<Bar>)| {
        let bars: Vec<String> = bars.iter().map(bar).collect();
        format!("{heading}. {}.", bars.join("; "))
    };
    escaped(&panels.iter().map(panel).collect::<Vec<_>>().join(" "))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_ends_at_round_numbers() {
        let scale = Scale::of([0.31, 270.0, 3.0].into_iter());
        let ticks = [
            0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0,
        ];
        assert_eq!(scale.ticks.len(), ticks.len());
        let is_close = |(a, b): (&f64, &f64)| (a / b - 1.0).abs() < 1e-9;
        assert!(scale.ticks.iter().zip(&ticks).all(is_close));
        assert_eq!(
            (scale.x(0.2).round(), scale.x(500.0).round()),
            (LEFT, RIGHT)
        );
        assert!(scale.x(1.0) < scale.x(1.1));
        assert_eq!(Scale::of([1.0].into_iter()).ticks.len(), 2);
    }

    #[test]
    fn rows_without_peer_or_floor_are_drawn() {
        let bar = Bar {
            label: "tap",
            ours: 2.0,
            peer: None,
            floor: None,
        };
        let svg = drawn(&[("ADD", vec![bar])], "a & b");
        assert!(
            svg.contains(">2.00 ms<") && svg.contains("a &amp; b"),
            "{svg}"
        );
        assert!(svg.contains("ADD. tap: ours 2.0 ms.</desc>"), "{svg}");
        assert!(!svg.contains("NaN"), "{svg}");
    }
}
