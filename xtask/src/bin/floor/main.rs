//! The bare kernel operations of an attachment, with which a benchmark compares plugins.
//!
//! `floor OPERATION ARGUMENT... ; OPERATION ...` runs the operations and prints two durations in nanoseconds, without
//! the start and end of the process: until the effect of all operations is complete, and until all system calls have
//! returned. They differ where the kernel keeps a caller waiting after the effect ([`Waits`]). `floor rss FILE PROGRAM ARGUMENT...` runs a program and writes the peak resident memory (KiB)
//! of it and of the processes it waited for. Without arguments it is a CNI plugin that only prints a result. `cargo xtask bench`, whose cases contain the operations, builds it
//! statically.
#![allow(clippy::print_stdout, reason = "the measurement is the output")]

mod filters;
mod lease;
mod network;
mod tun;

use std::error::Error;
use std::fs;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(code) => code,
        Err(err) => {
            eprintln!("floor {}: {err}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Outcome<ExitCode> {
    match words {
        [] => return Ok(answer()),
        ["rss", file, program, arguments @ ..] => return peak_memory(file, program, arguments),
        _ => {}
    }
    let started = Instant::now();
    let mut waits = Waits::default();
    let mut network = network::Network::new()?;
    for operation in words.split(|word| *word == ";") {
        match operation {
            ["read", path] => drop(fs::read(path)?),
            ["write", path, value] => fs::write(path, value)?,
            ["lease-add", dir, addresses @ ..] => lease::add(dir, addresses)?,
            ["lease-check", dir, addresses @ ..] => lease::check(dir, addresses)?,
            ["lease-del", dir, addresses @ ..] => lease::del(dir, addresses)?,
            ["masquerade-add", note, address] => {
                filters::masquerade_add(note, address, &mut waits)?
            }
            ["masquerade-del", note] => filters::masquerade_del(note, &mut waits)?,
            ["portmap-add", note, address, port] => {
                filters::portmap_add(note, address, port, &mut waits)?
            }
            ["portmap-del", note] => filters::portmap_del(note, &mut waits)?,
            ["tap", name] => tun::create(name)?,
            operation => network.run(operation, &mut waits)?,
        }
    }
    let returned = started.elapsed();
    let done = returned.saturating_sub(waits.0);
    println!("{} {}", done.as_nanos(), returned.as_nanos());
    Ok(ExitCode::SUCCESS)
}

/// What a plugin that does nothing prints.
const ADDED: &str = r#"{"cniVersion": "0.4.0", "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01",
    "sandbox": "/run/netns/none"}], "ips": [{"version": "4", "interface": 0, "address": "10.9.0.2/24"}]}"#;

/// What it says to `VERSION`.
const VERSIONS: &str = r#"{"cniVersion": "0.4.0", "supportedVersions": ["0.3.1", "0.4.0"]}"#;

/// Answers a runtime as a plugin would.
fn answer() -> ExitCode {
    match std::env::var("CNI_COMMAND").as_deref() {
        Ok("ADD") => {
            let interface = std::env::var("CNI_IFNAME").unwrap_or_default();
            println!("{}", ADDED.replace("eth0", &interface));
        }
        Ok("VERSION") => println!("{VERSIONS}"),
        _ => {}
    }
    ExitCode::SUCCESS
}

/// The time for which system calls kept the caller waiting after their effect was complete.
#[derive(Default)]
struct Waits(Duration);

impl Waits {
    /// Runs `operation`, whose effect was complete before.
    fn during<T>(&mut self, operation: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = operation();
        self.0 += started.elapsed();
        result
    }
}

/// The peak memory of a process starts at the resident memory of the process that *started* it, because exec does not
/// reset it to zero. Therefore a process as small as this one must start it.
fn peak_memory(file: &str, program: &str, arguments: &[&str]) -> Outcome<ExitCode> {
    let status = Command::new(program).args(arguments).status()?;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    fs::write(file, usage.max_rss().to_string())?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
