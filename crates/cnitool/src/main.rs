//! The command line for CNI networks: attaches network namespaces as a container runtime does, and looks after
//! networks and attachments.
//!
//! Each subcommand is a module with its arguments and a function `run`; [`cli`] lists them.

mod cached;
mod chain;
mod cli;
mod completion;
mod doctor;
mod environment;
mod gc_from_cri;
mod netns;
mod repair;
mod show;
mod usage;
mod validate;
mod verbs;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use cli::Cli;

fn main() -> ExitCode {
    // Ends the process if it was called by a shell for completions.
    clap_complete::CompleteEnv::with_factory(Cli::command)
        .var(completion::VARIABLE)
        .complete();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match Cli::try_parse_from(&arguments) {
        Ok(Cli {
            ifname,
            command: Some(command),
        }) => cli::run(&command, ifname),
        Ok(Cli { command: None, .. }) => usage::help(),
        Err(error) => usage::report(&error, &arguments),
    }
}
