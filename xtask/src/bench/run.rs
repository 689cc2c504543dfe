//! Running a case.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testkit::Host;

use super::cases::{Case, ChainLink, Side, Step};
use super::measure::{Call, median};
use crate::{Outcome, project};

/// The programs that measure.
pub(crate) struct Tools {
    pub(crate) floor: PathBuf,
    pub(crate) empty: PathBuf,
}

/// What was measured of one side's step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// Each round, in milliseconds.
    pub(crate) times: Vec<f64>,
    /// KiB.
    pub(crate) memory: u64,
    /// Programs executed.
    pub(crate) processes: usize,
}

impl Sample {
    pub(crate) fn median(&self) -> f64 {
        median(&self.times)
    }
}

/// A row of the table.
pub(crate) struct Figures {
    pub(crate) case: &'static str,
    pub(crate) verb: &'static str,
    pub(crate) ours: Sample,
    pub(crate) peer: Option<Sample>,
    /// Milliseconds.
    pub(crate) floor: Option<f64>,
    /// The bare deletion of a veth pair, part of the floor of DEL, in milliseconds.
    pub(crate) veth_delete: Option<f64>,
    /// Measured on another kernel than the rest.
    pub(crate) elsewhere: bool,
}

impl Figures {
    /// How many times faster than the peer.
    pub(crate) fn ratio(&self) -> Option<f64> {
        self.peer
            .as_ref()
            .map(|peer| peer.median() / self.ours.median())
    }

    pub(crate) fn to_json(&self) -> Value {
        let sample = |sample: &Sample| {
            let min = sample.times.iter().copied().fold(f64::INFINITY, f64::min);
            json!({
                "median_ms": sample.median(), "min_ms": min, "rounds": sample.times.len(),
                "peak_memory_kib": sample.memory, "processes": sample.processes
            })
        };
        json!({
            "case": self.case, "verb": self.verb, "ours": sample(&self.ours),
            "peer": self.peer.as_ref().map(sample), "faster": self.ratio(), "floor_ms": self.floor,
            "veth_delete_ms": self.veth_delete, "elsewhere": self.elsewhere
        })
    }

    /// Reads what [`Figures::to_json`] wrote on another kernel, of one of `cases`.
    pub(crate) fn from_json(row: &Value, cases: &[&Case]) -> Option<Figures> {
        let case = cases.iter().find(|case| row["case"] == case.name)?;
        let step = case.steps.iter().find(|step| row["verb"] == step.verb)?;
        let sample = |sample: &Value| {
            Some(Sample {
                times: vec![sample["median_ms"].as_f64()?],
                memory: sample["peak_memory_kib"].as_u64()?,
                processes: usize::try_from(sample["processes"].as_u64()?).ok()?,
            })
        };
        Some(Figures {
            case: case.name,
            verb: step.verb,
            ours: sample(&row["ours"])?,
            peer: sample(&row["peer"]),
            floor: row["floor_ms"].as_f64(),
            veth_delete: row["veth_delete_ms"].as_f64(),
            elsewhere: true,
        })
    }
}

/// A side that runs plugins.
struct Runner<'a> {
    side: Side,
    case: &'a Case,
    dir: PathBuf,
    scratch: PathBuf,
    /// The result of the last ADD, for CHECK and DEL.
    added: Option<Value>,
    /// One for each step; `None` if it does not have the verb.
    samples: Vec<Option<Sample>>,
}

