//! Running as a process: the only place that touches process globals.

use super::{Env, Outcome, Plugin, run};
use crate::{Code, Error};
use nix::sys::stat::{Mode, umask};
use std::io::{self, Write};
use std::process::ExitCode;

/// What a plugin's `fn main` returns.
///
/// A panic prints a CNI error object and exits with 1, so that a runtime sees
/// what happened in place of "no error message".
pub fn main(plugin: &dyn Plugin) -> ExitCode {
    // Runtimes have any: BuildKit's is 0. Files of other implementations' forms have
    // modes that depend on it.
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    let name = plugin.name();
    std::panic::set_hook(Box::new(move |info| {
        let error = panic_error(name, &info.to_string());
        // Nowhere to report a failure of these to.
        let _ = io::stdout().write_all(error.to_json().as_bytes());
        let _ = io::stdout().flush();
        let _ = writeln!(io::stderr(), "{}; {}", error.msg, error.details);
        std::process::exit(1);
    }));
    if std::env::var_os("CNI_LOG").is_some_and(|filter| !filter.is_empty()) {
        env_logger::Builder::from_env(env_logger::Env::new().filter("CNI_LOG")).init();
    }
    let outcome = run(plugin, &Env::from_process(), io::stdin().lock());
    write(&outcome)
}

fn panic_error(plugin: &str, what: &str) -> Error {
    Error::new(
        Code::INTERNAL,
        format!("the {plugin} plugin panicked, which is a bug in it"),
    )
    .with_details(what.replace('\n', " "))
}

fn write(outcome: &Outcome) -> ExitCode {
    // Standard error is for people; a runtime that closed it loses nothing else.
    let _ = io::stderr().write_all(outcome.stderr.as_bytes());
    let mut stdout = io::stdout();
    let written = stdout
        .write_all(outcome.stdout.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Ok(()) => ExitCode::from(outcome.exit),
        Err(e) => {
            let _ = writeln!(
                io::stderr(),
                "Error writing to stdout: {}; what could not be written: {}",
                crate::errno::of(&e),
                outcome.stdout
            );
            ExitCode::FAILURE
        }
    }
}
