//! `cargo xtask limits`: what can be measured without noise stays within limits that are checked in.
//!
//! `xtask/limits.json` has what was measured when it was written: the bytes of each binary, and the system calls and
//! executed programs of each verb of every case of the benchmark. More than a small margin above that fails.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use lexopt::Arg;
use serde_json::{Value, json};

use super::cases::{CASES, Case};
use super::measure::Counts;
use super::run::{self, Contender};
use super::{STRACE, uml};
use crate::build;
use crate::machine::{self, private_host};
use crate::{commands, project};

/// The file, relative to the root of the project.
const FILE: &str = "xtask/limits.json";

/// The option of the program inside of User Mode Linux.
const INSIDE: &str = "inside";

/// Margins in percent. The compiler's version changes sizes a little. The number of calls depends on
/// the number of messages in which the kernel answers: the same call was seen with 139 and with 145.
const SIZE_MARGIN: u64 = 3;
const CALL_MARGIN: u64 = 8;
/// System calls more that are allowed at any rate: a wait that takes another attempt.
const FEW_CALLS: u64 = 4;

/// What was measured.
#[derive(Debug, Default, PartialEq, Eq)]
struct Limits {
    /// The version of iptables, whose system calls are part of those of some cases.
    iptables: String,
    /// Bytes, by the name of the binary.
    binaries: BTreeMap<String, u64>,
    /// System calls and processes, by the name of the case and verb.
    calls: BTreeMap<String, [u64; 2]>,
}

impl Limits {
    fn parse(text: &str) -> Option<Limits> {
        let json: Value = serde_json::from_str(text).ok()?;
        let call = |value: &Value| Some([value[0].as_u64()?, value[1].as_u64()?]);
        let binaries = json["binaries"].as_object()?.iter();
        let calls = json["calls"].as_object()?.iter();
        Some(Limits {
            iptables: json["iptables"].as_str()?.to_owned(),
            binaries: binaries
                .map(|(name, size)| Some((name.clone(), size.as_u64()?)))
                .collect::<Option<_>>()?,
            calls: calls
                .map(|(name, value)| Some((name.clone(), call(value)?)))
                .collect::<Option<_>>()?,
        })
    }

    /// One entry per line, so that changes can be read.
    fn to_json(&self) -> String {
        let binaries = self.binaries.iter();
        let binaries: Vec<String> = binaries
            .map(|(name, size)| format!("    {}: {size}", json!(name)))
            .collect();
        let calls = self.calls.iter();
        let calls: Vec<String> = calls
            .map(|(name, [calls, processes])| {
                format!("    {}: [{calls}, {processes}]", json!(name))
            })
            .collect();
        format!(
            "{{\n  \"iptables\": {},\n  \"binaries\": {{\n{}\n  }},\n  \"calls\": {{\n{}\n  }}\n}}\n",
            json!(self.iptables),
            binaries.join(",\n"),
            calls.join(",\n")
        )
    }

    /// Describes what exceeds `recorded`, and what of it was not measured.
    fn faults(&self, recorded: &Limits) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, size) in &self.binaries {
            match recorded.binaries.get(name) {
                None => faults.push(format!("binary {name}: no limit is recorded")),
                Some(was) if *size > was + was * SIZE_MARGIN / 100 => {
                    faults.push(format!("binary {name}: {size} bytes, was {was}"));
                }
                Some(_) => {}
            }
        }
        let same_iptables = self.iptables == recorded.iptables;
        for (name, [calls, processes]) in &self.calls {
            let Some([calls_were, processes_were]) = recorded.calls.get(name) else {
                faults.push(format!("{name}: no limit is recorded"));
                continue;
            };
            let most = calls_were + (calls_were * CALL_MARGIN / 100).max(FEW_CALLS);
            if *calls > most && (same_iptables || !name.contains("iptables")) {
                faults.push(format!("{name}: {calls} system calls, were {calls_were}"));
            }
            if processes > processes_were {
                faults.push(format!(
                    "{name}: {processes} processes, were {processes_were}"
                ));
            }
        }
        let binaries = missing(&recorded.binaries, &self.binaries);
        let calls = missing(&recorded.calls, &self.calls);
        faults.extend(
            binaries
                .chain(calls)
                .map(|name| format!("{name}: not measured any more")),
        );
        faults
    }
}

