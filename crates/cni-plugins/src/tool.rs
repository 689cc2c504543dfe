//! The command line under the executable's own name.

use crate::install::{self, Options};
use crate::plugins;
use anyhow::{Context, Result, bail};
use cni_core::skel::build_version;
use lexopt::Arg;
use nix::sys::signal::{SigSet, Signal};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
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
        "install" => install_command(&arguments[1..]),
        "rollback" => install::rollback(&dest(&arguments[1..])?),
        "uninstall" => install::uninstall(&dest(&arguments[1..])?),
        "list" => print(
            &plugins::names()
                .map(|name| format!("{name}\n"))
                .collect::<String>(),
        ),
        other => bail!("no command or plugin {other:?}; \"cni-plugins help\" lists them"),
    }
}

/// Parses the options of `install` and runs it.
fn install_command(arguments: &[OsString]) -> Result<()> {
    let mut options = Options::default();
    let mut stays = false;
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("dest") => options.dest = parser.value()?.into(),
            Arg::Long("skip") => {
                let name = parser.value()?;
                options.skip.insert(name.to_string_lossy().into_owned());
            }
            Arg::Long("update") => options.update = true,
            Arg::Long("replace-foreign") => options.replace_foreign = true,
            Arg::Long("stay") => stays = true,
            other => return Err(other.unexpected().into()),
        }
    }
    apply_switches(&mut options);
    if options.dest.as_os_str().is_empty() {
        bail!("install needs --dest DIR, the directory of the plugins, usually /opt/cni/bin");
    }
    let ends = ending_signals();
    if stays {
        // From here on they do not end the process but wait for `wait`.
        ends.thread_block().context("cannot block signals")?;
    }
    install::install(&options)?;
    if stays {
        ends.wait().context("cannot wait for a signal")?;
    }
    Ok(())
}

/// Applies the environment variables that images with upstream's plugins have (RKE2's and
/// Calico's), so that a manifest can switch what the image's arguments say.
fn apply_switches(options: &mut Options) {
    let switch = |name| {
        std::env::var(name)
            .ok()
            .filter(|value: &String| !value.is_empty())
    };
    if let Some(list) = switch("SKIP_CNI_BINARIES") {
        let names = list
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        options.skip.extend(names.map(String::from));
    }
    if let Some(update) = switch("UPDATE_CNI_BINARIES") {
        options.update = update == "true";
        options.replace_foreign = options.update;
    }
}

/// The signals by which a container is stopped. The first process of a PID namespace must
/// ask for them.
fn ending_signals() -> SigSet {
    SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT])
}

/// Parses `--dest DIR`.
fn dest(arguments: &[OsString]) -> Result<PathBuf> {
    let mut dest = None;
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("dest") => dest = Some(parser.value()?.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    dest.context("--dest DIR is missing, the directory of the plugins, usually /opt/cni/bin")
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

    cni-plugins PLUGIN
        acts as this plugin
    cni-plugins install --dest DIR [--skip NAME]... [--update] [--replace-foreign] [--stay]
        installs itself in DIR under the names of all plugins. Existing files stay as they
        are; --update replaces other versions of this program, --replace-foreign other files.
        --stay waits for SIGTERM afterwards. SKIP_CNI_BINARIES=NAME,NAME skips more names;
        UPDATE_CNI_BINARIES=true is both --update and --replace-foreign, =false neither
    cni-plugins rollback --dest DIR
        undoes the last change by install; again, and it is redone
    cni-plugins uninstall --dest DIR
        removes what was installed, and restores the foreign files that were replaced
    cni-plugins list
        prints the names of the plugins
    cni-plugins version
        prints the version
    cni-plugins help
        prints this

Plugins: {}
",
        build_version(),
        names.join(", ")
    )
}
