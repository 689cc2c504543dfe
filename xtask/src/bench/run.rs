//! Rounds of a case.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testkit::Host;

use super::cases::Case;
use super::measure::{Call, median};
use super::side::Side;
use crate::project;

/// The programs that measure.
pub(crate) struct Tools {
    pub(crate) floor: PathBuf,
    pub(crate) empty: PathBuf,
}

impl Tools {
    pub(crate) fn in_dir(dir: &Path) -> Tools {
        Tools {
            floor: dir.join("floor"),
            empty: dir.join("empty"),
        }
    }
}

/// The results of one side and verb.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// Milliseconds, by round.
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
    /// The first of the floor's commands of DEL, the bare deletion of the link, in milliseconds.
    pub(crate) bare_delete: Option<f64>,
    /// Whether it was measured in User Mode Linux.
    pub(crate) uml: bool,
}

impl Figures {
    /// The ratio of the peer's time to ours.
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
            "veth_delete_ms": self.bare_delete, "uml": self.uml
        })
    }

    /// Parses what [`Figures::to_json`] wrote in User Mode Linux, for one of `cases`.
    pub(crate) fn from_json(row: &Value, cases: &[&Case]) -> Option<Figures> {
        let case = cases.iter().find(|case| row["case"] == case.name)?;
        let verb = case.verbs.iter().find(|verb| row["verb"] == **verb)?;
        let sample = |sample: &Value| {
            Some(Sample {
                times: vec![sample["median_ms"].as_f64()?],
                memory: sample["peak_memory_kib"].as_u64()?,
                processes: usize::try_from(sample["processes"].as_u64()?).ok()?,
            })
        };
        Some(Figures {
            case: case.name,
            verb,
            ours: sample(&row["ours"])?,
            peer: sample(&row["peer"]),
            floor: row["floor_ms"].as_f64(),
            bare_delete: row["veth_delete_ms"].as_f64(),
            uml: true,
        })
    }
}

/// A side that runs plugins.
struct Runner<'a> {
    side: Side,
    case: &'a Case,
    dir: PathBuf,
    /// The result of the last ADD, for CHECK and DEL.
    added: Option<Value>,
    /// One per verb of the case; `None` if this side does not have the verb.
    samples: Vec<Option<Sample>>,
}

impl<'a> Runner<'a> {
    fn new(side: Side, case: &'a Case, dir: PathBuf) -> Runner<'a> {
        let has = |verb: &&str| side.tag == "ours" || case.peer_verbs.contains(verb);
        let samples = case
            .verbs
            .iter()
            .map(|verb| has(verb).then(Sample::default))
            .collect();
        Runner {
            side,
            case,
            dir,
            added: None,
            samples,
        }
    }

    /// Returns the call of a verb for one plugin of the chain, and writes its input to a file.
    fn call(
        &self,
        verb: &str,
        (plugin, keys): (&str, &str),
        previous: Option<&Value>,
    ) -> Result<Call> {
        let version = if matches!(verb, "STATUS" | "GC") {
            "1.1.0"
        } else {
            "1.0.0"
        };
        let mut config = self.side.config(plugin, keys, version)?;
        if let Some(previous) = previous {
            config["prevResult"] = previous.clone();
        }
        if verb == "GC" {
            config["cni.dev/valid-attachments"] = json!([]);
        }
        let stdin = self.side.scratch.join("stdin");
        fs::write(&stdin, config.to_string()).with_context(|| stdin.display().to_string())?;
        let container = &self.side.container;
        Ok(Call {
            program: self.dir.join(plugin),
            arguments: Vec::new(),
            env: vec![
                ("CNI_COMMAND", verb.to_owned()),
                ("CNI_CONTAINERID", container.id().to_owned()),
                ("CNI_NETNS", container.netns().display().to_string()),
                ("CNI_IFNAME", "eth0".into()),
                ("CNI_PATH", self.dir.display().to_string()),
            ],
            stdin,
            stdout: self.side.scratch.join("stdout"),
        })
    }

    /// Runs `measure` on each call of a verb, in the order in which a runtime makes them for a chain, and passes the
    /// results to `put`. Does nothing if this side does not have the verb.
    fn sample<T>(
        &mut self,
        index: usize,
        measure: impl Fn(&Call) -> Result<T>,
        put: impl FnOnce(&mut Sample, Vec<T>),
    ) -> Result<()> {
        if self.samples[index].is_none() {
            return Ok(());
        }
        let verb = self.case.verbs[index];
        let mut chain: Vec<_> = self.case.chain.to_vec();
        if verb == "DEL" {
            chain.reverse();
        }
        let mut previous = self
            .added
            .clone()
            .filter(|_| matches!(verb, "CHECK" | "DEL"));
        let mut measured = Vec::new();
        for plugin in chain {
            let call = self.call(verb, plugin, previous.as_ref())?;
            measured.push(measure(&call)?);
            if verb == "ADD" {
                previous = Some(serde_json::from_str(&call.output()).context("the result of ADD")?);
            }
        }
        if verb == "ADD" {
            self.added = previous;
        }
        if let Some(sample) = &mut self.samples[index] {
            put(sample, measured);
        }
        Ok(())
    }
}

/// The floor: bare kernel operations.
struct Bare<'a> {
    side: Side,
    case: &'a Case,
    program: &'a Path,
    /// Milliseconds by verb, command and round.
    times: Vec<Vec<Vec<f64>>>,
}

