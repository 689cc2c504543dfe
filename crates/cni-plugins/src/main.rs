//! All plugins in one executable. It acts as the plugin whose name it is called by, or
//! that its first argument names; under its own name it installs the plugins.

mod install;
mod plugins;
mod sys;
mod tool;

use cni_core::{Code, Error};
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

#[global_allocator]
static MEMORY: cni_core::Arena = cni_core::Arena::new();

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let called = match arguments.is_empty() {
        true => OsString::new(),
        false => arguments.remove(0),
    };
    let called = Path::new(&called).file_name().unwrap_or_default();
    if let Some(plugin) = plugins::by_name(called) {
        return plugins::run(plugin, &arguments);
    }
    let first = arguments
        .first()
        .map_or(OsStr::new(""), OsString::as_os_str);
    if let Some(plugin) = plugins::by_name(first) {
        return plugins::run(plugin, &arguments[1..]);
    }
    if std::env::var_os("CNI_COMMAND").is_some_and(|command| !command.is_empty()) {
        return no_plugin(called);
    }
    tool::main(&arguments)
}

/// Answers a runtime that has called the executable by a name that is not a plugin's.
fn no_plugin(called: &OsStr) -> ExitCode {
    let called = called.to_string_lossy();
    let names: Vec<&str> = plugins::names().collect();
    let error = Error::new(
        Code::INVALID_ENVIRONMENT,
        format!("{called} is the name of no plugin"),
    )
    .with_details(format!(
        "call it by a link whose name is, or ends with \"-\" and, one of {}",
        names.join(", ")
    ));
    // Nothing can be done if standard output is closed.
    let _ = io::stdout().write_all(error.to_json().as_bytes());
    ExitCode::FAILURE
}
