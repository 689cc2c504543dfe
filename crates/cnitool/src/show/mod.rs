//! `cnitool show`: the attachments on this host, from the cache of runtimes and from the kernel.

mod filters;
mod gather;
mod links;
mod model;
mod style;
mod table;
mod text;
mod tree;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap_complete::ArgValueCandidates;

use crate::environment;
use gather::Selection;
pub(crate) use links::Containers;
use style::Style;

/// Arguments of `cnitool show`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names of networks; all if none is given
    #[arg(add = ArgValueCandidates::new(environment::networks))]
    network: Vec<String>,
    /// Print everything that is known, as JSON
    #[arg(long, conflicts_with = "tree")]
    json: bool,
    /// Draw a tree of the host, bridges, ports and containers
    #[arg(long)]
    tree: bool,
    /// Directory of a runtime's cache; several times for several runtimes
    #[arg(long, value_name = "DIR", default_value = "/var/lib/cni", value_hint = clap::ValueHint::DirPath)]
    cache_dir: Vec<PathBuf>,
}

/// Prints the report.
pub(crate) fn run(arguments: &Args) -> Result<ExitCode> {
    let report = gather::report(&Selection {
        networks: &arguments.network,
        cache_dirs: &arguments.cache_dir,
    })?;
    let text = match (arguments.json, arguments.tree) {
        (true, _) => serde_json::to_string_pretty(&report)? + "\n",
        (_, true) => tree::render(&report, Style::of_stdout()),
        _ => table::render(&report, Style::of_stdout()),
    };
    if !arguments.json {
        for problem in &report.problems {
            // Nothing can be done if standard error is closed.
            let _ = writeln!(io::stderr(), "warning: {problem}");
        }
    }
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to standard output")?;
    Ok(ExitCode::SUCCESS)
}
