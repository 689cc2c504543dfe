//! The report as a table.

use super::model::{Report, State};
use super::style::Style;
use super::text;

const HEADINGS: [&str; 9] = [
    "NETWORK",
    "CONTAINER",
    "INTERFACE",
    "STATE",
    "ADDRESSES",
    "HOST LINK",
    "PORTS",
    "RULES",
    "SHAPING",
];

/// The column of the state, which is coloured.
const STATE: usize = 3;

/// Returns the report in lines. Empty cells are dashes, so that every line has the same number of columns.
pub(super) fn render(report: &Report, style: Style) -> String {
    let mut out = String::new();
    if report.attachments.is_empty() {
        out += "no attachments\n";
    } else {
        let mut rows = vec![HEADINGS.map(String::from)];
        rows.extend(report.attachments.iter().map(|attachment| {
            [
                attachment.network.clone(),
                text::container_id(&attachment.container_id).to_owned(),
                attachment.if_name.clone(),
                attachment.state.text().to_owned(),
                text::addresses(attachment),
                attachment
                    .host_link
                    .as_ref()
                    .map(text::host_link)
                    .unwrap_or_default(),
                text::ports(attachment),
                text::rules(attachment),
                text::shaping(&attachment.shaping),
            ]
        }));
        let widths: Vec<usize> = (0..HEADINGS.len())
            .map(|column| {
                rows.iter()
                    .map(|row| width(&row[column]))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for (number, row) in rows.iter().enumerate() {
            let cells = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, width))| {
                    let cell = if cell.is_empty() { "-" } else { cell };
                    let padded = format!("{cell:width$}");
                    match (number, column) {
                        (0, _) => style.heading(&padded),
                        (_, STATE) if cell == State::Attached.text() => style.good(&padded),
                        (_, STATE) => style.bad(&padded),
                        _ => padded,
                    }
                });
            out += cells.collect::<Vec<_>>().join("  ").trim_end();
            out.push('\n');
        }
    }
    if !report.orphans.is_empty() {
        out += "\nlinks of attachments that are not in the cache:\n";
    }
    for link in &report.orphans {
        let line = format!("{}  {}", text::host_link(link), link.alias);
        out += &format!("{}\n", style.bad(&line));
    }
    out
}

/// The number of characters, at least that of a dash.
fn width(cell: &str) -> usize {
    cell.chars().count().max(1)
}
