//! `cargo xtask crash`: the crash tests with all combinations of kills, and the table of what was killed and recovered.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::{no_arguments, project, test};

/// The file that the tests append their rows to.
const TABLE: &str = "CNI_TEST_CRASH_TABLE";

/// The page with the table, between [`START`] and [`END`].
const PAGE: &str = "Documentation/reliability.md";
const START: &str = "<!-- crash -->\n";
const END: &str = "<!-- end -->";

const HEADING: &str =
    "| plugin | killed in | points | recovered by DEL | recovered by GC |\n|---|---|---|---|---|\n";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    let table = project::target().join("crash.md");
    fs::write(&table, "").with_context(|| table.display().to_string())?;
    let tests = ["-p", "blackbox", "--test", "crash"].map(String::from);
    test::run_with(&tests, &[(TABLE, &table)])?;
    let rows = fs::read_to_string(&table).with_context(|| table.display().to_string())?;
    let page = project::root().join(PAGE);
    insert(&page, &rows)?;
    println!("the table is in {PAGE}");
    Ok(())
}

fn insert(page: &Path, rows: &str) -> Result<()> {
    let text = fs::read_to_string(page).with_context(|| page.display().to_string())?;
    let new = inserted(&text, rows)
        .with_context(|| format!("{}: no lines {START}and {END}", page.display()))?;
    fs::write(page, new).with_context(|| page.display().to_string())
}

/// The page with the rows, in the order of their names.
fn inserted(page: &str, rows: &str) -> Option<String> {
    let mut rows: Vec<&str> = rows.lines().collect();
    rows.sort_unstable();
    let (before, rest) = page.split_once(START)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!(
        "{before}{START}\n{HEADING}{}\n\n{END}{after}",
        rows.join("\n")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_replaced() {
        let page = format!("Before\n\n{START}old\n{END}\n\nAfter\n");
        let new = inserted(&page, "| b |\n| a |\n").expect("a place");
        assert_eq!(
            new,
            format!("Before\n\n{START}\n{HEADING}| a |\n| b |\n\n{END}\n\nAfter\n")
        );
        assert_eq!(inserted("Before", "| a |\n"), None);
    }
}
