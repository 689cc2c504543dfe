//! Help, and errors of the command line in upstream's words and on upstream's streams.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Error};

use crate::cli::Cli;
use crate::validate;

/// Prints the help of the whole program.
pub(crate) fn help() -> ExitCode {
    print(&Cli::command().render_help())
}

/// Prints the error of a subcommand that upstream does not have.
pub(crate) fn failure(error: &anyhow::Error) -> ExitCode {
    fail(&format!("Error: {error:#}\n"))
}

/// Prints the error of one of upstream's subcommands as upstream does: with its usage, and twice.
pub(crate) fn verb_failure(name: &str, error: &anyhow::Error) -> ExitCode {
    let mut root = Cli::command();
    root.build();
    let usage = root
        .find_subcommand_mut(name)
        .map(|command| command.render_usage().to_string());
    let usage = usage.unwrap_or_default();
    fail(&format!("Error: {error}\n{usage}\n\n{error}\n"))
}

/// Prints why the command line could not be parsed, or the help or version that it asks for.
pub(crate) fn report(error: &Error, arguments: &[OsString]) -> ExitCode {
    let code = match arguments.get(1).is_some_and(|name| name == "validate") {
        true => validate::UNUSABLE.into(),
        false => ExitCode::FAILURE,
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => print(&error.render()),
        ErrorKind::InvalidSubcommand => {
            let message = unknown_command(&text(error, ContextKind::InvalidSubcommand), arguments);
            fail_with(
                code,
                &format!("Error: {message}\nRun 'cnitool --help' for usage.\n{message}\n"),
            )
        }
        ErrorKind::UnknownArgument => {
            let message = unknown_flag(&text(error, ContextKind::InvalidArg));
            let usage = error.get(ContextKind::Usage).map(ToString::to_string);
            let usage = usage.unwrap_or_default();
            fail_with(code, &format!("Error: {message}\n{usage}\n\n{message}\n"))
        }
        _ => {
            let text = error.render().to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            fail_with(code, &format!("Error: {text}"))
        }
    }
}

/// The word in an error that the parser means.
fn text(error: &Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

/// Upstream's message on an unknown subcommand, with the names that it resembles.
fn unknown_command(word: &str, arguments: &[OsString]) -> String {
    let root = Cli::command();
    let known = |name: &OsString| name.to_str().and_then(|name| root.find_subcommand(name));
    // The subcommand that has subcommands of its own, if it is one of theirs that is unknown.
    let group = arguments.iter().skip(1).find_map(known);
    let path = group.map_or_else(
        || "cnitool".to_owned(),
        |group| format!("cnitool {}", group.get_name()),
    );
    let command = group.unwrap_or(&root);
    let names = command.get_subcommands().map(clap::Command::get_name);
    let similar: String = names
        .filter(|name| is_similar(word, name))
        .map(|name| format!("\t{name}\n"))
        .collect();
    let mut message = format!("unknown command {word:?} for {path:?}");
    if !similar.is_empty() {
        message += &format!("\n\nDid you mean this?\n{similar}");
    }
    message
}

/// Upstream's rule: at most two edits, or the beginning of a name.
fn is_similar(word: &str, name: &str) -> bool {
    let word = word.to_lowercase();
    strsim::levenshtein(&word, name) <= 2 || name.starts_with(&word)
}

/// Upstream's message on an unknown option.
fn unknown_flag(flag: &str) -> String {
    match flag.strip_prefix("--") {
        Some(_) => format!("unknown flag: {flag}"),
        None => {
            let name = flag.chars().nth(1).unwrap_or_default();
            format!("unknown shorthand flag: '{name}' in {flag}")
        }
    }
}

fn print(text: &impl Display) -> ExitCode {
    match write!(io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fail(text: &str) -> ExitCode {
    fail_with(ExitCode::FAILURE, text)
}

fn fail_with(code: ExitCode, text: &str) -> ExitCode {
    // Nothing can be done if standard error is closed.
    let _ = io::stderr().write_all(text.as_bytes());
    code
}
