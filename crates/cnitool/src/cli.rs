//! The command line: global options, and the list of subcommands.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cni_core::skel::build_version;

use crate::{chain, completion, doctor, repair, show, usage, validate, verbs};

/// Attaches network namespaces to CNI networks, and looks after networks and attachments
#[derive(Debug, Parser)]
#[command(name = "cnitool", version = build_version())]
pub(crate) struct Cli {
    /// Name of the interface in the container; CNI_IFNAME, or eth0, if it is not given
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) ifname: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Verb(verbs::Verb),
    /// Show the attachments on this host: addresses, links, ports, rules and limits
    Show(show::Args),
    /// Put back what has been deleted of living attachments on the host: rules, qdiscs, bridge ports, routes
    Repair(repair::Args),
    /// Look for what keeps networks on this host from working, and say what to do
    Doctor(doctor::Args),
    /// Check network configurations, and say what to write instead
    Validate(validate::Args),
    /// Add plugins to a network without rewriting its list, and remove them
    Chain(chain::Args),
    /// Print a script that completes command lines of cnitool in a shell
    Completion(completion::Args),
}

/// Runs a subcommand. Errors go to standard error.
pub(crate) fn run(command: &Command, ifname: Option<String>) -> ExitCode {
    let outcome = match command {
        Command::Verb(verb) => {
            return verbs::run(verb, ifname)
                .unwrap_or_else(|error| usage::verb_failure(verb.name(), &error));
        }
        Command::Show(arguments) => show::run(arguments),
        Command::Repair(arguments) => repair::run(arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Validate(arguments) => validate::run(arguments),
        Command::Chain(arguments) => chain::run(arguments),
        Command::Completion(arguments) => completion::run(arguments),
    };
    outcome.unwrap_or_else(|error| usage::failure(&error))
}
