//! Tables in Markdown.

use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;

/// Formats a Markdown table with aligned columns.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(ASCII_MARKDOWN)
        .set_header(head)
        .add_rows(rows);
    table.trim_fmt()
}