fn missing<'a, T>(
    recorded: &'a BTreeMap<String, T>,
    measured: &'a BTreeMap<String, T>,
) -> impl Iterator<Item = &'a String> {
    recorded.keys().filter(|name| !measured.contains_key(*name))
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (mut no_build, mut update, mut inside) = (false, false, false);
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("no-build") => no_build = true,
            Arg::Long("update") => update = true,
            Arg::Long(INSIDE) => inside = true,
            other => return Err(other.unexpected().into()),
        }
    }
    let lacks = |case: &&Case| !case.needs.is_empty();
    let (there, here): (Vec<&Case>, Vec<&Case>) = CASES.iter().partition(lacks);
    if inside {
        let counted = count(&there)?;
        uml::print(counted.iter().map(|(name, counts)| json!([name, counts])));
        return Ok(());
    }
    machine::provide(&[
        machine::IPROUTE2,
        machine::IPTABLES,
        machine::NFTABLES,
        STRACE,
    ])?;
    let binaries = build::provide(no_build)?;
    let sizes = binaries
        .iter()
        .map(|binary| (binary.name.clone(), binary.size));
    let mut limits = Limits {
        iptables: commands::read(Command::new("iptables").arg("--version"))?,
        binaries: sizes.collect(),
        calls: count(&here)?,
    };
    let command = ["limits", "--inside"].map(String::from).to_vec();
    for row in uml::rows(command)? {
        let (name, counts) = (row[0].as_str(), &row[1]);
        let counts = counts[0].as_u64().zip(counts[1].as_u64());
        let (name, (calls, processes)) = name.zip(counts).context("an unexpected row")?;
        limits.calls.insert(name.to_owned(), [calls, processes]);
    }
    judge(&limits, &project::root().join(FILE), update)
}

/// Compares with the file, or writes it.
fn judge(limits: &Limits, file: &Path, update: bool) -> Result<()> {
    if update {
        fs::write(file, limits.to_json()).with_context(|| file.display().to_string())?;
        println!("written: {FILE}");
        return Ok(());
    }
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let recorded = Limits::parse(&text).with_context(|| format!("{FILE} is malformed"))?;
    let faults = limits.faults(&recorded);
    if !faults.is_empty() {
        bail!(
            "beyond the limits of {FILE}:\n  {}\nif that is meant, record it: cargo xtask limits --update",
            faults.join("\n  ")
        );
    }
    let mut note = format!(
        "{} binaries and {} calls are within the limits of {FILE}",
        limits.binaries.len(),
        limits.calls.len()
    );
    if limits.iptables != recorded.iptables {
        write!(
            note,
            "; system calls of iptables not compared: {}",
            limits.iptables
        )?;
    }
    println!("{note}");
    Ok(())
}

/// Counts system calls and processes of our plugins in these cases.
fn count(cases: &[&Case]) -> Result<BTreeMap<String, [u64; 2]>> {
    let host = private_host()?;
    let ours = Contender {
        tag: "ours",
        dir: project::bin(),
        env: None,
    };
    let mut calls = BTreeMap::new();
    for case in cases {
        for (verb, counts) in run::counts(&host, case, ours.clone())? {
            let Counts {
                system_calls,
                processes,
            } = counts;
            calls.insert(
                format!("{} {verb}", case.name),
                [system_calls as u64, processes as u64],
            );
        }
    }
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(size: u64, calls: [u64; 2]) -> Limits {
        Limits {
            iptables: "v1".into(),
            binaries: [("bridge".to_owned(), size)].into(),
            calls: [("bridge iptables ADD".to_owned(), calls)].into(),
        }
    }

    #[test]
    fn the_file_is_read_as_it_was_written() {
        let written = limits(1000, [100, 2]);
        assert_eq!(Limits::parse(&written.to_json()), Some(written));
    }

    #[test]
    fn only_what_exceeds_its_limit_is_a_fault() {
        let recorded = limits(1000, [200, 2]);
        assert!(limits(1030, [216, 2]).faults(&recorded).is_empty());
        let faults = limits(1031, [217, 3]).faults(&recorded);
        assert_eq!(
            faults,
            [
                "binary bridge: 1031 bytes, was 1000",
                "bridge iptables ADD: 217 system calls, were 200",
                "bridge iptables ADD: 3 processes, were 2",
            ]
        );
        let other = Limits {
            iptables: "v2".into(),
            ..limits(1000, [300, 2])
        };
        assert!(other.faults(&recorded).is_empty());
        assert_eq!(Limits::default().faults(&recorded).len(), 2);
    }
}
