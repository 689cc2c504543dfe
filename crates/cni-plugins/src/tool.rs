//! The command line under the executable's own name.

use crate::plugins;
use anyhow::{Result, bail};
use cni_core::skel::build_version;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// Runs the command that `arguments` name.
pub(crate) fn main(arguments: &[OsString]) -> ExitCode {
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done if standard error is closed.
            let _ = writeln!(io::stderr(), "cni-plugins: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[OsString]) -> Result<()> {
    let Some(command) = arguments.first() else {
        return print(&help());
    };
    match command.to_string_lossy().as_ref() {
        "help" | "--help" | "-h" => print(&help()),
        "version" | "--version" | "-V" => print(&format!("cni-plugins {}\n", build_version())),
        "list" => print(
            &plugins::names()
                .map(|name| format!("{name}\n"))
                .collect::<String>(),
        ),
        other => bail!("no command or plugin {other:?}; \"cni-plugins help\" lists them"),
    }
}

fn print(text: &str) -> Result<()> {
    Ok(io::stdout().write_all(text.as_bytes())?)
}

fn help() -> String {
    let names: Vec<&str> = plugins::names().collect();
    format!(
        "All CNI plugins in one executable, {}.

It acts as a plugin when it is called by the plugin's name: through a link of that name, or of
a name that ends with \"-\" and the plugin's name, or with the name as first argument.

    cni-plugins PLUGIN     acts as this plugin
    cni-plugins list       prints the names of the plugins
    cni-plugins version    prints the version
    cni-plugins help       prints this

Plugins: {}
",
        build_version(),
        names.join(", ")
    )
}
