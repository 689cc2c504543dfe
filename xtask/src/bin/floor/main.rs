//! What a benchmark compares with: the kernel operations of an attachment, issued bare.
//!
//! `floor OPERATION ARGUMENT...` carries the operation out and prints the nanoseconds it took, its own start
//! and end not counted. `floor rss FILE PROGRAM` runs a program and writes the most memory (KiB) that it or a
//! process it waited for had resident. Built static by `cargo xtask bench`.
#![allow(clippy::print_stdout, reason = "the measurement is the output")]

mod filters;
mod interfaces;
mod lease;
mod network;
mod tun;

use std::error::Error;
use std::process::{Command, ExitCode};
use std::time::Instant;

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
    if let ["rss", file, program] = words {
        return peak_memory(file, program);
    }
    let started = Instant::now();
    match words {
        ["loopback-add", netns] => network::loopback_add(netns)?,
        ["loopback-check", netns] => network::loopback_check(netns)?,
        ["loopback-del", netns] => network::loopback_del(netns)?,
        ["bridge-add", netns, bridge, veth, addresses @ ..] => {
            network::bridge_add(netns, bridge, veth, addresses)?
        }
        ["bridge-check", netns, bridge, ..] => network::bridge_check(netns, bridge)?,
        ["veth-del" | "link-del", netns] => network::veth_del(netns)?,
        ["ptp-add", netns, address, gateway, veth] => {
            interfaces::ptp_add(netns, address, gateway, veth)?
        }
        ["link-add", netns, address, gateway, kind, parent @ ..] => {
            interfaces::link_add(netns, address, gateway, kind, parent)?
        }
        ["tap-add", netns, address, gateway] => interfaces::tap_add(netns, address, gateway)?,
        ["device-add", netns, address, gateway, device] => {
            interfaces::device_add(netns, address, gateway, device)?
        }
        ["device-del", netns, device] => interfaces::device_del(netns, device)?,
        ["lease-add", dir, addresses @ ..] => lease::add(dir, addresses)?,
        ["lease-check", dir, addresses @ ..] => lease::check(dir, addresses)?,
        ["lease-del", dir, addresses @ ..] => lease::del(dir, addresses)?,
        ["masquerade-add", note, address] => filters::masquerade_add(note, address)?,
        ["masquerade-del", note] => filters::masquerade_del(note)?,
        ["portmap-add", note, address, port] => filters::portmap_add(note, address, port)?,
        ["portmap-del", note] => filters::portmap_del(note)?,
        _ => return Err("no such operation".into()),
    }
    println!("{}", started.elapsed().as_nanos());
    Ok(ExitCode::SUCCESS)
}

/// The peak memory of a process is reset by exec to what its *starter* had resident, so only a starter as small
/// as this one can tell.
fn peak_memory(file: &str, program: &str) -> Outcome<ExitCode> {
    let status = Command::new(program).status()?;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    std::fs::write(file, usage.max_rss().to_string())?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
