//! `cargo xtask crash`: the crash tests with all combinations of kills, and the table of what was killed and recovered.

use std::fs;

use anyhow::{Context, Result};

use crate::{no_arguments, page, project, test};

/// The file that the tests append their rows to.
const TABLE: &str = "CNI_TEST_CRASH_TABLE";

/// The page with the table.
const PAGE: &str = "Documentation/reliability.md";

const HEADING: &str =
    "| plugin | killed in | points | recovered by DEL | recovered by GC |\n|---|---|---|---|---|\n";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    let table = project::target().join("crash.md");
    fs::write(&table, "").with_context(|| table.display().to_string())?;
    let tests = ["-p", "blackbox", "--test", "crash"].map(String::from);
    test::run_with(&tests, &[(TABLE, &table)])?;
    let rows = fs::read_to_string(&table).with_context(|| table.display().to_string())?;
    // In the order of their names.
    let mut rows: Vec<&str> = rows.lines().collect();
    rows.sort_unstable();
    page::replace(PAGE, "crash", &format!("{HEADING}{}", rows.join("\n")))
}
