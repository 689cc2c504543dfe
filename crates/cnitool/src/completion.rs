//! `cnitool completion`: scripts that complete command lines in shells.
//!
//! A script calls `cnitool` for the words that can follow, so that it knows the networks and namespaces of the host and
//! needs no update with the program.

use std::io;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::ValueEnum;
use clap_complete::env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Zsh};

/// The environment variable in which a script names its shell.
pub(crate) const VARIABLE: &str = "CNITOOL_COMPLETE";

/// Arguments of `cnitool completion`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell that reads the script
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

impl Shell {
    fn completer(self) -> &'static dyn EnvCompleter {
        match self {
            Shell::Bash => &Bash,
            Shell::Elvish => &Elvish,
            Shell::Fish => &Fish,
            Shell::Powershell => &Powershell,
            Shell::Zsh => &Zsh,
        }
    }
}

pub(crate) fn run(arguments: &Args) -> Result<ExitCode> {
    arguments
        .shell
        .completer()
        .write_registration(VARIABLE, "cnitool", "cnitool", "cnitool", &mut io::stdout())
        .context("cannot write to standard output")?;
    Ok(ExitCode::SUCCESS)
}
