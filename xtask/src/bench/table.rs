//! The tables, in Markdown.

use std::fmt::Write as _;
use std::path::Path;

use super::run::Figures;
use super::targets::Target;
use crate::build::Binary;

/// A Markdown table whose columns line up in plain text too.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells
            .chain([head[column].chars().count(), 3])
            .max()
            .unwrap_or(3)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        format!("| {} |\n", padded.join(" | "))
    };
    let mut text = line(
        &head
            .iter()
            .map(|cell| (*cell).to_owned())
            .collect::<Vec<_>>(),
    );
    text += &line(
        &widths
            .iter()
            .map(|width| "-".repeat(*width))
            .collect::<Vec<_>>(),
    );
    rows.iter().for_each(|row| text += &line(row));
    text
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.digits$}"))
}

/// Time, processes and memory of each case and verb.
pub(crate) fn figures(figures: &[Figures]) -> String {
    let row = |row: &Figures| {
        let peer = row.peer.as_ref();
        let ours = row.ours.median();
        vec![
            format!("{}{}", row.case, if row.elsewhere { " (UML)" } else { "" }),
            row.verb.to_owned(),
            format!("{ours:.2}"),
            number(peer.map(super::run::Sample::median), 2),
            row.ratio()
                .map_or_else(|| "-".into(), |ratio| format!("{ratio:.1}x")),
            number(row.floor, 2),
            row.floor
                .map_or_else(|| "-".into(), |floor| format!("{:.2}x", ours / floor)),
            row.ours.processes.to_string(),
            peer.map_or_else(|| "-".into(), |peer| peer.processes.to_string()),
            row.ours.memory.to_string(),
            peer.map_or_else(|| "-".into(), |peer| peer.memory.to_string()),
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
    table(&head, &figures.iter().map(row).collect::<Vec<_>>())
}

/// The binaries' sizes.
pub(crate) fn sizes(binaries: &[Binary], peer: Option<&Path>) -> String {
    let size_of = |name: &str| {
        peer.and_then(|dir| std::fs::metadata(dir.join(name)).ok())
            .map(|meta| meta.len())
    };
    let row = |binary: &Binary| {
        let other = size_of(&binary.name);
        vec![
            binary.name.clone(),
            binary.size.to_string(),
            other.map_or_else(|| "-".into(), |size| size.to_string()),
            other.map_or_else(
                || "-".into(),
                |size| format!("{:.1}x", size as f64 / binary.size as f64),
            ),
        ]
    };
    table(
        &["binary", "bytes", "peer's bytes", "smaller"],
        &binaries.iter().map(row).collect::<Vec<_>>(),
    )
}

/// What was wanted, and whether it is so.
pub(crate) fn targets(targets: &[Target]) -> String {
    let row = |target: &Target| {
        let verdict = if target.met { "met" } else { "NOT MET" };
        vec![
            target.what.clone(),
            target.wanted.clone(),
            target.is.clone(),
            verdict.to_owned(),
        ]
    };
    let mut text = table(
        &["what", "wanted", "is", "verdict"],
        &targets.iter().map(row).collect::<Vec<_>>(),
    );
    let met = targets.iter().filter(|target| target.met).count();
    let _ = write!(text, "\n{met} of {} targets met", targets.len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let text = table(
            &["a", "long head"],
            &[vec!["longer cell".into(), "1".into()]],
        );
        let widths: Vec<usize> = text.lines().map(str::len).collect();
        assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
    }
}
