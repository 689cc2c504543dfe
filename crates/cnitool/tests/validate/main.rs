//! `cnitool validate`: messages, files, and checks of the host.

mod files;
mod host;
mod messages;
mod oracle;

use std::path::{Path, PathBuf};

use testkit::{Run, tool};

/// Runs it without checks of the host.
pub(crate) fn validate(arguments: &[&str]) -> Run {
    tool("cnitool")
        .arguments(&["validate", "--no-host"])
        .arguments(arguments)
        .run()
}

pub(crate) fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// The messages of a run, without the excerpts; of files in `dir`, their names.
pub(crate) fn messages(run: &Run, dir: &Path) -> Vec<String> {
    let prefix = format!("{}/", dir.display());
    let text = run.stdout_text();
    let lines = text.lines().filter_map(|line| line.strip_prefix(&prefix));
    lines.map(str::to_owned).collect()
}