impl Bare<'_> {
    fn sample(&mut self, index: usize) -> Result<()> {
        let commands = self
            .case
            .floor_of(self.case.verbs[index])
            .unwrap_or_default();
        self.times[index].resize(commands.len(), Vec::new());
        for (number, command) in commands.iter().enumerate() {
            let command = self.side.fill(command).replace(';', " ;");
            let words = command.split_whitespace().map(String::from).collect();
            let call = Call::plain(self.program, words, &self.side.scratch);
            call.time()?;
            let nanoseconds: f64 = call
                .output()
                .trim()
                .parse()
                .context("the answer of floor")?;
            self.times[index][number].push(nanoseconds / 1e6);
        }
        Ok(())
    }
}

/// Measures all verbs of a case.
pub(crate) fn case(
    host: &Host,
    case: &Case,
    peer: Option<&Path>,
    tools: &Tools,
    rounds: usize,
) -> Result<Vec<Figures>> {
    let mut runners = vec![Runner::new(
        Side::new(host, case, "ours", 1)?,
        case,
        project::bin(),
    )];
    let has_all = |dir: &&Path| {
        case.chain
            .iter()
            .all(|(plugin, _)| dir.join(plugin).is_file())
    };
    if let Some(dir) = peer.filter(has_all) {
        runners.push(Runner::new(
            Side::new(host, case, "peer", 2)?,
            case,
            dir.to_path_buf(),
        ));
    }
    let mut bare = Bare {
        side: Side::new(host, case, "floor", 3)?,
        case,
        program: &tools.floor,
        times: vec![Vec::new(); case.verbs.len()],
    };
    warm_up(&mut runners, &mut bare, tools)?;
    let mut empty = Vec::new();
    for round in 0..rounds {
        for index in 0..case.verbs.len() {
            // The order changes, because each call is slowed by deferred kernel work of the call before.
            let turns = runners.len() + 1;
            for turn in 0..turns {
                match runners.get_mut((turn + round) % turns) {
                    Some(runner) => runner.sample(index, Call::time, |sample, all| {
                        sample.times.push(all.into_iter().sum());
                    })?,
                    None => bare.sample(index)?,
                }
            }
        }
        empty.push(Call::plain(&tools.empty, Vec::new(), &bare.side.scratch).time()?);
    }
    let figures = gather(&runners, &bare, median(&empty));
    runners
        .iter()
        .try_for_each(|runner| runner.side.clean(host))?;
    bare.side.clean(host)?;
    Ok(figures)
}

/// Runs the first rounds, which create bridges, directories and caches, and measures memory and processes in them.
fn warm_up(runners: &mut [Runner<'_>], bare: &mut Bare<'_>, tools: &Tools) -> Result<()> {
    let verbs = bare.case.verbs.len();
    for index in 0..verbs {
        for runner in &mut *runners {
            runner.sample(
                index,
                |call| call.peak_memory(&tools.floor),
                |sample, all| sample.memory = all.into_iter().max().unwrap_or(0),
            )?;
        }
        bare.sample(index)?;
    }
    for index in 0..verbs {
        for runner in &mut *runners {
            runner.sample(index, Call::processes, |sample, all| {
                sample.processes = all.into_iter().sum()
            })?;
        }
    }
    bare.times.iter_mut().for_each(Vec::clear);
    Ok(())
}

fn gather(runners: &[Runner<'_>], bare: &Bare<'_>, empty: f64) -> Vec<Figures> {
    let row = |(index, verb): (usize, &&'static str)| {
        let ours = runners[0].samples[index].clone().unwrap_or_default();
        let commands: Vec<f64> = bare.times[index]
            .iter()
            .map(|times| median(times))
            .collect();
        let floor = commands.iter().sum::<f64>() + empty * ours.processes as f64;
        Figures {
            case: bare.case.name,
            verb,
            peer: runners
                .get(1)
                .and_then(|runner| runner.samples[index].clone()),
            bare_delete: commands.first().copied().filter(|_| *verb == "DEL"),
            ours,
            floor: bare.case.floor_of(verb).map(|_| floor),
            uml: false,
        }
    };
    bare.case.verbs.iter().enumerate().map(row).collect()
}

/// The time of an empty process, in milliseconds.
pub(crate) fn empty(tools: &Tools, rounds: usize) -> Result<f64> {
    let mut call = Call::plain(&tools.empty, Vec::new(), Path::new("/"));
    call.stdout = PathBuf::from("/dev/null");
    let times: Vec<f64> = (0..rounds).map(|_| call.time()).collect::<Result<_>>()?;
    Ok(median(&times))
}
