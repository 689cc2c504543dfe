//! Checks CNI plugins of any origin against the CNI specification, and against what container runtimes rely on.
//!
//! | module | contents |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`subject`] | plugins under test, and how to use them |
//! | [`rule`], [`rules`] | the rules, by groups |
//! | [`runner`], [`worker`] | runs rules, each in a process and on a host of its own |
//! | [`rig`] | the host of a rule, with the plugin on it |
//! | [`demand`] | demands on what a plugin answers |
//! | [`report`] | results as text, JSON, JUnit XML and Markdown |
//!
//! The hosts are those of `testkit`. A rule is a function that panics when the plugin breaks the rule.

mod cli;
mod demand;
mod previous;
mod report;
mod rig;
mod rule;
mod rules;
mod runner;
mod subject;
mod version;
mod worker;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use cli::Options;

const NAME: &str = "cni-conformance";

/// The environment variable by which a shell asks for completions.
const COMPLETE: &str = "CNI_CONFORMANCE_COMPLETE";

/// The exit status when rules could not be checked.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    // Ends the process if it was called by a shell for completions.
    clap_complete::CompleteEnv::with_factory(Options::command)
        .var(COMPLETE)
        .bin(NAME)
        .completer(NAME)
        .complete();
    let outcome = match std::env::args().nth(1).as_deref() {
        Some(runner::WORKER) => worker::run(),
        _ => cli::run(&Options::parse()),
    };
    outcome.unwrap_or_else(|error| {
        // Nothing can be done if standard error is closed.
        let _ = writeln!(std::io::stderr(), "cni-conformance: {error:#}");
        ExitCode::from(UNUSABLE)
    })
}
