//! `cargo xtask`: build, test, demonstrate, measure, package. The project's only build tool.
//!
//! Each command is a module. They install what the machine lacks when they may ([`apt`]), else name it.
#![allow(
    clippy::print_stdout,
    reason = "a command line tool talks on standard output"
)]

mod apt;
mod bench;
mod build;
mod commands;
mod demo;
mod dist;
mod elf;
mod host;
mod new_plugin;
mod options;
mod project;
mod test;
mod tidy;
mod uml;

use std::process::ExitCode;

/// What a command returns: nothing, or what went wrong and what to do about it.
type Outcome<T = ()> = Result<T, String>;

/// A command: its name, what follows the name, what it does.
struct Command {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Outcome,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "build",
        arguments: "[--libc musl|gnu]",
        about: "the shipping form of every plugin into bin/: static, small, within its size budget",
        run: build::run,
    },
    Command {
        name: "test",
        arguments: "[arguments of cargo nextest run, or cargo test]",
        about: "all tests, as root, each in namespaces of its own; a closing total",
        run: test::run,
    },
    Command {
        name: "demo",
        arguments: "[--no-build]",
        about: "two containers join a dual-stack bridge network, talk, and leave without a trace",
        run: demo::run,
    },
    Command {
        name: "bench",
        arguments: "[--peer DIR] [--json FILE] [--quick] [--no-build] [CASE...]",
        about: "time, memory, processes and size of every plugin beside a peer's and the kernel's floor",
        run: bench::run,
    },
    Command {
        name: "dist",
        arguments: "[--no-build]",
        about: "the host platform's tarball in release/, with checksums, reproducible",
        run: dist::run,
    },
    Command {
        name: "tidy",
        arguments: "",
        about: "checks that the plugins' rooms are alike, pages are there, files are short",
        run: tidy::run,
    },
    Command {
        name: "new-plugin",
        arguments: "CLASS NAME",
        about: "writes the rooms of a new plugin; CLASS is one of main, ipam, meta, debug",
        run: new_plugin::run,
    },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    if let Some(status) = uml::role(&program, &arguments) {
        return status;
    }
    let Some(name) = arguments.first() else {
        help();
        return ExitCode::SUCCESS;
    };
    if matches!(name.as_str(), "help" | "-h" | "--help") {
        help();
        return ExitCode::SUCCESS;
    }
    if name == test::inside::COMMAND {
        return conclude(name, test::inside::run(&arguments[1..]));
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprintln!("cargo xtask: no command {name:?}");
        help();
        return ExitCode::from(2);
    };
    if arguments[1..].iter().any(|a| a == "--help" || a == "-h") && command.name != "test" {
        println!(
            "cargo xtask {} {}\n\n    {}",
            command.name, command.arguments, command.about
        );
        return ExitCode::SUCCESS;
    }
    conclude(name, (command.run)(&arguments[1..]))
}

fn conclude(name: &str, outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("cargo xtask {name}: {message}");
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