impl<'a> Runner<'a> {
    fn new(
        host: &Host,
        case: &'a Case,
        tag: &'static str,
        number: u8,
        dir: PathBuf,
    ) -> Outcome<Runner<'a>> {
        let scratch = host.dir().join(tag);
        fs::create_dir_all(&scratch).map_err(|err| format!("{}: {err}", scratch.display()))?;
        let side = side(host, case, tag, number)?;
        let samples = case
            .steps
            .iter()
            .map(|step| (tag == "ours" || step.peer).then(Sample::default))
            .collect();
        Ok(Runner {
            side,
            case,
            dir,
            scratch,
            added: None,
            samples,
        })
    }

    /// The call of a step for one plugin of the chain, with its input written down.
    fn call(&self, step: &Step, plugin: &ChainLink, previous: Option<&Value>) -> Outcome<Call> {
        let mut config = (plugin.config)(&self.side);
        if let Some(version) = step.version {
            config["cniVersion"] = version.into();
        }
        if let Some(previous) = previous {
            config["prevResult"] = previous.clone();
        }
        if step.verb == "GC" {
            config["cni.dev/valid-attachments"] = json!([]);
        }
        let stdin = self.scratch.join("stdin");
        fs::write(&stdin, config.to_string())
            .map_err(|err| format!("{}: {err}", stdin.display()))?;
        let container = &self.side.container;
        Ok(Call {
            program: self.dir.join(plugin.plugin),
            arguments: Vec::new(),
            env: vec![
                ("CNI_COMMAND", step.verb.to_owned()),
                ("CNI_CONTAINERID", container.id().to_owned()),
                ("CNI_NETNS", container.netns().display().to_string()),
                ("CNI_IFNAME", "eth0".into()),
                ("CNI_PATH", self.dir.display().to_string()),
            ],
            stdin,
            stdout: self.scratch.join("stdout"),
        })
    }

    /// Does `measure` with each call of step `index`, as a runtime makes them for a chain, and keeps what ADD
    /// answers. What was measured, in the order of the calls; `None` if this side does not have the verb.
    fn step<T>(
        &mut self,
        index: usize,
        mut measure: impl FnMut(&Call) -> Outcome<T>,
    ) -> Outcome<Option<Vec<T>>> {
        let step = &self.case.steps[index];
        if self.samples[index].is_none() {
            return Ok(None);
        }
        let mut plugins: Vec<&ChainLink> = self.case.chain.iter().collect();
        if step.verb == "DEL" {
            plugins.reverse();
        }
        let mut previous = match step.verb {
            "CHECK" | "DEL" => self.added.clone(),
            _ => None,
        };
        let mut measured = Vec::new();
        for plugin in plugins {
            let call = self.call(step, plugin, previous.as_ref())?;
            measured.push(measure(&call)?);
            if step.verb == "ADD" {
                let result = serde_json::from_str(&call.output())
                    .map_err(|err| format!("ADD's result: {err}"))?;
                previous = Some(result);
            }
        }
        if step.verb == "ADD" {
            self.added = previous;
        }
        Ok(Some(measured))
    }

    /// The same, and puts what was measured into the step's sample.
    fn sample<T>(
        &mut self,
        index: usize,
        measure: impl FnMut(&Call) -> Outcome<T>,
        put: impl FnOnce(&mut Sample, Vec<T>),
    ) -> Outcome {
        let measured = self.step(index, measure)?;
        if let (Some(measured), Some(sample)) = (measured, self.samples[index].as_mut()) {
            put(sample, measured);
        }
        Ok(())
    }
}

/// The floor's side: bare operations, summed up.
struct Bare {
    side: Side,
    scratch: PathBuf,
    /// For each step, for each of its commands, each round's milliseconds.
    times: Vec<Vec<Vec<f64>>>,
}

