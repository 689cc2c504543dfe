//! `cargo xtask mutants`: puts faults into the code, one at a time, and looks whether the tests notice.
//!
//! cargo-mutants finds the places and their changes ([`list`]). A sample ([`sample`]) is applied to a copy of the
//! workspace ([`copy`]), the programs that contain the change are built again, and the tests of that code ([`area`]) run
//! until one fails ([`attempt`]). Results are kept ([`record`]), so that a run can be interrupted, and written into a page
//! ([`report`]).

mod answers;
mod area;
mod attempt;
mod copy;
mod list;
mod record;
mod report;
mod sample;

use std::time::Instant;

use anyhow::{Context, Result, bail};
use lexopt::{Arg, ValueExt};

use crate::machine::CargoTool;
use crate::{commands, machine, page, test};
use copy::Copy;
use list::Mutant;
use record::{Outcome, Records, State};

/// The program that lists mutants. The list depends on its version.
const TOOL: CargoTool = CargoTool {
    name: "mutants",
    version: "27.1.0",
    is_exact: true,
    why: "lists possible faults",
};

/// The test runner, which ends at the first failure and kills tests that hang.
const RUNNER: CargoTool = CargoTool {
    name: "nextest",
    version: "0.9.143",
    is_exact: false,
    why: "runs the tests",
};

/// The page with the table.
const PAGE: &str = "Documentation/mutants.md";

/// Default number of mutants in the sample.
const COUNT: usize = 100;

/// Default seed.
const SEED: u64 = 1;

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (mut count, mut seed, mut only) = (COUNT, SEED, Vec::new());
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("count") => count = parser.value()?.parse()?,
            Arg::Long("seed") => seed = parser.value()?.parse()?,
            Arg::Long("mutant") => only.push(crate::text(parser.value()?)?),
            other => return Err(other.unexpected().into()),
        }
    }
    machine::provide(test::NEEDS)?;
    machine::provide_cargo_tools(&[TOOL, RUNNER])?;
    if !testkit::is_root() {
        bail!("the tests make network namespaces: run as root, sudo cargo xtask mutants");
    }
    let copy = Copy::new()?;
    let mutants = list_of(&copy)?;
    // A mutant may do anything to the host that its test runs on.
    let _host = machine::private_host()?;
    attempt::prepare(&copy)?;
    let mut runs = Runs {
        records: Records::read(&copy.file("results.jsonl")),
        copy,
    };
    if !only.is_empty() {
        return runs.again(&mutants, &only);
    }
    runs.baseline()?;
    let ranked = sample::ranked(&mutants, seed);
    let tried = runs.sample(&ranked, count)?;
    println!("\n{}", report::summary(&tried, seed, ranked.len()));
    page::replace(PAGE, "mutants", &report::page(&tried, seed, ranked.len()))?;
    report::judge(&tried)
}

fn list_of(copy: &Copy) -> Result<Vec<Mutant>> {
    let mut list = copy.cargo(&["mutants", "--list", "--json"]);
    for package in attempt::PACKAGES {
        list.args(["--package", package]);
    }
    list::parse(&commands::read(&mut list)?)
}

/// The copy, and the results so far.
struct Runs {
    copy: Copy,
    records: Records,
}

impl Runs {
    /// Demands that the tests pass without a mutant, unless they have done so with the same sources.
    fn baseline(&mut self) -> Result<()> {
        let state = State {
            file: String::new(),
            all: self.copy.hash.clone(),
        };
        if self.records.get("clean", &state).is_none() {
            attempt::passes_without_mutants(&self.copy)?;
            self.records.add("clean", state, Outcome::Survived)?;
        }
        Ok(())
    }

    /// Tries mutants in the order of `ranked` until `count` have been tried that compile.
    fn sample(&mut self, ranked: &[Mutant], count: usize) -> Result<Vec<report::Tried>> {
        let mut tried = Vec::new();
        let mut rest = ranked.iter();
        while tried.len() < count {
            let mut next: Vec<&Mutant> = rest.by_ref().take(count - tried.len()).collect();
            if next.is_empty() {
                break;
            }
            // File by file, which saves builds.
            next.sort_by_key(|mutant| (&mutant.file, mutant.line));
            let total = next.len();
            for (number, mutant) in next.into_iter().enumerate() {
                print!("{}/{total} ", number + 1);
                let outcome = self.outcome(mutant)?;
                if outcome != Outcome::Unviable {
                    tried.push((mutant.clone(), outcome));
                }
            }
        }
        tried.sort_by(|(a, _), (b, _)| (&a.file, a.line, &a.id).cmp(&(&b.file, b.line, &b.id)));
        Ok(tried)
    }

    /// The recorded result of a mutant, or that of a new attempt.
    fn outcome(&mut self, mutant: &Mutant) -> Result<Outcome> {
        let state = self.state(mutant)?;
        match self.records.get(&mutant.id, &state).cloned() {
            Some(outcome) => {
                println!("{} {} (known)", mutant.id, report::result(mutant, &outcome));
                Ok(outcome)
            }
            None => self.attempt(mutant, state),
        }
    }

    fn attempt(&mut self, mutant: &Mutant, state: State) -> Result<Outcome> {
        println!("{} {}: {}", mutant.id, mutant.place(), mutant.change);
        let started = Instant::now();
        let outcome = attempt::of_mutant(&self.copy, mutant)?;
        let seconds = started.elapsed().as_secs();
        println!("    {seconds} s: {}", report::result(mutant, &outcome));
        self.records.add(&mutant.id, state, outcome.clone())?;
        Ok(outcome)
    }

    /// Tries the named mutants, whatever is known of them.
    fn again(&mut self, mutants: &[Mutant], ids: &[String]) -> Result<()> {
        for id in ids {
            let mutant = mutants.iter().find(|mutant| mutant.id == *id);
            let mutant = mutant.with_context(|| format!("no mutant {id}"))?;
            let state = self.state(mutant)?;
            self.attempt(mutant, state)?;
        }
        Ok(())
    }

    fn state(&self, mutant: &Mutant) -> Result<State> {
        Ok(State {
            file: format!("{:016x}", hash(&self.copy.read(&mutant.file)?)),
            all: self.copy.hash.clone(),
        })
    }
}

/// A hash that is the same in every version of Rust: FNV-1a, mixed so that all bits are of use.
fn hash(text: &str) -> u64 {
    let fnv = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}
