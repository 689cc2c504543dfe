//! `cargo xtask`: the build tool of the project.
//!
//! Each command is a module. Commands install the programs that they require, or name them in an error ([`machine`]).
#![allow(
    clippy::print_stdout,
    reason = "a command line tool writes to standard output"
)]

mod bench;
mod build;
mod commands;
mod conformance;
mod crash;
mod demo;
mod dist;
mod emulate;
mod guest;
mod image;
mod load;
mod machine;
mod mutants;
mod new_plugin;
mod package;
mod page;
mod project;
mod test;
mod tidy;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, bail};
use lexopt::Arg;

/// A command with its arguments and description.
struct Command {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    run: Run,
}

type Run = fn(&[String]) -> Result<()>;

const COMMANDS: &[Command] = &[
    Command {
        name: "build",
        arguments: "[--platform NAME] [--libc musl|gnu]",
        about: "build release binaries of all plugins into bin/: static and within the size budget",
        run: build::run,
    },
    Command {
        name: "test",
        arguments: "[--kernel debian] [arguments of cargo nextest run, or cargo test]",
        about: "run all tests as root, each in its own namespaces; with a kernel, run a selection, or those that the arguments of cargo nextest select, on Debian's kernel in QEMU",
        run: test::run,
    },
    Command {
        name: "crash",
        arguments: "",
        about: "kill every plugin before each of its changes, in all combinations, and write the table of Documentation/reliability.md",
        run: crash::run,
    },
    Command {
        name: "conformance",
        arguments: "[NAME=FILE,FILE...]...",
        about: "write the rules of cni-conformance to Documentation/conformance.md, and results of implementations from its JSON files, several if there are several kernels",
        run: conformance::run,
    },
    Command {
        name: "mutants",
        arguments: "[--count N] [--seed N] [--mutant ID]...",
        about: "put faults into cni-core and three plugins, one at a time, demand that the tests notice, and write the table of Documentation/mutants.md",
        run: mutants::run,
    },
    Command {
        name: "demo",
        arguments: "[--no-build]",
        about: "attach two containers to a dual-stack bridge network, ping, detach, and show that nothing is left",
        run: demo::run,
    },
    Command {
        name: "bench",
        arguments: "[--peer DIR] [--before DIR] [--rival DIR] [--quick] [--no-build] [--json FILE | --from FILE] [--into PAGE] [--chart FILE] [CASE...]",
        about: "measure time, memory, processes and size of all plugins against a peer and the bare kernel operations",
        run: bench::run,
    },
    Command {
        name: "limits",
        arguments: "[--no-build] [--update]",
        about: "compare system calls and processes of every plugin and verb, and sizes of binaries, with xtask/limits.json",
        run: bench::limits::run,
    },
    Command {
        name: "load",
        arguments: "[--minutes N] [--peer DIR | --broken-chains N] [--workers N] [--seed N] [--no-build]",
        about: "attach and detach at random with kills, broken chains and GC (10 minutes, 32 workers), or compare calls per second with a peer; nothing may be left",
        run: load::run,
    },
    Command {
        name: "dist",
        arguments: "[--platform NAME]... [--all] [--no-build] [--repository DIR --key KEY --url URL]",
        about: "create reproducible tarballs with checksums in release/: for this platform, those named, or all; with a repository, also packages",
        run: dist::run,
    },
    Command {
        name: "packages",
        arguments: "[--platform NAME]... [--all] [--no-build] [--out DIR] [--repository DIR --key KEY --url URL [--from DIR]]",
        about: "create packages for dpkg and rpm in DIR (release/), and add them to a signed repository for apt and dnf",
        run: package::run,
    },
    Command {
        name: "source",
        arguments: "[--prove]",
        about: "create the source tarball with all dependencies in release/; --prove builds it without network",
        run: dist::source::run,
    },
    Command {
        name: "emulate",
        arguments: "[--platform NAME]... [--all] [--no-build]",
        about: "try the binaries for other platforms in the emulators of QEMU",
        run: emulate::run,
    },
    Command {
        name: "prove-packages",
        arguments: "[--no-build]",
        about: "install, replace, upgrade and remove the packages in roots of their own, with apt and dnf",
        run: package::prove::run,
    },
    Command {
        name: "image",
        arguments: "[--platform NAME]... [--all] [--no-build] [--name REFERENCE]",
        about: "write a container image that installs the plugins (OCI layout and archive) and Kubernetes manifests to release/",
        run: image::run,
    },
    Command {
        name: "tidy",
        arguments: "",
        about: "check the layout of plugins, dependencies, pages, lengths, names and unused public items",
        run: tidy::run,
    },
    Command {
        name: "new-plugin",
        arguments: "CLASS NAME | --prove",
        about: "create the files of a new plugin, CLASS is one of main, ipam, meta; --prove compiles and tests one, and deletes it",
        run: new_plugin::run,
    },
];

/// Internal commands that run on another kernel.
const INTERNAL: [(&str, Run); 2] = [
    (test::deferred::COMMAND, test::deferred::run),
    (guest::POWER_OFF, |_| guest::power_off()),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, arguments)) = arguments.split_first() else {
        help();
        return ExitCode::SUCCESS;
    };
    if matches!(name.as_str(), "help" | "-h" | "--help") {
        help();
        return ExitCode::SUCCESS;
    }
    let internal = INTERNAL.iter().find(|(internal, _)| internal == name);
    let command = COMMANDS.iter().find(|command| command.name == name);
    let outcome = match (command, internal) {
        (Some(command), _)
            if arguments.iter().any(|a| a == "--help" || a == "-h") && name != "test" =>
        {
            println!(
                "cargo xtask {name} {}\n\n    {}",
                command.arguments, command.about
            );
            Ok(())
        }
        (Some(command), _) => (command.run)(arguments),
        (None, Some((_, run))) => run(arguments),
        (None, None) => {
            eprintln!("cargo xtask: no command {name:?}");
            help();
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("cargo xtask {name}: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn help() {
    println!("usage: cargo xtask COMMAND\n");
    for command in COMMANDS {
        println!(
            "    {} {}\n        {}",
            command.name, command.arguments, command.about
        );
    }
}

/// Parses the arguments of a command that has only the option `--no-build`. Returns whether it is given.
///
/// # Errors
///
/// For any other argument.
fn no_build(arguments: &[String]) -> Result<bool> {
    let mut no_build = false;
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("no-build") => no_build = true,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(no_build)
}

/// Checks that a command has no arguments.
fn no_arguments(arguments: &[String]) -> Result<()> {
    match arguments.first() {
        Some(argument) => bail!("unexpected argument {argument}"),
        None => Ok(()),
    }
}

/// The value of an option as text.
fn text(value: OsString) -> Result<String> {
    value
        .into_string()
        .map_err(|value| anyhow::anyhow!("{value:?} is not UTF-8"))
}
