//! Tables in Markdown.

use std::path::Path;

use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;

use super::run::{Figures, Sample};
use super::targets::Target;
use crate::build::Binary;

/// Formats a Markdown table with aligned columns.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(ASCII_MARKDOWN)
        .set_header(head)
        .add_rows(rows);
    table.trim_fmt()
}

/// Formats a value that may be missing.
fn cell(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".into())
}

/// Formats time, processes and memory of each case and verb.
pub(super) fn figures(figures: &[Figures]) -> String {
    let row = |row: &Figures| {
        let peer = row.peer.as_ref();
        let ours = row.ours.median();
        vec![
            format!("{}{}", row.case, if row.uml { " (UML)" } else { "" }),
            row.verb.to_owned(),
            format!("{ours:.2}"),
            cell(peer.map(Sample::median).map(|ms| format!("{ms:.2}"))),
            cell(row.ratio().map(|ratio| format!("{ratio:.1}x"))),
            cell(row.floor.map(|ms| format!("{ms:.2}"))),
            cell(row.floor.map(|floor| format!("{:.2}x", ours / floor))),
            row.ours.processes.to_string(),
            cell(peer.map(|peer| peer.processes.to_string())),
            row.ours.memory.to_string(),
            cell(peer.map(|peer| peer.memory.to_string())),
        ]
    };
    let head = [
        "plugin",
        "verb",
        "ours ms",
        "peer ms",
        "faster",
        "floor ms",
        "of floor",
        "processes",
        "peer's",
        "KiB",
        "peer's",
    ];
    table(&head, figures.iter().map(row))
}

/// Formats the sizes of the binaries.
pub(super) fn sizes(binaries: &[Binary], peer: Option<&Path>) -> String {
    let row = |binary: &Binary| {
        let other = peer.and_then(|dir| std::fs::metadata(dir.join(&binary.name)).ok());
        let other = other.map(|metadata| metadata.len());
        vec![
            binary.name.clone(),
            binary.size.to_string(),
            cell(other.map(|size| size.to_string())),
            cell(other.map(|size| format!("{:.1}x", size as f64 / binary.size as f64))),
        ]
    };
    table(
        &["binary", "bytes", "peer's bytes", "smaller"],
        binaries.iter().map(row),
    )
}

/// Formats the targets and whether they are met.
pub(super) fn targets(targets: &[Target]) -> String {
    let row = |target: &Target| {
        let verdict = if target.met { "met" } else { "NOT MET" };
        vec![
            target.what.clone(),
            target.wanted.clone(),
            target.is.clone(),
            verdict.to_owned(),
        ]
    };
    let met = targets.iter().filter(|target| target.met).count();
    let table = table(
        &["what", "wanted", "is", "verdict"],
        targets.iter().map(row),
    );
    format!("{table}\n\n{met} of {} targets met", targets.len())
}