impl Bare {
    fn step(&mut self, index: usize, step: &Step, tools: &Tools) -> Outcome {
        let Some(floor) = step.floor else {
            return Ok(());
        };
        for (number, arguments) in floor(&self.side).iter().enumerate() {
            let call = Call::plain(&tools.floor, arguments, &self.scratch);
            call.time()?;
            let nanoseconds: f64 = call
                .output()
                .trim()
                .parse()
                .map_err(|err| format!("floor's answer: {err}"))?;
            let commands = &mut self.times[index];
            if commands.len() <= number {
                commands.push(Vec::new());
            }
            commands[number].push(nanoseconds / 1e6);
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.times.iter_mut().for_each(Vec::clear);
    }
}

fn side(host: &Host, case: &Case, tag: &'static str, number: u8) -> Outcome<Side> {
    let container = host
        .try_container(tag)
        .map_err(|err| format!("container {tag}: {err}"))?;
    let side = Side {
        tag,
        number,
        container,
    };
    (case.prepare)(host, &side)?;
    Ok(side)
}

/// Measures all steps of a case.
pub(crate) fn case(
    host: &Host,
    case: &Case,
    peer: Option<&Path>,
    tools: &Tools,
    rounds: usize,
) -> Outcome<Vec<Figures>> {
    let mut runners = vec![Runner::new(host, case, "ours", 1, project::bin())?];
    let has_all = |dir: &&Path| {
        let mut chain = case.chain.iter();
        chain.all(|link| dir.join(link.plugin).is_file())
    };
    if let Some(dir) = peer.filter(has_all) {
        runners.push(Runner::new(host, case, "peer", 2, dir.to_path_buf())?);
    }
    let mut bare = Bare {
        side: side(host, case, "floor", 3)?,
        scratch: host.dir().join("ours"),
        times: vec![Vec::new(); case.steps.len()],
    };
    // Bridges, directories and caches of the first round are not the second's. It is also where the rest is told.
    for index in 0..case.steps.len() {
        for runner in &mut runners {
            runner.sample(
                index,
                |call| call.peak_memory(&tools.floor),
                |sample, all| sample.memory = all.into_iter().max().unwrap_or(0),
            )?;
        }
        bare.step(index, &case.steps[index], tools)?;
    }
    for index in 0..case.steps.len() {
        for runner in &mut runners {
            runner.sample(index, Call::processes, |sample, all| {
                sample.processes = all.into_iter().sum();
            })?;
        }
    }
    bare.forget();
    let mut empty = Vec::new();
    for round in 0..rounds {
        for (index, step) in case.steps.iter().enumerate() {
            // Who goes first changes, since each is slowed by what the one before has left to the kernel.
            let turns = runners.len() + 1;
            for turn in 0..turns {
                match runners.get_mut((turn + round) % turns) {
                    Some(runner) => runner.sample(index, Call::time, |sample, all| {
                        sample.times.push(all.into_iter().sum());
                    })?,
                    None => bare.step(index, step, tools)?,
                }
            }
        }
        empty.push(Call::plain(&tools.empty, &[], &bare.scratch).time()?);
    }
    let figures = gather(case, &runners, &bare, median(&empty));
    clean(host, &runners, &bare)?;
    Ok(figures)
}

fn gather(case: &Case, runners: &[Runner<'_>], bare: &Bare, empty: f64) -> Vec<Figures> {
    let row = |(index, step): (usize, &Step)| {
        let ours = runners[0].samples[index].clone().unwrap_or_default();
        let commands: Vec<f64> = bare.times[index]
            .iter()
            .map(|times| median(times))
            .collect();
        let floor = step
            .floor
            .map(|_| commands.iter().sum::<f64>() + empty * ours.processes as f64);
        Figures {
            case: case.name,
            verb: step.verb,
            peer: runners
                .get(1)
                .and_then(|runner| runner.samples[index].clone()),
            veth_delete: step
                .veth_delete
                .then(|| commands.first().copied())
                .flatten(),
            ours,
            floor,
            elsewhere: false,
        }
    };
    case.steps.iter().enumerate().map(row).collect()
}

/// The next case finds the host as this one did.
fn clean(host: &Host, runners: &[Runner<'_>], bare: &Bare) -> Outcome {
    use testkit::Node;
    for side in runners
        .iter()
        .map(|runner| &runner.side)
        .chain([&bare.side])
    {
        if host.link(&side.bridge()).is_some() {
            host.try_command(&["ip", "link", "del", &side.bridge()])?;
        }
        if Path::new(&side.leases()).exists() {
            fs::remove_dir_all(side.leases()).map_err(|err| format!("{}: {err}", side.leases()))?;
        }
    }
    Ok(())
}

/// The time of an empty process.
pub(crate) fn empty(tools: &Tools, rounds: usize) -> Outcome<f64> {
    let scratch = std::env::temp_dir();
    let mut call = Call::plain(&tools.empty, &[], &scratch);
    call.stdout = PathBuf::from("/dev/null");
    let times = (0..rounds)
        .map(|_| call.time())
        .collect::<Outcome<Vec<f64>>>()?;
    Ok(median(&times))
}
